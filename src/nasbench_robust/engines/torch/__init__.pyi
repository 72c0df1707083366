from .engine import TorchEngine as TorchEngine
from .evaluation import evaluate as evaluate
from .graphs import GraphedTrainer as GraphedTrainer
from .training import NetworkTrainer as NetworkTrainer
from .training import Trainer as Trainer
from .training import as_tensors as as_tensors
from .training import make_generator as make_generator
from .training import train as train
