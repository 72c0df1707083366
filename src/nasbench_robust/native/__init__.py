"""The native engine: small networks trained, attacked and measured in C++, a register's lanes of images at a time.

`NativeNetwork` is what `nasbench_robust.networks.network.Network` is in torch, `NativeTrainer` what
`nasbench_robust.training.Trainer` is. The engine is optional: `is_available` says whether the package has
it.
"""

from .engine import NativeNetwork
from .evaluation import evaluate, runs_attack
from .library import BUILDS, build_name, is_available
from .training import NativeTrainer

__all__ = ["BUILDS", "NativeNetwork", "NativeTrainer", "build_name", "evaluate", "is_available", "runs_attack"]
