"""Projected gradient descent (Madry et al., ICLR 2018), L-infinity or L2, untargeted, last iterate.

What a norm decides stands in a ball of its own: where a start is drawn, in which direction a step goes, and where a
point outside the ball is put.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch

from ._fgsm import input_gradient
from .dispatch import checked
from .passes import is_right

if TYPE_CHECKING:
    from ..metrics import Attack


class Ball(Protocol):
    """The points within eps of every image in one norm, and within [0, 1]."""

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Return a point of every ball, drawn uniformly and clipped to [0, 1]."""

    def step(self, gradient: torch.Tensor, length: float) -> torch.Tensor:
        """Return the step of this length in the norm that climbs most."""

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """Return the nearest points of the balls."""


class _Linf:
    def __init__(self, images: torch.Tensor, eps: float) -> None:
        self._images, self._eps = images, eps
        self._lowest, self._highest = (images - eps).clamp(min=0), (images + eps).clamp(max=1)

    def start(self, generator: torch.Generator) -> torch.Tensor:
        noise = torch.empty(self._images.shape, device=generator.device)
        return self.project(self._images + noise.uniform_(-self._eps, self._eps, generator=generator).to(self._images))

    def step(self, gradient: torch.Tensor, length: float) -> torch.Tensor:
        return length * gradient.sign()

    def project(self, points: torch.Tensor) -> torch.Tensor:
        return points.clamp(self._lowest, self._highest)


class _L2:
    def __init__(self, images: torch.Tensor, eps: float) -> None:
        self._images, self._eps = images, eps

    def start(self, generator: torch.Generator) -> torch.Tensor:
        # A normalised Gaussian is uniform on the sphere; the d-th root of a uniform radius fills the ball evenly.
        images = self._images
        direction = torch.empty(images.shape, device=generator.device).normal_(generator=generator)
        radius = torch.empty(len(images), 1, 1, 1, device=generator.device).uniform_(generator=generator)
        radius = radius ** (1 / images[0].numel())
        return (images + (self._eps * radius * direction / _length(direction)).to(images)).clamp(0, 1)

    def step(self, gradient: torch.Tensor, length: float) -> torch.Tensor:
        return length * gradient / _length(gradient)

    def project(self, points: torch.Tensor) -> torch.Tensor:
        way = points - self._images
        # Clipping to [0, 1] afterwards keeps the point in the ball: the image itself is in the box.
        return (self._images + way * (self._eps / _length(way)).clamp(max=1)).clamp(0, 1)


BALLS: dict[str, Callable[[torch.Tensor, float], Ball]] = {"Linf": _Linf, "L2": _L2}


@checked
def pgd(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    batch_size: int = 0,  # noqa: ARG001 (all at once: a step of training attacks one batch)
) -> torch.Tensor:
    """Take gradient steps on the cross entropy, projecting onto the eps ball and [0, 1] after each.

    A step has the length `step_size` in the attack's norm: along the sign of the gradient in L-infinity, along the
    gradient in L2.

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `norm`, `steps`, `step_size`, `random_start` and `restarts` are used.
    generator : torch.Generator
        Draws the starts: uniform in the ball, clipped to [0, 1].
    batch_size : int
        Not used: all images pass through the network together.

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them, in every pixel or in the L2 norm of all pixels and channels. Of several restarts the first
        one that is misclassified, else the last.
    """
    adversarial = _ascend(network, images, labels, attack, generator)
    for _ in range(1, attack.restarts or 1):
        # All images take part in every restart, so that neither draws nor work depend on what was found.
        with torch.no_grad():
            withstood = is_right(network(adversarial), labels)[:, None, None, None]
        adversarial = torch.where(withstood, _ascend(network, images, labels, attack, generator), adversarial)
    return adversarial


def _ascend(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, attack: Attack, generator: torch.Generator
) -> torch.Tensor:
    """Run PGD once."""
    ball = BALLS[attack.norm](images, attack.eps)
    adversarial = ball.start(generator) if attack.random_start else images
    steps, step_size = attack.schedule
    for _ in range(steps):
        gradient = input_gradient(network, adversarial, labels)
        adversarial = ball.project(adversarial + ball.step(gradient, step_size))
    return adversarial


def _length(pixels: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of every image, shape (n, 1, 1, 1), never 0."""
    length: torch.Tensor = torch.linalg.vector_norm(pixels.flatten(1), dim=1).clamp(min=1e-12)
    return length[:, None, None, None]
