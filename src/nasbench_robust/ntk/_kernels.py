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

from dataclasses import dataclass, replace

import torch
from torch import nn

from ..arrays import Floats
from ..attacks import perturb
from ..errors import InvalidValueError, MissingDataError, UnknownNameError
from ..metrics import Attack
from ..networks import duplicate
from .gram import choose_engine, dtype_of, ntk
from .layers import contract_layers
from .modes import prepare
from .native import native_twin
from .pruning import prune


@dataclass(frozen=True)
class Kernels:
    """The kernels of one network, n images and one attack, each of shape (n, n); formulas in the module's text.

    Attributes
    ----------
    clean, robust, cross : ndarray of float64
        ``cross`` is not symmetric: its rows are clean images, its columns attacked ones.
    robust_twice, cross_twice : ndarray of float64 or None
        None where the images were not attacked twice.
    beta : float
        Weight of the adversarial loss, 0 for standard training, 1 for the training of this benchmark.
    """

    clean: Floats
    robust: Floats
    cross: Floats
    robust_twice: Floats | None = None
    cross_twice: Floats | None = None
    beta: float = 1.0

    def __post_init__(self) -> None:
        _check_beta(self.beta)

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

    def with_beta(self, beta: float) -> Kernels:
        """Return the same kernels for another weight of the adversarial loss."""
        return replace(self, beta=beta)


def _check_beta(beta: object) -> None:
    if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not 0 <= beta <= 1:
        raise InvalidValueError("beta", beta, "a weight in [0, 1]", "1")


def _combine(first: Floats, cross: Floats, second: Floats, beta: float) -> Floats:
    combined: Floats = (1 - beta) ** 2 * first + beta * (1 - beta) * (cross + cross.T) + beta**2 * second
    return combined


def kernels(
    network: nn.Module,
    images: torch.Tensor,
    attack: Attack | None = None,
    *,
    beta: float,
    bn: str,
    labels: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    adversarial: torch.Tensor | None = None,
    adversarial_twice: torch.Tensor | None = None,
    twice: bool = True,
    output: str | int = "sum",
    precision: str = "fp32",
    engine: str = "auto",
    budget_mib: float = 1024.0,
) -> Kernels:
    """Return the kernels between images, their attacked versions and the versions attacked twice, from one pass.

    Parameters
    ----------
    network : Module
        As for `ntk.ntk`.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    attack : Attack, optional
        Makes the versions that the caller does not give, on the network with the batch normalisation of `bn`; it
        needs `labels` and, if it draws, `generator`.
    beta : float
        Weight of the adversarial loss in [0, 1], of the combined kernels.
    bn : str
        As for `ntk.ntk`. With ``"batch_frozen"`` the statistics are those of the clean `images` for all versions, so
        that all see one network; with ``"batch_coupled"`` all versions are one batch.
    labels : Tensor of int64, shape (n,), optional
        Classes from 0, for the attack.
    generator : torch.Generator, optional
        Draws the attack's random starts.
    adversarial, adversarial_twice : Tensor of the shape of `images`, optional
        A(x) and A(A(x)). PGD's iterates depend on rounding: pass them to compare engines or precisions.
    twice : bool
        Whether the images are attacked twice.
    output : str or int
        ``"sum"``, ``"trace"`` or a class, as for `ntk.ntk`.
    precision, engine, budget_mib
        As for `ntk.ntk`; the attack is made in fp32, or fp64 for ``"fp64"``.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If an argument is not as above, or what the attack needs is missing.
    """
    if output == "full":
        raise InvalidValueError("output", output, "'sum', 'trace' or a class: one value for a pair of images", "sum")
    _check_beta(beta)  # before the work, not after it
    for argument, given in (("adversarial", adversarial), ("adversarial_twice", adversarial_twice)):
        if given is not None and given.shape != images.shape:
            raise InvalidValueError(f"the shape of {argument}", tuple(given.shape), str(tuple(images.shape)))
    name = choose_engine(engine, network, images, bn, precision)
    images = images.detach().to(dtype_of(precision))
    twin = prepare(network, images, bn, images.dtype)
    versions = [images]
    for given in (adversarial, adversarial_twice)[: 1 + twice]:
        made = _attacked(twin, versions[-1], attack, labels, generator, name) if given is None else given
        versions.append(made.detach().to(images))
    kernel = ntk(
        twin,
        torch.cat(versions),
        output=output,
        bn="batch_coupled" if bn == "batch_coupled" else "eval",  # what is frozen is the twin's running statistics now
        precision=precision,
        engine=name,
        budget_mib=budget_mib,
    )
    return from_blocks(kernel.cpu().numpy(), len(images), beta=beta)


