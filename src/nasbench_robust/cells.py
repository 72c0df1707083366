"""The cell space of NAS-Bench-201: what a cell is, how it is named, which cells are the same. The only file that knows.

A cell has four nodes and six edges, in the order 0->1, 0->2, 1->2, 0->3, 1->3, 2->3, each with one of five operations;
5**6 = 15,625 cells. Cells are numbered as in NATS-Bench and NAS-RobBench-201. Facts about the whole space are arrays
with one row per cell, in the order of that index.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import index as as_integer
from typing import Any

import numpy as np
import numpy.typing as npt

from . import encodings
from .encodings import EDGES, OPERATIONS
from .errors import InvalidCellError, InvalidValueError
from .skeletons import Skeleton

__all__ = [
    "EDGES",
    "OPERATIONS",
    "SIZE",
    "Cell",
    "connected",
    "neighbours",
    "opcodes",
    "operation_counts",
    "representatives",
]

SIZE: int = len(OPERATIONS) ** len(EDGES)
_NONE, _SKIP = OPERATIONS.index("none"), OPERATIONS.index("skip_connect")
_PLACES = tuple(len(OPERATIONS) ** place for place in range(len(EDGES) - 1, -1, -1))


class Cell:
    """One of the 15,625 cells: immutable, hashable, equal exactly when its operations are.

    Parameters
    ----------
    operations : sequence of six str
        Operation names in the order of `EDGES`.

    Raises
    ------
    InvalidCellError
        If there are not six known operations; the message names the edge and the nearest operation.

    Examples
    --------
    >>> cell = Cell.from_str("|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|")
    >>> cell.index, cell.representative, cell.encode("opcodes")
    (9, 9, '400103')
    """

    __slots__ = ("_codes", "_index")
    _codes: tuple[int, ...]
    _index: int

    def __init__(self, operations: Sequence[str]) -> None:
        self._fill(encodings.codes_from_operations(operations))

    def _fill(self, codes: tuple[int, ...]) -> None:
        number = sum(code * place for code, place in zip(codes, _PLACES, strict=True))
        object.__setattr__(self, "_codes", codes)
        object.__setattr__(self, "_index", _index_of_number()[number])

    @classmethod
    def _from_codes(cls, codes: tuple[int, ...]) -> Cell:
        cell = cls.__new__(cls)
        cell._fill(codes)
        return cell

    @classmethod
    def from_str(cls, text: str) -> Cell:
        """Read a NAS-Bench-201 string such as ``|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|``.

        Raises
        ------
        InvalidCellError
            If the string is malformed; the message says at which edge.
        """
        index = index_of_string().get(text) if isinstance(text, str) else None
        if index is not None:
            return cls.from_index(index)
        return cls._from_codes(encodings.codes_from_string(text))

    @classmethod
    def from_index(cls, index: int) -> Cell:
        """Return the cell with this number, 0 to 15,624.

        Raises
        ------
        InvalidCellError
            For a boolean, anything that is not an integer, and an integer out of range.
        """
        if isinstance(index, (bool, np.bool_)):
            raise InvalidCellError(index, "a boolean is not a cell index")
        try:
            number = as_integer(index)
        except Exception:  # whatever a foreign object's __index__ raises
            raise InvalidCellError(index, f"a cell index is an integer from 0 to {SIZE - 1}") from None
        if not 0 <= number < SIZE:
            hint = 0 if number < 0 else SIZE - 1
            raise InvalidCellError(index, f"a cell index lies in 0..{SIZE - 1}; the nearest is {hint}")
        number = _number_of_index()[number]
        return cls._from_codes(tuple(number // place % len(OPERATIONS) for place in _PLACES))

    @classmethod
    def of(cls, arch: object) -> Cell:
        """Return the cell that `arch` names: a `Cell`, an index or a NAS-Bench-201 string.

        Raises
        ------
        InvalidCellError
            If it is none of these. Tuples and matrices need a named encoding: see `decode`.
        """
        if isinstance(arch, Cell):
            return arch
        if isinstance(arch, str):
            return cls.from_str(arch)
        if hasattr(arch, "__index__"):
            return cls.from_index(arch)  # type: ignore[arg-type]
        raise InvalidCellError(
            arch, "expected a Cell, an index or a NAS-Bench-201 string; other forms go through Cell.decode"
        )

    @classmethod
    def decode(cls, value: object, *, encoding: str) -> Cell:
        """Read a cell from a named encoding; `encodings.ENCODINGS` lists and describes them.

        Raises
        ------
        UnknownNameError
            If there is no encoding of that name.
        InvalidCellError
            If `value` is not a cell in that encoding.
        """
        return cls._from_codes(encodings.decode(value, encoding))

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Cell:
        """Draw a cell uniformly from all 15,625 with the given generator."""
        return cls.from_index(int(_checked(rng).integers(SIZE)))

    def encode(self, encoding: str) -> Any:
        """Write the cell in a named encoding: `Cell.decode` of the result is this cell again."""
        return encodings.encode(self._codes, encoding)

    @property
    def index(self) -> int:
        """Number of the cell, 0 to 15,624, as in NATS-Bench."""
        return self._index

    @property
    def operations(self) -> tuple[str, ...]:
        """Six operation names, in the order of `EDGES`."""
        return tuple(OPERATIONS[code] for code in self._codes)

    @property
    def representative(self) -> int:
        """Smallest index of the cells that are the same graph; only representatives are trained."""
        return int(representatives()[self._index])

    @property
    def members(self) -> tuple[int, ...]:
        """Indices of all cells that are the same graph as this one, itself included, ascending."""
        return tuple(np.flatnonzero(representatives() == self.representative).tolist())

    @property
    def connected(self) -> bool:
        """Whether a path of edges other than none leads from the input to the output."""
        return bool(self.live_edges)

    @property
    def live_edges(self) -> tuple[tuple[int, int], ...]:
        """Edges (source, target) that lie on a path from the input to the output.

        An edge that is not live can still matter to the numbers: a convolution that leaves an unreachable node passes
        the shift of its batch normalisation on. Only edges whose target cannot reach the output have no influence.
        """
        present = [edge for edge, code in zip(EDGES, self._codes, strict=True) if code != _NONE]
        reached, useful = {0}, {3}
        for source, target in sorted(present):
            if source in reached:
                reached.add(target)
        for source, target in sorted(present, reverse=True):
            if target in useful:
                useful.add(source)
        return tuple((source, target) for source, target in present if source in reached and target in useful)

    @property
    def used_edges(self) -> tuple[int, ...]:
        """Positions in `EDGES` of the edges that have an influence: not none, and the output follows their target.

        An edge out of a node without inputs is one of them: see `live_edges`.
        """
        useful = {3}
        for (source, target), code in reversed(list(zip(EDGES, self._codes, strict=True))):
            if target in useful and code != _NONE:
                useful.add(source)
        return tuple(
            position
            for position, (_, target) in enumerate(EDGES)
            if target in useful and self._codes[position] != _NONE
        )

    def count(self, operation: str) -> int:
        """Count the edges that carry `operation`, live or not."""
        return self._codes.count(encodings.code_of(operation))

    def parameters(self, skeleton: Skeleton | None = None) -> int:
        """Trainable parameters of the network with this cell; the published CIFAR-10 skeleton by default."""
        return (skeleton or Skeleton()).parameters(self.count("nor_conv_1x1"), self.count("nor_conv_3x3"))

    def flops(self, skeleton: Skeleton | None = None) -> int:
        """Multiply-accumulate operations for one image; `skeletons.FLOPS_RULE` states what is counted."""
        return (skeleton or Skeleton()).flops(self.count("nor_conv_1x1"), self.count("nor_conv_3x3"))

    def neighbours(self) -> Iterator[Cell]:
        """Yield the 24 cells that differ in the operation of one edge, edge by edge."""
        for edge, own in enumerate(self._codes):
            for code in range(len(OPERATIONS)):
                if code != own:
                    yield Cell._from_codes((*self._codes[:edge], code, *self._codes[edge + 1 :]))

    def mutate(self, rng: np.random.Generator) -> Cell:
        """Return one of the 24 neighbours, drawn uniformly with the given generator."""
        edge, step = divmod(int(_checked(rng).integers(len(EDGES) * (len(OPERATIONS) - 1))), len(OPERATIONS) - 1)
        code = (self._codes[edge] + 1 + step) % len(OPERATIONS)
        return Cell._from_codes((*self._codes[:edge], code, *self._codes[edge + 1 :]))

    def __str__(self) -> str:
        return encodings.string_from_codes(self._codes)

    def __repr__(self) -> str:
        return f"Cell.from_index({self._index})"

    def __eq__(self, other: object) -> bool:
        return self._index == other._index if isinstance(other, Cell) else NotImplemented

    def __hash__(self) -> int:
        return hash((Cell, self._index))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Cell is immutable; cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Cell is immutable; cannot delete {name!r}")

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return Cell.from_index, (self._index,)


def _checked(rng: object) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise InvalidValueError("rng", rng, "a numpy.random.Generator", "numpy.random.default_rng(seed)")
    return rng


# The official order: cells in nested-product order (their base-5 number, edge 0->1 most significant), shuffled.
@lru_cache(maxsize=1)
def _number_of_index() -> list[int]:
    numbers = list(range(SIZE))
    random.Random(88).shuffle(numbers)  # noqa: S311 (the published order)
    return numbers


@lru_cache(maxsize=1)
def _index_of_number() -> list[int]:
    indices = [0] * SIZE
    for index, number in enumerate(_number_of_index()):
        indices[number] = index
    return indices


@lru_cache(maxsize=1)
def index_of_string() -> dict[str, int]:
    """Return the index of every NAS-Bench-201 string; to be read only."""
    return dict(zip(encodings.all_strings(), _index_of_number(), strict=True))


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


@lru_cache(maxsize=1)
def opcodes() -> npt.NDArray[np.uint8]:
    """Return operation numbers (positions in `OPERATIONS`) of all cells, shape (15625, 6), rows by index."""
    numbers = np.array(_number_of_index())
    return _read_only((numbers[:, None] // np.array(_PLACES) % len(OPERATIONS)).astype(np.uint8))


@lru_cache(maxsize=1)
def connected() -> npt.NDArray[np.bool_]:
    """Return for every cell whether its output can be reached from its input, shape (15625,), rows by index."""
    present = opcodes() != _NONE
    to_1, to_2, from_1_to_2, to_3, from_1_to_3, from_2_to_3 = present.T
    reach_2 = to_2 | (to_1 & from_1_to_2)
    return _read_only(to_3 | (to_1 & from_1_to_3) | (reach_2 & from_2_to_3))


@lru_cache(maxsize=1)
def neighbours() -> npt.NDArray[np.int16]:
    """Return the indices of the 24 neighbours of all cells, shape (15625, 24), rows by index, as `Cell.neighbours`."""
    places, index_of = np.array(_PLACES), np.array(_index_of_number())
    codes = opcodes().astype(np.int64)
    numbers = codes @ places
    columns = []
    for edge, place in enumerate(places.tolist()):
        for choice in range(len(OPERATIONS) - 1):
            other = choice + (choice >= codes[:, edge])  # the choice-th operation that is not the cell's own
            columns.append(index_of[numbers + (other - codes[:, edge]) * place])
    return _read_only(np.stack(columns, axis=1).astype(np.int16))


def operation_counts(operation: str) -> npt.NDArray[np.int64]:
    """Return how many edges of every cell carry `operation`, shape (15625,), rows by index."""
    counts: npt.NDArray[np.int64] = (opcodes() == encodings.code_of(operation)).sum(axis=1, dtype=np.int64)
    return counts


@lru_cache(maxsize=1)
def representatives() -> npt.NDArray[np.int16]:
    """Return the representative of every cell, shape (15625,), rows by index; 6,466 distinct values.

    Two cells are the same graph when node 3 has the same expression. Node 0 is ``0``. An edge contributes ``#`` if its
    operation is none or its source's expression is ``#``, its source's expression if the operation is a skip, and
    ``(source)@operation`` otherwise; a node is its sorted contributions joined by ``+``. The rule compares texts, not
    functions: some cells in different classes compute the same function (NAS-Bench-201, Dong and Yang, 2020).
    """
    ops = opcodes().astype(np.int64)
    # Node expressions repeat heavily, so strings are built once per distinct expression and cells carry their numbers.
    texts_0, node_0 = ["0"], np.zeros(SIZE, dtype=np.int64)
    texts_1, node_1 = _join([_contribute(texts_0, node_0, ops[:, 0])])
    texts_2, node_2 = _join([_contribute(texts_0, node_0, ops[:, 1]), _contribute(texts_1, node_1, ops[:, 2])])
    _, node_3 = _join(
        [
            _contribute(texts_0, node_0, ops[:, 3]),
            _contribute(texts_1, node_1, ops[:, 4]),
            _contribute(texts_2, node_2, ops[:, 5]),
        ]
    )
    first, inverse = _unique(node_3)
    return _read_only(first[inverse].astype(np.int16))


_Expressions = tuple[list[str], npt.NDArray[np.int64]]  # distinct texts, and for every cell which of them is its own


def _contribute(texts: list[str], numbers: npt.NDArray[np.int64], ops: npt.NDArray[np.int64]) -> _Expressions:
    """Return what an edge contributes, for every cell, given its source's expression and its operation."""
    first, inverse = _unique(numbers * len(OPERATIONS) + ops)
    contributions = []
    for number, op in zip(numbers[first].tolist(), ops[first].tolist(), strict=True):
        source = texts[number]
        if op == _NONE or source == "#":
            contributions.append("#")
        else:
            contributions.append(source if op == _SKIP else f"({source})@{OPERATIONS[op]}")
    return _distinct(contributions, inverse)


