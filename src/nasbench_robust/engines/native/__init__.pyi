from .engine import NativeEngine as NativeEngine
from .evaluation import evaluate as evaluate
from .evaluation import measure as measure
from .evaluation import runs_attack as runs_attack
from .training import NativeTrainer as NativeTrainer
from .training import initial_weights as initial_weights
