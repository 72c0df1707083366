"""The native engine's tool: small networks passed, differentiated, attacked and updated in C++, on a CPU.

A register's lanes hold that many images at a time. `NativeNetwork` is what `nasbench_robust.networks.Network` is in
torch; `nasbench_robust.engines` trains it. The tool is optional: `is_available` says whether this installation has it.
"""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)
