"""What Square's searches share, in any norm: the points that they have reached, how they ask, how they draw."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .passes import is_right, logits_of, margin


class RandomSearch(ABC):
    """Random search on many images: a point each, its margin, and whether the network gets it wrong.

    Parameters
    ----------
    network : Module
        In eval mode; only its logits are used.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    eps : float
        Radius of the ball.
    stream : torch.Generator
        Draws all moves.
    batch_size : int
        Images that pass through the network at a time.
    skip : bool
        Whether to leave out queries whose answer is known.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        eps: float,
        stream: torch.Generator,
        batch_size: int,
        skip: bool,
    ) -> None:
        self.network, self.images, self.labels, self.eps = network, images, labels, eps
        self.stream, self.batch_size, self.skip = stream, batch_size, skip
        self.point = self.start()
        self.margin, self.wrong = self.ask(self.point, labels)

    @staticmethod
    @abstractmethod
    def side(share: float, size: int) -> int:
        """Return the side of a square that covers about this share of the pixels."""

    @abstractmethod
    def start(self) -> torch.Tensor:
        """Return the first point of every image."""

    @abstractmethod
    def run(self, side: int, count: int) -> None:
        """Draw `count` moves of one side per image and make them one after the other."""

    def ask(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the margins of images, and which of them are misclassified."""
        logits = logits_of(self.network, images, self.batch_size)
        return margin(logits, labels), ~is_right(logits, labels)

    def integers(self, end: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Draw whole numbers from 0 to `end`, which is left out."""
        drawn = torch.randint(end, shape, generator=self.stream, device=self.stream.device)
        return drawn.to(self.labels.device)


def inside(start: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """Return which of `size` rows or columns a square covers that starts there, shape (n, size)."""
    pixel = torch.arange(size, device=start.device)
    return (pixel >= start[:, None]) & (pixel < start[:, None] + side)
