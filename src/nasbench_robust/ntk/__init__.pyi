from ._jacobian import jacobian as jacobian
from ._kernels import Kernels as Kernels
from ._kernels import kernels as kernels
from .gram import ntk as ntk
from .predictors import SCORES as SCORES
from .predictors import score_kernel as score_kernel
from .storage import load_kernels as load_kernels
from .storage import save_kernels as save_kernels
