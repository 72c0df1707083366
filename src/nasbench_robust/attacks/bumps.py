"""Square's search in L2: two hills of opposite sign at a random place, paid for by a window that is emptied."""

from __future__ import annotations

import math

import torch

from .balls import BALLS
from .random_search import RandomSearch, inside

SMALLEST = 3  # side of a bump: a single pixel has no two halves
TILES = 5  # in a row of the start


class Bumps(RandomSearch):
    """Random search with bumps (section 3.3 of the paper).

    Every move puts a bump of random sign and orientation into one window of the perturbation, empties a second one, and
    gives what both had, and what is left of eps, to the first.
    """

    @staticmethod
    def side(share: float, size: int) -> int:
        """Return an odd side, so that a bump has a middle."""
        side = max(SMALLEST, round(math.sqrt(share * size * size)))
        return min(side + 1 - side % 2, size)

    def start(self) -> torch.Tensor:
        """Return the images under tiles of small bumps."""
        count, channels, _, size = self.images.shape
        side = max(1, size // TILES)
        before = max(0, (size - side * TILES) // 2)
        tiles = (size - before) // side
        bumps = _bumps(side).to(self.images)
        turned = self.integers(2, (count, 1, tiles, tiles))
        signs = 2 * self.integers(2, (count, channels, tiles, tiles)) - 1
        grid = (bumps[turned] * signs[..., None, None]).transpose(3, 4).reshape(count, channels, *[tiles * side] * 2)
        way = torch.zeros_like(self.images)
        end = before + tiles * side
        way[:, :, before:end, before:end] = grid
        return self._at(way, self.images)

    def turn_to(self, side: int) -> None:
        """Go over to windows of another side."""
        super().turn_to(side)
        self._bumps = _bumps(side).to(self.images)
        self._emptied = torch.zeros_like(self.moves)

    def draw(self, count: int) -> None:
        """Draw moves, and the windows that they empty."""
        number, channels, _, size = self.point.shape
        places = (size - self._window + 1) ** 2
        self.moves[:, :count] = self.integers(places << (channels + 1), (number, count))
        self._emptied[:, :count] = self.integers(places, (number, count))

    def note(self, rows: torch.Tensor, places: torch.Tensor, asked: torch.Tensor, kept: torch.Tensor) -> None:
        """Remember nothing: no answer is known before it was given."""

    def needed(self, rows: torch.Tensor) -> None:
        """Ask about all moves."""

    def candidate(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return the points after a bump was moved."""
        move, emptied, side = self.moves[rows, places], self._emptied[rows, places], self._window
        image, channels, size = self.images[rows], self.images.shape[1], self.images.shape[-1]
        way = self.point[rows] - image
        up = (move[:, None] >> torch.arange(channels, device=move.device) & 1)[:, :, None, None]
        turned, place = move >> channels & 1, move >> (channels + 1)
        filled, empty = _window(place, side, size), _window(emptied, side, size)
        row, column = _offsets(place, side, size)
        bump = (2 * up - 1) * self._bumps[turned[:, None, None], row, column][:, None]

        new = torch.where(filled, bump + _unit(way * filled), 0)
        freed = (way * (filled | empty)).square().sum(dim=(2, 3), keepdim=True)
        unused = (self.eps**2 - way.square().sum(dim=(1, 2, 3), keepdim=True)).clamp(min=0)
        new = _unit(new) * (unused / channels + freed).sqrt()
        return self._at(torch.where(filled, new, torch.where(empty, 0, way)), image)

    def _at(self, way: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return the points in this direction at the distance of eps, clipped to [0, 1]."""
        return (images + BALLS["L2"].step(way, self.eps)).clamp(0, 1)


def _bumps(side: int) -> torch.Tensor:
    """Return a bump of L2 norm 1 and the same turned: two hills of opposite sign, shape (2, side, side)."""
    bump = torch.cat([_hill(side // 2, side), -_hill(side - side // 2, side)])
    bump /= torch.linalg.vector_norm(bump)
    return torch.stack([bump, bump.T])


def _hill(rows: int, columns: int) -> torch.Tensor:
    """Return a hill of L2 norm 1: layers of height 1/k² that end k - 1 pixels from the middle, one upon the other."""
    layers = 1 / torch.arange(1, max(rows, columns) // 2 + 2, dtype=torch.float64).square()
    height = layers.flip(0).cumsum(0).flip(0)
    row, column = (torch.arange(length) - length // 2 for length in (rows, columns))
    hill = height[torch.maximum(row.abs()[:, None], column.abs())]
    unit: torch.Tensor = hill / torch.linalg.vector_norm(hill)
    return unit


def _window(place: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """Return which pixels a window covers, shape (n, 1, size, size)."""
    row, column = _corner(place, side, size)
    return (inside(row, side, size)[:, :, None] & inside(column, side, size)[:, None])[:, None]


def _offsets(place: torch.Tensor, side: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the row and column inside its window of every pixel there, to be broadcast to (n, size, size)."""
    row, column = (
        (torch.arange(size, device=place.device) - start[:, None]).clamp(0, side - 1)
        for start in _corner(place, side, size)
    )
    return row[:, :, None], column[:, None]


def _corner(place: torch.Tensor, side: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    span = size - side + 1
    return place // span, place % span


def _unit(way: torch.Tensor) -> torch.Tensor:
    """Return the way with an L2 norm of 1 in every channel; 0 where there is none."""
    return way / way.square().sum(dim=(2, 3), keepdim=True).sqrt().clamp(min=1e-12)