def _join(contributions: list[_Expressions]) -> _Expressions:
    """Return the sorted, joined contributions of a node, for every cell."""
    vocabulary = sorted({text for texts, _ in contributions for text in texts})
    rank = {text: number for number, text in enumerate(vocabulary)}
    ranks = np.stack([np.array([rank[text] for text in texts])[numbers] for texts, numbers in contributions], axis=1)
    ranks.sort(axis=1)
    first, inverse = _unique(ranks @ (len(vocabulary) ** np.arange(ranks.shape[1])))
    joined = ["+".join([vocabulary[part] for part in row]) for row in ranks[first].tolist()]
    return _distinct(joined, inverse)


def _unique(keys: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each distinct key stands first, and for every key which of them it is.

    `numpy.unique` does this too, and imports numpy.ma for it: more time than the whole class map takes.
    """
    order = keys.argsort(kind="stable")
    new = np.diff(keys[order], prepend=keys[order[0]] - 1) != 0
    inverse = np.empty_like(order)
    inverse[order] = new.cumsum() - 1
    return order[new], inverse


def _distinct(texts: list[str], numbers: npt.NDArray[np.int64]) -> _Expressions:
    """Give equal texts one number."""
    position: dict[str, int] = {}
    renumber = np.array([position.setdefault(text, len(position)) for text in texts])
    return list(position), renumber[numbers]
