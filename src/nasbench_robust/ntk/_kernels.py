"""The kernels of adversarial training at initialisation: clean, robust, cross, robust-twice, and their combinations.

With A the attack, b in [0, 1] the weight of the adversarial loss, and k the tangent kernel of `gram`:

- ``clean[i, j] = k(x_i, x_j)``, ``robust[i, j] = k(A x_i, A x_j)``, ``cross[i, j] = k(x_i, A x_j)``,
- ``robust_twice[i, j] = k(A A x_i, A A x_j)``, ``cross_twice[i, j] = k(A x_i, A A x_j)``, where A A attacks the
  attacked sample again, in a ball around it, which is not one attack of twice the radius,
- ``combined = (1-b)^2 clean + b (1-b) (cross + cross^T) + b^2 robust``, which governs clean accuracy, and
- ``combined_robust``, the same of ``robust``, ``cross_twice`` and ``robust_twice``, which governs robust accuracy.

Source: Wu et al., "Robust NAS under adversarial training", ICLR 2024, section 4. With Jacobians J of a version each,
``combined`` is G G^T with G = (1-b) J(x) + b J(A x): positive semi-definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..arrays import Floats, Record
from ..errors import InvalidValueError, MissingDataError
from ..metrics import Attack
from .fixed import FixedNetwork
from .gram import gram_matrix


@dataclass(frozen=True, eq=False, repr=False)
class Kernels(Record):
    """The kernels of one network, n images and one attack, each of shape (n, n); formulas in the module's text.

    Attributes
    ----------
    clean, robust, cross : ndarray of float64
        ``cross`` is not symmetric: its rows are clean images, its columns attacked ones.
    robust_twice, cross_twice : ndarray of float64 or None
        None where the images were not attacked twice.
    beta : float
        Weight of the adversarial loss, 0 for standard training, 1 for the training of this benchmark.

    Raises
    ------
    InvalidValueError
        If `beta` is not in [0, 1].
    """

    clean: Floats
    robust: Floats
    cross: Floats
    robust_twice: Floats | None = None
    cross_twice: Floats | None = None
    beta: float = 1.0

    def __post_init__(self) -> None:
        _check(self.beta)

    @property
    def combined(self) -> Floats:
        """Kernel of training with weight `beta` on the adversarial loss, for clean accuracy."""
        return _combine(self.clean, self.cross, self.robust, self.beta)

    @property
    def combined_robust(self) -> Floats:
        """The same for robust accuracy.

        Raises
        ------
        MissingDataError
            If the images were not attacked twice.
        """
        if self.robust_twice is None or self.cross_twice is None:
            raise MissingDataError("these kernels hold no images attacked twice", "make them with twice=True")
        return _combine(self.robust, self.cross_twice, self.robust_twice, self.beta)


def _check(beta: object, output: str | int = "sum") -> None:
    if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta <= 1:
        raise InvalidValueError("beta", beta, "a weight in [0, 1]", "1")
    if output == "full":
        raise InvalidValueError("output", output, "'sum', 'trace' or a class: one value for a pair of images", "sum")


def _combine(first: Floats, cross: Floats, second: Floats, beta: float) -> Floats:
    combined: Floats = (1 - beta) ** 2 * first + beta * (1 - beta) * (cross + cross.T) + beta**2 * second
    return combined


def kernels(
    network: nn.Module,
    images: torch.Tensor,
    attack: Attack,
    *,
    beta: float,
    bn: str,
    labels: torch.Tensor,
    generator: torch.Generator | None = None,
    twice: bool = True,
    output: str | int = "sum",
    precision: str = "fp32",
    engine: str = "auto",
    budget_mib: float = 1024.0,
) -> Kernels:
    """Return the kernels between images, their attacked versions and the versions attacked twice, from one pass.

    It is `kernels_between` of the `versions` on a `FixedNetwork`, for whoever needs nothing else of these.

    Parameters
    ----------
    network : Module
        As for `ntk.ntk`.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    attack : Attack
        FGSM or PGD; made on the network with the batch normalisation of `bn`, in fp32, or fp64 for ``"fp64"``.
    beta : float
        Weight of the adversarial loss in [0, 1], of the combined kernels.
    bn : str
        As for `ntk.ntk`. With ``"batch_frozen"`` the statistics are those of the clean `images` for all versions, so
        that all see one network; with ``"batch_coupled"`` all versions are one batch.
    labels : Tensor of int64, shape (n,)
        Classes from 0, for the attack.
    generator : torch.Generator, optional
        Draws the attack's random starts.
    twice : bool
        Whether the images are attacked twice.
    output : str or int
        ``"sum"``, ``"trace"`` or a class, as for `ntk.ntk`.
    precision, engine, budget_mib
        As for `ntk.ntk`.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If an argument is not as above, or what the attack needs is missing.
    """
    _check(beta, output)  # before the work, not after it
    fixed = FixedNetwork(network, images, bn=bn, precision=precision, engine=engine)
    made = versions(fixed, images, labels, attack, generator, twice=twice)
    return kernels_between(fixed, made, beta=beta, output=output, budget_mib=budget_mib)


def versions(
    fixed: FixedNetwork,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator | None = None,
    *,
    twice: bool = True,
) -> tuple[torch.Tensor, ...]:
    """Return images, attacked images and, if `twice`, the attacked images attacked again: x, A(x), A(A(x)).

    Arguments and errors are those of `FixedNetwork.attacked`; PGD's iterates depend on rounding, so engines and
    precisions are compared on the versions of one of them.
    """
    once = fixed.attacked(images, labels, attack, generator)
    return (images, once, fixed.attacked(once, labels, attack, generator)) if twice else (images, once)


def kernels_between(
    fixed: FixedNetwork,
    versions: Sequence[torch.Tensor],
    *,
    beta: float,
    output: str | int = "sum",
    budget_mib: float = 1024.0,
) -> Kernels:
    """Return the kernels between versions of the same images, from one pass through the network.

    Parameters
    ----------
    fixed : FixedNetwork
        Fixed on the clean images.
    versions : sequence of two or three Tensor, shape (n, channels, size, size) each
        x, A(x) and, for the kernels of images attacked twice, A(A(x)), as `versions` makes them.
    beta, output, budget_mib
        As for `kernels`.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If an argument is not as above.
    """
    _check(beta, output)
    shapes = [tuple(version.shape) for version in versions]
    if len(shapes) not in (2, 3) or len(set(shapes)) > 1:
        raise InvalidValueError("the shapes of versions", shapes, "two or three equal ones: x, A(x), A(A(x))")
    stacked = torch.cat([version.detach().to(fixed.dtype) for version in versions])
    kernel, count = gram_matrix(fixed, stacked, output=output, budget_mib=budget_mib).cpu().numpy(), len(versions[0])

    def block(row: int, column: int) -> Floats:
        matrix: Floats = kernel[row * count : (row + 1) * count, column * count : (column + 1) * count].copy()
        return matrix

    robust_twice, cross_twice = (block(2, 2), block(1, 2)) if len(versions) == 3 else (None, None)
    return Kernels(block(0, 0), block(1, 1), block(0, 1), robust_twice, cross_twice, beta)