def from_blocks(kernel: Floats, samples: int, *, beta: float) -> Kernels:
    """Return the kernels that are blocks of the kernel of stacked versions of `samples` images: x, A(x), A(A(x))."""

    def block(row: int, column: int) -> Floats:
        return kernel[row * samples : (row + 1) * samples, column * samples : (column + 1) * samples].copy()

    twice = len(kernel) == 3 * samples
    return Kernels(
        clean=block(0, 0),
        robust=block(1, 1),
        cross=block(0, 1),
        robust_twice=block(2, 2) if twice else None,
        cross_twice=block(1, 2) if twice else None,
        beta=beta,
    )


def attacked(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator | None,
    engine: str,
) -> torch.Tensor:
    """Return images attacked by FGSM or PGD on a network that `modes.prepare` made.

    `engine` is ``"native"`` or ``"torch"``; a random start is the same in both.
    """
    if engine == "torch" or attack.norm != "Linf":
        pruned = duplicate(network)
        prune(pruned)
        return perturb(pruned, images, labels, attack, generator or torch.Generator(images.device))
    noise = None
    if attack.random_start:
        assert generator is not None
        noise = torch.empty(images.shape).uniform_(-attack.eps, attack.eps, generator=generator).numpy()
    steps, size = attack.schedule
    found = native_twin(network).pgd(images.numpy(), labels.numpy(), noise, eps=attack.eps, step_size=size, steps=steps)
    return torch.from_numpy(found)


def _attacked(
    twin: nn.Module,
    images: torch.Tensor,
    attack: Attack | None,
    labels: torch.Tensor | None,
    generator: torch.Generator | None,
    engine: str,
) -> torch.Tensor:
    """Make a version that the caller did not give, from what the caller gave for that."""
    if attack is None:
        raise InvalidValueError("attack", attack, "an Attack, or the attacked images")
    if attack.name not in ("fgsm", "pgd"):
        raise UnknownNameError("attack of a kernel", attack.name, ("fgsm", "pgd"))
    if labels is None or len(labels) != len(images):
        raise InvalidValueError("labels", None if labels is None else len(labels), f"{len(images)} classes")
    if attack.random_start and generator is None:
        raise InvalidValueError("generator", None, "a torch.Generator for the random start")
    return attacked(twin, images, labels, attack, generator, engine)


def combined_directly(
    network: nn.Module, first: torch.Tensor, second: torch.Tensor, *, beta: float, bn: str, precision: str = "fp64"
) -> Floats:
    """Return G G^T with G = (1-b) J(first) + b J(second), the rows of G being formed before any product.

    It is ``combined`` for x and A(x), ``combined_robust`` for A(x) and A(A(x)), of the sum of the logits, by another
    way: the check of the formulas, and of the rounding of their sums.

    Parameters
    ----------
    network, bn, precision
        As for `kernels`, without coupled batch normalisation; frozen statistics are those of `first`.
    first, second : Tensor, shape (n, channels, size, size)
    beta : float
        Weight b.
    """
    if bn not in ("eval", "batch_frozen"):
        raise UnknownNameError("bn mode of combined_directly", bn, ("eval", "batch_frozen"))
    twin = prepare(network, first, bn, dtype_of(precision))
    prune(twin)
    both = torch.cat([first, second]).to(dtype_of(precision))
    with torch.no_grad():
        cotangents = torch.ones_like(twin(both))
    one = torch.eye(len(first), device=both.device)
    mix = torch.cat([(1 - beta) * one, beta * one], 1).to(both)
    return contract_layers(twin, both, cotangents, mix=mix).cpu().numpy()
