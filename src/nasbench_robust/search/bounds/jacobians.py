"""First-order bounds from the Jacobian of the logits: not certified, and differentiable in the architecture.

To first order |f_k(x + d) - f_k(x)| <= |d|_p |J_k(x)|_q with 1/p + 1/q = 1: for L-infinity attacks q = 1, for L2
attacks q = 2. The linearised network reaches the bound; the network itself may move further than that.

All functions take any callable that maps images to logits and treats every image by itself, so that one backward pass
of a sum over images gives a row of every image's Jacobian. Batch normalisation couples the images in train mode; that
is an error here, also inside the callable: see `running_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from ...attacks import check_images, checked_radius, evaluating, one_precision, ranked_targets
from ...errors import InvalidValueError
from ...images import pinned_float32

Forward = Callable[[torch.Tensor], torch.Tensor]


@pinned_float32()
def jacobian_norms(
    forward: Forward,
    images: torch.Tensor,
    *,
    q: float = 1,
    draws: int | None = None,
    generator: torch.Generator | None = None,
    create_graph: bool = False,
) -> torch.Tensor:
    """Return norms of the rows of the Jacobian, the gradients of logits with respect to their own image.

    Parameters
    ----------
    forward : callable
        Maps images to logits, for example ``lambda images: supernet(images, mixture)``; eval mode.
    images : Tensor, shape (n, channels, size, size)
    q : float
        Norm, from 1 to infinity: the dual of the attack's.
    draws : int, optional
        How many logits are drawn for every image, without replacement; the mean over them is an unbiased estimate of
        the mean over all. By default all are taken, in order.
    generator : torch.Generator, optional
        Draws the logits; needed with `draws`.
    create_graph : bool
        Whether the norms can be differentiated. A ReLU network's Jacobian jumps where a unit turns on or off, and no
        gradient knows of that; between the jumps the derivative is exact.

    Returns
    -------
    Tensor, shape (n, classes) or (n, draws)
        Change of a logit per unit of the pixels.

    Raises
    ------
    InvalidValueError
        If a batch normalisation is in train mode, `q` is below 1, `draws` is not in 1..classes or has no generator.
    """
    pixels, logits = _logits(forward, images)
    count, classes = logits.shape
    if draws is None:
        columns = torch.arange(classes, device=logits.device).expand(count, classes)
    else:
        columns = _drawn(count, classes, draws, generator).to(logits.device)
    values = logits.gather(1, columns)
    return _gradient_norms(values, pixels, q, create_graph)


def jacobian_robustness(
    forward: Forward,
    images: torch.Tensor,
    eps: float,
    *,
    q: float = 1,
    draws: int | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return ``R_J = -(eps / K) E_x sum_k |J_k(x)|_q``, to be maximised; it can be differentiated in the architecture.

    A reconstruction of the Jacobian bound of Hosseini, Yang and Xie ("DSRNA", CVPR 2021), whose formula is known here
    at second hand only. Which operations it prefers depends on the statistics of batch normalisation:
    `benchmarks/bounds.py` prints it.

    Parameters
    ----------
    forward, images, q, draws, generator
        See `jacobian_norms`; with `draws` the sum is estimated without bias.
    eps : float
        Radius of the attack in the dual norm of `q`; pixels in [0, 1].

    Returns
    -------
    Tensor, shape ()
        Minus the mean over images and logits of the first-order bound of a logit's change; 0 at best.
    """
    eps = checked_radius(eps, "Linf" if q == 1 else "L2")
    norms = jacobian_norms(forward, images, q=q, draws=draws, generator=generator, create_graph=True)
    return -eps * norms.mean()


