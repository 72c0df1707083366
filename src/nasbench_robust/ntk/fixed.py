"""A network as its kernels see it, made once for all kernels, attacks and engines of one batch of images."""

from __future__ import annotations

import torch
from torch import nn

from ..attacks import check_images, check_labels, perturb
from ..errors import InvalidValueError, UnknownNameError
from ..images import pinned_float32
from ..metrics import Attack
from ..networks import Network
from .engines import kernel_engine, native_twin
from .modes import dtype_of, prepare
from .pruning import prune

KERNEL_ATTACKS = ("fgsm", "pgd")


class FixedNetwork:
    """A copy of a network with batch normalisation in a mode, in an arithmetic, without edges that cannot matter.

    Parameters
    ----------
    network : Module
        As for `ntk.ntk`; it is left as it is.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1]; in ``"batch_frozen"`` the constants of normalisation are the statistics of these.
    bn, precision, engine : str
        As for `ntk.ntk`.

    Attributes
    ----------
    module : Module
        The copy.
    dtype : torch.dtype
        Its arithmetic.
    native : NativeNetwork or None
        The copy in the C++ engine, where that is the engine.
    bn, precision, engine : str
        As given, but for the engine, which is ``"native"`` or ``"torch"``.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If an argument is not as above, or the engine cannot do it.
    """

    @pinned_float32()
    def __init__(
        self, network: nn.Module, images: torch.Tensor, *, bn: str, precision: str = "fp32", engine: str = "auto"
    ) -> None:
        if not isinstance(network, nn.Module):
            raise InvalidValueError("network", type(network).__name__, "a torch.nn.Module")
        check_batch("images", images, network)
        self.bn, self.precision, self.dtype = bn, precision, dtype_of(precision)
        self.module = prepare(network, images.detach(), bn, self.dtype)
        self.engine = kernel_engine(engine, network, images, bn, precision)
        prune(self.module)
        self.native = native_twin(self.module) if self.engine == "native" else None

    def attacked(
        self, images: torch.Tensor, labels: torch.Tensor, attack: Attack, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return A(x): images attacked on this network, in its arithmetic.

        Parameters
        ----------
        images : Tensor, shape (n, channels, size, size)
            Pixels in [0, 1].
        labels : Tensor of int64, shape (n,)
            Classes from 0.
        attack : Attack
            FGSM or PGD, with step size and number of steps.
        generator : torch.Generator, optional
            Draws the random start, the same on every engine.

        Raises
        ------
        UnknownNameError, InvalidValueError
            If it is another attack, or what it needs is missing.
        """
        _check_attack(images, labels, attack, generator)
        images = images.detach().to(self.dtype)
        if self.native is None or attack.norm != "Linf" or (attack.restarts or 1) > 1:
            drawing = generator or torch.Generator(images.device)
            return perturb(self.module, images, labels, attack, drawing).detach()
        noise = None
        if attack.random_start:
            noise = torch.empty(images.shape).uniform_(-attack.eps, attack.eps, generator=generator).numpy()
        steps, size = attack.schedule
        arrays = images.numpy(), labels.numpy(), noise
        return torch.from_numpy(self.native.pgd(*arrays, eps=attack.eps, step_size=size, steps=steps))


def check_batch(name: str, images: object, network: nn.Module, shape: torch.Size | None = None) -> None:
    """Raise `InvalidValueError` for what is no batch of images; `shape` is that of one image, where it must fit.

    Networks of this package take pixels in [0, 1]; what others take is theirs to know.
    """
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or not len(images):
        kind = tuple(images.shape) if isinstance(images, torch.Tensor) else type(images).__name__
        raise InvalidValueError(name, kind, "a tensor of shape (n, channels, size, size), n at least 1")
    if shape is not None and images.shape[1:] != shape:
        raise InvalidValueError(f"the shape of {name}", tuple(images.shape), f"(n, {tuple(shape)})")
    if isinstance(network, Network):
        check_images(images, name)
    elif not (images.is_floating_point() and bool(images.isfinite().all())):
        raise InvalidValueError(name, str(images.dtype), "finite floats")


def _check_attack(
    images: torch.Tensor, labels: torch.Tensor, attack: Attack, generator: torch.Generator | None
) -> None:
    if not isinstance(attack, Attack):
        raise InvalidValueError("attack", attack, "an Attack")
    if attack.name not in KERNEL_ATTACKS:
        raise UnknownNameError("attack of a kernel", attack.name, KERNEL_ATTACKS)
    check_images(images)
    check_labels(labels, len(images))
    if attack.random_start and generator is None:
        raise InvalidValueError("generator", None, "a torch.Generator for the random start")
