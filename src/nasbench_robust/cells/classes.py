"""Which cells are the same graph: the classes of the published table, each trained as its smallest index."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..arrays import Integers, read_only
from .encodings import OPERATIONS
from .space import NONE, SIZE, SKIP, opcodes, operation_counts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    from .._door import np


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
    return read_only(first[inverse].astype(np.int16))


@lru_cache(maxsize=1)
def smallest_members() -> npt.NDArray[np.int16]:
    """Return for every cell the member of its class whose network is the smallest, shape (15625,), rows by index.

    Members of a class give one result and differ in size: edges that carry no signal may hold convolutions. Counted are
    3x3 convolutions, then 1x1 convolutions, which puts parameters and FLOPs in the same order; of equals, the smallest
    index.
    """
    size = 10 * operation_counts("nor_conv_3x3") + operation_counts("nor_conv_1x1")
    order = np.lexsort((np.arange(SIZE), size, representatives()))
    first = order[np.searchsorted(representatives()[order], representatives())]
    return read_only(first.astype(np.int16))


_Expressions = tuple[list[str], Integers]  # distinct texts, and for every cell which of them is its own


def _contribute(texts: list[str], numbers: Integers, ops: Integers) -> _Expressions:
    """Return what an edge contributes, for every cell, given its source's expression and its operation."""
    first, inverse = _unique(numbers * len(OPERATIONS) + ops)
    contributions = []
    for number, op in zip(numbers[first].tolist(), ops[first].tolist(), strict=True):
        source = texts[number]
        if op == NONE or source == "#":
            contributions.append("#")
        else:
            contributions.append(source if op == SKIP else f"({source})@{OPERATIONS[op]}")
    return _distinct(contributions, inverse)


def _join(contributions: list[_Expressions]) -> _Expressions:
    """Return the sorted, joined contributions of a node, for every cell."""
    vocabulary = sorted({text for texts, _ in contributions for text in texts})
    rank = {text: number for number, text in enumerate(vocabulary)}
    ranks = np.stack([np.array([rank[text] for text in texts])[numbers] for texts, numbers in contributions], axis=1)
    ranks.sort(axis=1)
    first, inverse = _unique(ranks @ (len(vocabulary) ** np.arange(ranks.shape[1])))
    columns = [[vocabulary[part] for part in column] for column in ranks[first].T.tolist()]
    return _distinct(list(map("+".join, zip(*columns, strict=True))), inverse)


def _unique(keys: Integers) -> tuple[Integers, Integers]:
    """Return where each distinct key stands first, and for every key which of them it is.

    `numpy.unique` does this too, and imports numpy.ma for it: more time than the whole class map takes.
    """
    order = keys.argsort(kind="stable")
    new = np.diff(keys[order], prepend=keys[order[0]] - 1) != 0
    inverse = np.empty_like(order)
    inverse[order] = new.cumsum() - 1
    return order[new], inverse


def _distinct(texts: list[str], numbers: Integers) -> _Expressions:
    """Give equal texts one number."""
    position = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    renumber = np.array([position[text] for text in texts])
    return list(position), renumber[numbers]
