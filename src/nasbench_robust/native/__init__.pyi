from .network import Labels as Labels
from .network import NativeNetwork as NativeNetwork
