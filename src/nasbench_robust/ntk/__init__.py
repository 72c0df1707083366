"""Neural tangent kernels of cells at initialisation, and the scores made of them that rank cells without training."""

from .gram import ntk
from .jacobian import jacobian
from .kernels import Kernels, kernels
from .predictors import SCORES, score_kernel
from .storage import load_kernels, save_kernels

__all__ = ["SCORES", "Kernels", "jacobian", "kernels", "load_kernels", "ntk", "save_kernels", "score_kernel"]
