"""What Square's searches share, in any norm: the points that they have reached, whose turn it is, how they ask.

Every image has its own sequence of random moves and goes through it at its own pace: one that skips ten moves is asked
about its eleventh beside others at their first. That keeps batches full.

A query reads nothing on the host, and writes to tensors that keep their places, so that it can be repeated as a CUDA
graph: see `repeating`. All its batches then have one size, and `STRIDE` queries are made between two looks at which
images still have moves; in between, one that has none left passes through the network for nothing. Without a graph
there is a look before every query, and its batch is what has moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from ._repeating import Work, repeater
from .passes import is_right, logits_of, margin

BLOCK = 256  # queries that are drawn at a time
STRIDE = 16  # queries of a graph between two looks, at which the host waits for the device


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
        count = len(labels)
        # The moves of a block, the place of every image's next one, BLOCK where none is left, and how many are drawn.
        self.moves = labels.new_zeros(count, BLOCK)
        self._next, self._drawn = torch.zeros_like(labels), labels.new_zeros(())
        self._places = torch.arange(BLOCK, device=labels.device)
        self._all = torch.arange(count, device=labels.device)
        self._rows = self._all[:batch_size].clone()  # the images of a query
        self._window, self._repeater = 0, repeater()

    @staticmethod
    @abstractmethod
    def side(share: float, size: int) -> int:
        """Return the side of a square that covers about this share of the pixels."""

    @abstractmethod
    def start(self) -> torch.Tensor:
        """Return the first point of every image."""

    def turn_to(self, side: int) -> None:
        """Go over to squares of another side."""
        self._window = side

    @abstractmethod
    def draw(self, count: int) -> None:
        """Draw the first `count` moves of a block for every image."""

    @abstractmethod
    def candidate(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the points of some images after each one's move at a place in the block."""

    @abstractmethod
    def note(self, rows: torch.Tensor, places: torch.Tensor, asked: torch.Tensor, kept: torch.Tensor) -> None:
        """Remember which images' moves were asked about, and which of them were kept."""

    @abstractmethod
    def needed(self, rows: torch.Tensor) -> torch.Tensor | None:
        """Return which moves of the block the network has to be asked about, shape (n, BLOCK); None for all."""

    def changed(self) -> list[list[torch.Tensor]]:
        """Return all tensors that a query changes, as `repeating` asks for them."""
        return [[self.point], [self.margin], [self._next], [self.wrong]]

    def run(self, side: int, count: int) -> None:
        """Draw `count` moves of one side per image and make them one after the other."""
        if side != self._window:
            self.turn_to(side)
        self.draw(count)
        self._drawn.fill_(count)
        self._next.copy_(self._following(self._all, torch.zeros_like(self._all)))
        if self._repeater is None:
            self._make_all()
        else:
            self._repeat_all(self._repeater(self._make_query, self.changed()), count)

    def _make_all(self) -> None:
        """Make query after query, each of all images that have a move left."""
        while len(rows := (self._next < BLOCK).nonzero()[:, 0]):
            self._rows = rows
            self._make_query()

    def _repeat_all(self, query: Work, count: int) -> None:
        """Do the same with one query that is repeated, of as many images every time."""
        width = len(self._rows)
        for _ in range(-(-count // STRIDE)):
            left = int((self._next < BLOCK).sum())
            order = (self._next == BLOCK).int().argsort(stable=True)  # those that have a move left come first
            for end in range(width, left + width, width):
                # The last batch is filled up with whatever images are there: each goes on, or does nothing.
                last = min(end, len(order))
                self._rows.copy_(order[last - width : last])
                for _ in range(STRIDE):
                    query()
        self._make_all()  # of which nothing is left, unless the repeated query did not do its work

    def _make_query(self) -> None:
        """Make the next move of each image in `_rows` that has one, and keep it where the margin falls."""
        rows = self._rows
        upcoming = self._next[rows]
        asked, places = upcoming < BLOCK, upcoming.clamp(max=BLOCK - 1)
        candidate = self.candidate(rows, places)
        found, wrong = self.ask(candidate, self.labels[rows])
        kept = asked & ((found < self.margin[rows]) | wrong)  # what is not a number is wrong too
        self.point[rows] = torch.where(kept[:, None, None, None], candidate, self.point[rows])
        self.margin[rows] = torch.where(kept, found, self.margin[rows])
        self.wrong[rows] = torch.where(kept, wrong, self.wrong[rows])
        self.note(rows, places, asked, kept)
        self._next[rows] = self._following(rows, upcoming + 1)

    def _following(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the places of the next moves that are needed, from these on; BLOCK where there is none."""
        waiting = (self._places >= places[:, None]) & (self._places < self._drawn) & ~self.wrong[rows, None]
        needed = self.needed(rows)
        if needed is not None:
            waiting &= needed
        return torch.where(waiting.any(dim=1), waiting.int().argmax(dim=1), BLOCK)

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
