"""Neural tangent kernels of cells at initialisation, and the scores made of them that rank cells without training."""

from .._door import door

__getattr__, __dir__, __all__ = door(__name__, __file__)
