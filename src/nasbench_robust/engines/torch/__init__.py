"""Training and measuring in torch: as the network is written, by the fast paths, or as one CUDA graph a step."""

from ..._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)
