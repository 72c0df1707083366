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
from .random_search import RandomSearch, inside

if TYPE_CHECKING:
    from ..metrics import Attack

QUERIES = 5000
FIRST_SHARE = 0.8  # p: share of the pixels that the first squares cover
# Of 10,000 queries, where p is halved (section 3.1 of the paper); other numbers of queries rescale it. The paper's list
# does not have 500, the authors' programs do, and with them all published evaluations.
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
BLOCK = 256  # queries that are drawn at a time


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
    """Random search on many images, each at its own pace.

    A move is a square and a sign per channel, numbered. Every image has its own sequence of random moves, so images do
    not have to make the same query at the same time: one that skips ten moves is evaluated at its eleventh beside
    others at their first. That keeps batches full.
    """

    @staticmethod
    def side(share: float, size: int) -> int:
        return max(1, round(math.sqrt(share * size * size)))

    def start(self) -> torch.Tensor:
        images, eps = self.images, self.eps
        self.low, self.high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
        self._side, self.hopeless = 0, torch.empty(0)
        count, channels, _, size = images.shape
        stripes = self.integers(2, (count, channels, 1, size)).bool()
        return torch.where(stripes, self.high, self.low)

    def run(self, side: int, count: int) -> None:
        channels, _, size = self.point.shape[1:]
        if side != self._side:
            self._side, self.hopeless = side, _changes_nothing(self.point, self.low, self.high, side)
        moves = self.integers((size - side + 1) ** 2 << channels, (len(self.point), count))
        query = torch.arange(count, device=moves.device)
        rows = (~self.wrong).nonzero()[:, 0]
        upcoming = torch.zeros_like(rows)
        while len(rows):
            waiting = query >= upcoming[:, None]
            if self.skip:
                waiting &= ~self.hopeless[rows[:, None], moves[rows]]
            going = waiting.any(dim=1) & ~self.wrong[rows]
            rows, waiting = rows[going], waiting[going]
            if not len(rows):
                break
            first = waiting.int().argmax(dim=1)
            self._make(rows, moves[rows, first])
            upcoming = first + 1

    def _make(self, rows: torch.Tensor, move: torch.Tensor) -> None:
        """Make one move on each of the images in `rows`, and keep it where the margin falls."""
        channels, _, size = self.point.shape[1:]
        corner, signs = move >> channels, move & ((1 << channels) - 1)
        span = size - self._side + 1
        inside_row = inside(corner // span, self._side, size)[:, None, :, None]
        inside_column = inside(corner % span, self._side, size)[:, None, None, :]
        up = (signs[:, None] >> torch.arange(channels, device=move.device) & 1).bool()[:, :, None, None]
        target = torch.where(up, self.high[rows], self.low[rows])
        candidate = torch.where(inside_row & inside_column, target, self.point[rows])

        found, wrong = self.ask(candidate, self.labels[rows])
        self.hopeless[rows, move] = True
        better = found < self.margin[rows]
        if better.any():
            kept = rows[better]
            self.point[kept], self.margin[kept], self.wrong[kept] = candidate[better], found[better], wrong[better]
            self.hopeless[kept] = _changes_nothing(self.point[kept], self.low[kept], self.high[kept], self._side)


def _changes_nothing(point: torch.Tensor, low: torch.Tensor, high: torch.Tensor, side: int) -> torch.Tensor:
    """Return which moves leave the image as it is, shape (n, moves).

    Every pixel of the point is at one of its bounds; where both are the same pixel value, neither changes it.
    """
    channels = point.shape[1]
    falls, rises = (
        F.max_pool2d((point != bound).to(point.dtype), side, stride=1).flatten(2).bool() for bound in (low, high)
    )
    changes = []
    for signs in range(1 << channels):
        parts = [(rises if signs >> channel & 1 else falls)[:, channel] for channel in range(channels)]
        changes.append(torch.stack(parts).any(dim=0))
    return ~torch.stack(changes, dim=2).flatten(1)


SEARCHES: dict[str, type[RandomSearch]] = {"Linf": _Corners, "L2": Bumps}
