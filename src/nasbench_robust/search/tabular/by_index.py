"""Searches that know cells by their indices, and many of them at once: what makes `run` and `repeat` fast."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ... import cells
from ...arrays import Floats, Integers
from ...cells import EDGES, OPERATIONS, Cell

_PLACES = len(OPERATIONS) ** np.arange(len(EDGES) - 1, -1, -1)


class IndexSearch:
    """The base of searches that are asked for indices; `run` then makes no cells."""

    several: ClassVar[bool]

    def ask(self) -> Cell | None:
        """Return the next cell to train; None ends the search."""
        index = self.ask_index()
        return None if index is None else Cell.from_index(index)

    def tell(self, cell: Cell, value: Any) -> None:
        """Take the accuracy of a cell."""
        self.tell_index(cell.index, value)

    def ask_index(self) -> int | None:
        """Return the index of the next cell."""
        raise NotImplementedError

    def tell_index(self, index: int, value: Any) -> None:
        """Take the accuracy of a cell by its index."""

    @classmethod
    def at_once(
        cls, rngs: Sequence[np.random.Generator], values: Floats, queries: int, **settings: Any
    ) -> Integers | list[Integers]:
        """Search once with each generator, all side by side, in a table with a value for every cell.

        Optional: a class that defines it has `repeat` call it, and searches to the last bit as its objects do.

        Returns
        -------
        ndarray of int64, shape (searches, queries), or list of such, shape (queries,)
            The cells that each of them asks for; fewer where it ends by itself.
        """
        raise NotImplementedError


@lru_cache(maxsize=1)
def class_of() -> list[int]:
    """Return the representatives of all cells as a list, which answers one by one ten times as fast as an array."""
    return list(cells.representatives().tolist())


@lru_cache(maxsize=1)
def classes() -> int:
    """Return how many classes of cells there are."""
    return len(set(class_of()))


@lru_cache(maxsize=1)
def neighbours() -> list[list[int]]:
    """Return the neighbours of all cells as lists, see `class_of`."""
    return list(cells.neighbours().tolist())


@lru_cache(maxsize=1)
def mutants() -> Integers:
    """Return what `Cell.mutate` makes of every cell with each of its 24 draws, shape (15625, 24), rows by index."""
    own = cells.opcodes().astype(np.int64)[:, :, None]
    code = (own + 1 + np.arange(len(OPERATIONS) - 1)) % len(OPERATIONS)
    choice = code - (code > own)  # the place of that operation among the neighbours along an edge
    place = choice + (len(OPERATIONS) - 1) * np.arange(own.shape[1])[:, None]
    return np.take_along_axis(cells.neighbours().astype(np.int64), place.reshape(cells.SIZE, -1), axis=1)


@lru_cache(maxsize=1)
def _index_by_number() -> Integers:
    return np.argsort(cells.opcodes() @ _PLACES)


def index_of(codes: npt.NDArray[Any]) -> Any:
    """Return the indices of cells by their operations, positions in `OPERATIONS`, shape (..., 6)."""
    return _index_by_number()[codes @ _PLACES]


def draw(rngs: Sequence[np.random.Generator], bounds: Sequence[int]) -> Integers:
    """Return what each generator draws when it is asked for an integer below each bound in turn.

    The numbers are those of ``[rng.integers(bound) for bound in bounds]``, at one call a generator: NumPy multiplies 32
    random bits with the bound and keeps the upper half, but for the few products whose lower half says that it would
    not be fair (Lemire, ACM Transactions on Modeling and Computer Simulation, 2019). Where there is one, all are drawn
    one by one.

    Returns
    -------
    ndarray of int64, shape (generators, bounds)
    """
    limits = np.array(bounds, np.uint64)
    drawn = np.zeros((len(rngs), len(bounds)), np.int64)
    chance = limits > 1  # of one number nothing is drawn
    unfair = (2**32 - limits[chance]) % limits[chance]
    for row, rng in enumerate(rngs):
        state = rng.bit_generator.state
        products = rng.integers(2**32, size=len(unfair), dtype=np.uint32).astype(np.uint64) * limits[chance]
        if ((products & 0xFFFFFFFF) < unfair).any():
            rng.bit_generator.state = state
            drawn[row] = [rng.integers(bound) for bound in bounds]
        else:
            drawn[row, chance] = products >> np.uint64(32)
    return drawn
