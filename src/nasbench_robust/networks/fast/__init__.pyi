from .batch import BatchNetwork as BatchNetwork
from .folded import FoldedNetwork as FoldedNetwork
