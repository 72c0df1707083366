"""Square attack, L-infinity or L2, margin loss.

Andriushchenko et al., "Square attack: a query-efficient black-box adversarial attack via random search", ECCV 2020.
Random search: a square of pixels is set to a random corner of the ball, and kept if that lowers the margin. In L2 a
square is a bump, see `bumps`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .bumps import Bumps
from .dispatch import checked
from .passes import attempt_in_turn
from .random_search import BLOCK, RandomSearch, inside

if TYPE_CHECKING:
    from ..metrics import Attack

QUERIES = 5000
FIRST_SHARE = 0.8  # p: share of the pixels that the first squares cover
# Of 10,000 queries, where p is halved (section 3.1 of the paper); other numbers of queries rescale it. The paper's list
# does not have 500, the authors' programs do, and with them all published evaluations.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@checked
def square(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    batch_size: int = 1000,
    *,
    skip: bool = True,
) -> torch.Tensor:
    """Lower the margin by random search over squares.

    Parameters
    ----------
    network : Module
        In eval mode; only its logits are used.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `norm`, `queries` (5,000 if None) and `restarts` (1 if None) are used.
    generator : torch.Generator
        Seeds every restart's own stream, so that its state afterwards does not depend on how much was skipped.
    batch_size : int
        Images that pass through the network at a time.
    skip : bool
        Count a query without asking the network where the answer is known: the square changes nothing, or was rejected
        and nothing has been accepted since. The result is the same. In L2 no answer is known.

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them, in every pixel or in the L2 norm: misclassified where the attack succeeded, else the point
        of the lowest margin of the last restart.
    """

    def attempt(chosen: torch.Tensor, known: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        stream = torch.Generator(generator.device).manual_seed(seed)
        search = SEARCHES[attack.norm](network, chosen, known, attack.eps, stream, batch_size, skip)
        for side, count in _blocks(attack.queries or QUERIES, chosen.shape[-1], search.side):
            search.run(side, count)
            if search.wrong.all():
                break
        return search.point, search.wrong

    return attempt_in_turn(network, images, labels, [attempt] * (attack.restarts or 1), batch_size)


def share_of_pixels(query: int, queries: int) -> float:
    """Return p, the share of pixels that the square of a query covers, before rounding to whole pixels."""
    scaled = int(query / queries * 10000)
    return FIRST_SHARE / float(2 ** sum(scaled > halving for halving in HALVINGS))


def _blocks(queries: int, size: int, side_of: Callable[[float, int], int]) -> Iterator[tuple[int, int]]:
    """Yield (side of the square, number of queries) in order; the first query is the start's."""
    sides = (side_of(share_of_pixels(query, queries), size) for query in range(1, queries))
    for side, same in itertools.groupby(sides):
        left = len(list(same))
        while left:
            yield side, min(left, BLOCK)
            left -= min(left, BLOCK)


class _Corners(RandomSearch):
    """Random search with squares; a move is the corner of one and a sign per channel, numbered."""

    @staticmethod
    def side(share: float, size: int) -> int:
        return max(1, round(math.sqrt(share * size * size)))

    def start(self) -> torch.Tensor:
        images, eps = self.images, self.eps
        self.low, self.high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
        count, channels, _, size = images.shape
        # How many moves an image has kept, and how many it had when it rejected a move: where these are equal, the
        # answer is known.
        self._kept = self.labels.new_zeros(count, dtype=torch.int16)
        stripes = self.integers(2, (count, channels, 1, size)).bool()
        return torch.where(stripes, self.high, self.low)

    def turn_to(self, side: int) -> None:
        super().turn_to(side)
        channels, _, size = self.point.shape[1:]
        self._span = size - side + 1
        self._rejected = self._kept.new_full((len(self.point), self._span**2 << channels), -1)
        self._kept.zero_()

    def draw(self, count: int) -> None:
        self.moves[:, :count] = self.integers(self._rejected.shape[1], (len(self.point), count))

    def changed(self) -> list[list[torch.Tensor]]:
        *telling, others = super().changed()
        return [*telling, [*others, self._kept, self._rejected]]

    def candidate(self, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        size, side = self.point.shape[-1], self._window
        corner, up = self._taken_apart(self.moves[rows, places])
        inside_row = inside(corner // self._span, side, size)[:, None, :, None]
        inside_column = inside(corner % self._span, side, size)[:, None, None, :]
        target = torch.where(up.bool()[:, :, None, None], self.high[rows], self.low[rows])
        return torch.where(inside_row & inside_column, target, self.point[rows])

    def note(self, rows: torch.Tensor, places: torch.Tensor, asked: torch.Tensor, kept: torch.Tensor) -> None:
        move, before = self.moves[rows, places], self._kept[rows]
        self._rejected[rows, move] = torch.where(asked, before, self._rejected[rows, move])
        self._kept[rows] = before + kept

    def needed(self, rows: torch.Tensor) -> torch.Tensor | None:
        """Return which moves change a pixel, and were not rejected since the last one that was kept."""
        if not self.skip:
            return None
        moves = self.moves[rows]
        return self._changes(rows, moves) & (self._rejected[rows[:, None], moves] != self._kept[rows, None])

    def _changes(self, rows: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
        """Return which moves change a pixel, of the shape of the moves.

        Every pixel of the point is at one of its bounds; where both are the same pixel value, neither changes it.
        """
        channels = self.point.shape[1]
        apart = torch.cat([self.point[rows] != bound[rows] for bound in (self.low, self.high)], dim=1)
        columns = F.max_pool2d(apart.to(self.point.dtype), (self._window, 1), stride=1)
        squares = F.max_pool2d(columns, (1, self._window), stride=1).flatten(1)
        corner, up = self._taken_apart(moves)
        channel = torch.arange(channels, device=moves.device) + channels * up
        chosen = squares.gather(1, (channel * self._span**2 + corner[..., None]).flatten(1))
        return chosen.view_as(channel).any(dim=-1)

    def _taken_apart(self, moves: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the corners that moves name, and for each channel 1 where it rises, 0 where it falls."""
        channels = self.point.shape[1]
        return moves >> channels, moves[..., None] >> torch.arange(channels, device=moves.device) & 1


SEARCHES: dict[str, type[RandomSearch]] = {"Linf": _Corners, "L2": Bumps}