@pinned_float32()
def linearised_radius(
    forward: Forward,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    q: float = 1,
    rivals: int | None = None,
    create_graph: bool = False,
) -> torch.Tensor:
    """Return ``min over c of m_c / |grad m_c|_q``, ``m_c = f_y - f_c``: how far the linearised network decides alike.

    First order, not certified: exact for a linear network, apart from the limits 0 and 1 of the pixels, which it
    ignores (Hein and Andriushchenko, "Formal guarantees on the robustness of a classifier against adversarial
    manipulation", NeurIPS 2017, with the gradient in the place of the local Lipschitz constant). Unlike an interval
    bound it has the scale of an eps.

    Parameters
    ----------
    forward, images, q, create_graph
        See `jacobian_norms`.
    labels : Tensor of int64, shape (n,)
    rivals : int, optional
        How many of the most likely wrong classes c are looked at, one backward pass each; by default all. Fewer give
        an upper bound of the minimum.

    Returns
    -------
    Tensor, shape (n,)
        In units of the pixels; negative where the network is wrong, beyond all bounds where no margin depends on the
        image.

    Raises
    ------
    InvalidValueError
        As for `jacobian_norms`, or if `rivals` is not in 1..classes - 1.
    """
    pixels, logits = _logits(forward, images)
    wrong = logits.shape[1] - 1
    if rivals is not None and not 1 <= rivals <= wrong:
        raise InvalidValueError("rivals", rivals, f"a number of wrong classes from 1 to {wrong}")
    targets = ranked_targets(logits.detach(), labels)[:, :rivals]
    margins = logits.gather(1, labels[:, None]) - logits.gather(1, targets)
    norms = _gradient_norms(margins, pixels, q, create_graph)
    if not create_graph:
        margins = margins.detach()
    least = torch.finfo(norms.dtype).tiny
    return (margins / norms.clamp(min=least)).amin(dim=1)


@contextmanager
def running_statistics(network: nn.Module) -> Iterator[None]:
    """Put the network into eval mode, and afterwards every module back into the mode it was in."""
    with evaluating(network):
        yield


class _UncoupledImages(TorchFunctionMode):
    """Raises where batch normalisation takes the statistics of the batch: in a closure no module could be asked."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.batch_norm, torch.batch_norm) and (kwargs["training"] if "training" in kwargs else args[5]):
            raise InvalidValueError(
                "batch normalisation", "train mode", "eval mode: here every image is treated by itself"
            )
        return func(*args, **kwargs)


def _logits(forward: Forward, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images as a new leaf of the graph, and their logits."""
    check_images(images)
    pixels = images.detach().requires_grad_()
    with one_precision(forward, images), torch.enable_grad(), _UncoupledImages():
        return pixels, forward(pixels)


def _drawn(count: int, classes: int, draws: int, generator: torch.Generator | None) -> torch.Tensor:
    """Return `draws` different logits for every image, shape (count, draws), every set equally likely."""
    if not 1 <= draws <= classes:
        raise InvalidValueError("draws", draws, f"a number of logits from 1 to {classes}")
    if generator is None:
        raise InvalidValueError("generator", generator, "a torch.Generator to draw logits with")
    keys = torch.rand(count, classes, generator=generator, device=generator.device)
    return keys.argsort(dim=1)[:, :draws]


def _gradient_norms(values: torch.Tensor, pixels: torch.Tensor, q: float, create_graph: bool) -> torch.Tensor:
    """Return the norms of the gradients of values, shape (n, k), each with respect to its own image."""
    if isinstance(q, bool) or not isinstance(q, (int, float)) or not q >= 1:
        raise InvalidValueError("q", q, "a norm from 1 to infinity", "1")
    norms = []
    for column in values.unbind(dim=1):
        if column.requires_grad:
            (gradient,) = torch.autograd.grad(
                column.sum(), pixels, retain_graph=True, create_graph=create_graph, materialize_grads=True
            )
        else:  # constants: a cell without a path, and weights that are not trained
            gradient = torch.zeros_like(pixels)
        norms.append(torch.linalg.vector_norm(gradient.flatten(1), ord=q, dim=1))
    return torch.stack(norms, dim=1)
