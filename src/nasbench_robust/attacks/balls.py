"""The balls around images, by norm: what L-infinity and L2 decide for attacks that follow gradients.

Where a start is drawn, in which direction a step goes, where a point outside the ball is put, and how long a way is.
"""

from __future__ import annotations

from typing import Protocol

import torch


class Ball(Protocol):
    """The points within eps of every image in one norm, and within [0, 1]."""

    def __init__(self, images: torch.Tensor, eps: float) -> None: ...

    def start(self, generator: torch.Generator) -> torch.Tensor:
        """Return a point of every ball, drawn uniformly and clipped to [0, 1]."""

    def project(self, points: torch.Tensor) -> torch.Tensor:
        """Return the nearest points of the balls."""

    @staticmethod
    def step(gradient: torch.Tensor, length: float | torch.Tensor) -> torch.Tensor:
        """Return the step of this length in the norm that climbs most; 0 where the gradient is."""

    @staticmethod
    def length(way: torch.Tensor) -> torch.Tensor:
        """Return how long the way of every image is, shape (n,)."""


class _Linf:
    def __init__(self, images: torch.Tensor, eps: float) -> None:
        self._images, self._eps = images, eps
        self._lowest, self._highest = (images - eps).clamp(min=0), (images + eps).clamp(max=1)

    def start(self, generator: torch.Generator) -> torch.Tensor:
        noise = torch.empty(self._images.shape, device=generator.device)
        return self.project(self._images + noise.uniform_(-self._eps, self._eps, generator=generator).to(self._images))

    def project(self, points: torch.Tensor) -> torch.Tensor:
        return points.clamp(self._lowest, self._highest)

    @staticmethod
    def step(gradient: torch.Tensor, length: float | torch.Tensor) -> torch.Tensor:
        return length * gradient.sign()

    @staticmethod
    def length(way: torch.Tensor) -> torch.Tensor:
        return way.abs().flatten(1).amax(dim=1)


class _L2:
    def __init__(self, images: torch.Tensor, eps: float) -> None:
        self._images, self._eps = images, eps

    def start(self, generator: torch.Generator) -> torch.Tensor:
        # A normalised Gaussian is uniform on the sphere; the d-th root of a uniform radius fills the ball evenly.
        images = self._images
        direction = torch.empty(images.shape, device=generator.device).normal_(generator=generator)
        radius = torch.empty(len(images), 1, 1, 1, device=generator.device).uniform_(generator=generator)
        radius = radius ** (1 / images[0].numel())
        return (images + (self._eps * radius * direction / _divisor(direction)).to(images)).clamp(0, 1)

    def project(self, points: torch.Tensor) -> torch.Tensor:
        way = points - self._images
        # Clipping to [0, 1] afterwards keeps the point in the ball: the image itself is in the box.
        return (self._images + way * (self._eps / _divisor(way)).clamp(max=1)).clamp(0, 1)

    @staticmethod
    def step(gradient: torch.Tensor, length: float | torch.Tensor) -> torch.Tensor:
        return length * gradient / _divisor(gradient)

    @staticmethod
    def length(way: torch.Tensor) -> torch.Tensor:
        length: torch.Tensor = torch.linalg.vector_norm(way.flatten(1), dim=1)
        return length


BALLS: dict[str, type[Ball]] = {"Linf": _Linf, "L2": _L2}


def _divisor(pixels: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of every image, shape (n, 1, 1, 1), never 0."""
    return _L2.length(pixels).clamp(min=1e-12)[:, None, None, None]
