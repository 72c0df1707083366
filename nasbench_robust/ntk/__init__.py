"""Neural tangent kernels of cells at initialisation, and the scores made of them that rank cells without training."""
from .gram import ntk
from .jacobian import jacobian

__all__ = ["jacobian", "ntk"]
