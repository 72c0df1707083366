"""The space as a whole: the published order of its cells, and facts about all of them, one row per cell."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from ..arrays import Booleans, Integers, read_only
from . import encodings
from .encodings import EDGES, OPERATIONS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    from .._door import np

SIZE: int = len(OPERATIONS) ** len(EDGES)
NONE, SKIP = OPERATIONS.index("none"), OPERATIONS.index("skip_connect")
PLACES = tuple(len(OPERATIONS) ** place for place in range(len(EDGES) - 1, -1, -1))


# The official order: cells in nested-product order (their base-5 number, edge 0->1 most significant), shuffled.
@lru_cache(maxsize=1)
def number_of_index() -> tuple[int, ...]:
    """Return the base-5 number of every cell, by index."""
    import random

    numbers = list(range(SIZE))
    random.Random(88).shuffle(numbers)  # noqa: S311 (the published order)
    return tuple(numbers)


@lru_cache(maxsize=1)
def index_of_number() -> tuple[int, ...]:
    """Return the index of every base-5 number."""
    indices = [0] * SIZE
    for index, number in enumerate(number_of_index()):
        indices[number] = index
    return tuple(indices)


@lru_cache(maxsize=1)
def index_of_string() -> Mapping[str, int]:
    """Return the index of every NAS-Bench-201 string, in the order of the indices."""
    return _ReadOnly(zip(encodings.strings_of(number_of_index()), range(SIZE), strict=True))


class _ReadOnly(dict[str, int]):
    """A dictionary that several callers share; as fast as any other, which ``types.MappingProxyType`` is not."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this dictionary is read only: copy it with dict(...)")

    def __reduce__(self) -> tuple[type[dict[str, int]], tuple[dict[str, int]]]:
        return dict, (dict(self),)

    __setitem__ = __delitem__ = __ior__ = pop = popitem = clear = update = setdefault = _refuse


@lru_cache(maxsize=1)
def opcodes() -> npt.NDArray[np.uint8]:
    """Return operation numbers (positions in `OPERATIONS`) of all cells, shape (15625, 6), rows by index."""
    numbers = np.array(number_of_index())
    return read_only((numbers[:, None] // np.array(PLACES) % len(OPERATIONS)).astype(np.uint8))


@lru_cache(maxsize=1)
def connected() -> Booleans:
    """Return for every cell whether its output can be reached from its input, shape (15625,), rows by index."""
    present = opcodes() != NONE
    to_1, to_2, from_1_to_2, to_3, from_1_to_3, from_2_to_3 = present.T
    reach_2 = to_2 | (to_1 & from_1_to_2)
    return read_only(to_3 | (to_1 & from_1_to_3) | (reach_2 & from_2_to_3))


@lru_cache(maxsize=1)
def neighbours() -> npt.NDArray[np.int16]:
    """Return the indices of the 24 neighbours of all cells, shape (15625, 24), rows by index, as `Cell.neighbours`."""
    places, index_of = np.array(PLACES), np.array(index_of_number())
    codes = opcodes().astype(np.int64)
    numbers = codes @ places
    columns = []
    for edge, place in enumerate(places.tolist()):
        for choice in range(len(OPERATIONS) - 1):
            other = choice + (choice >= codes[:, edge])  # the choice-th operation that is not the cell's own
            columns.append(index_of[numbers + (other - codes[:, edge]) * place])
    return read_only(np.stack(columns, axis=1).astype(np.int16))


def operation_counts(operation: str) -> Integers:
    """Return how many edges of every cell carry `operation`, shape (15625,), rows by index."""
    counts: Integers = (opcodes() == encodings.code_of(operation)).sum(axis=1, dtype=np.int64)
    return counts
