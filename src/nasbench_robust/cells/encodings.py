"""How a cell is written down: the named encodings and the one table of edges and operations they share.

Inside the package a cell is six operation numbers ("codes", positions in `OPERATIONS`) in the order of `EDGES`. Every
encoding is a pair of functions between codes and its own form; a bare tuple in circulation may mean several things, so
the encoding is always named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from ..arrays import Integers
from ..errors import InvalidCellError, UnknownNameError, nearest, shorten

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    from .._door import np

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

Codes = tuple[int, ...]
_CODE_OF = {operation: code for code, operation in enumerate(OPERATIONS)}
_TEMPLATE = "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|"

# NASLib and NAS-Bench-Suite-Zero: other operation numbers, and edges ordered by source.
_SUITE_ZERO_OPERATIONS = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")
_SUITE_ZERO_EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def code_of(operation: object) -> int:
    """Return the number of an operation, 0 to 4; an unknown one raises `UnknownNameError`."""
    code = _CODE_OF.get(operation) if isinstance(operation, str) else None
    if code is None:
        raise UnknownNameError("operation", operation, OPERATIONS)
    return code


def codes_from_operations(operations: object) -> Codes:
    """Return the codes of six operation names in the order of `EDGES`."""
    if isinstance(operations, str) or not isinstance(operations, Sequence):
        raise InvalidCellError(operations, "expected a sequence of six operation names (a string: Cell.from_str)")
    if len(operations) != len(EDGES):
        raise InvalidCellError(operations, f"expected {len(EDGES)} operations, got {len(operations)}")
    return tuple(_edge_code(edge, operation, operations) for edge, operation in enumerate(operations))


def _edge_code(edge: int, operation: object, whole: object) -> int:
    code = _CODE_OF.get(operation) if isinstance(operation, str) else None
    if code is None:
        suggestion = nearest(operation, OPERATIONS)
        ending = f"; did you mean {suggestion!r}?" if suggestion else f"; expected one of {', '.join(OPERATIONS)}"
        raise InvalidCellError(whole, f"edge {edge}: unknown operation {shorten(operation)}{ending}")
    return code


def string_from_codes(codes: Codes) -> str:
    """Write codes as a NAS-Bench-201 string."""
    return _TEMPLATE.format(*(OPERATIONS[code] for code in codes))


def strings_of(numbers: Iterable[int]) -> list[str]:
    """Return the strings of cells by their base-5 numbers, of which the last edge is the last digit."""
    first, second, third = (
        [node.format(*operations) for operations in product(OPERATIONS, repeat=target)]
        for target, node in enumerate(_TEMPLATE.split("+"), start=1)
    )
    starts = [f"{one}+{two}+" for one, two in product(first, second)]
    return [starts[number // len(third)] + third[number % len(third)] for number in numbers]


def codes_from_string(text: object) -> Codes:
    """Read a NAS-Bench-201 string, accepting white space around it; say where a malformed one is wrong."""
    if not isinstance(text, str):
        raise InvalidCellError(text, f"expected a NAS-Bench-201 string, got {type(text).__name__}")
    nodes = text.strip().split("+")
    form = _TEMPLATE.format(*"oooooo")
    if "|" not in text:
        raise InvalidCellError(text, f"expected an integer from 0 to 15624, or a string of the form {form}")
    if len(nodes) != 3:
        raise InvalidCellError(text, f"expected 3 nodes joined by '+', got {len(nodes)}: {form}")
    codes: list[int] = []
    for target, node in enumerate(nodes, start=1):
        if len(node) < 2 or node[0] != "|" or node[-1] != "|":
            raise InvalidCellError(text, f"node {target}: expected '|' around its edges, got {shorten(node)}")
        edges = node[1:-1].split("|")
        if len(edges) != target:
            raise InvalidCellError(text, f"node {target}: expected {target} incoming edge(s), got {len(edges)}")
        for source, edge in enumerate(edges):
            operation, tilde, number = edge.rpartition("~")
            if not tilde or number != str(source):
                problem = f"edge {len(codes)}: expected 'operation~{source}', got {shorten(edge)}"
                raise InvalidCellError(text, problem)
            codes.append(_edge_code(len(codes), operation, text))
    return tuple(codes)


def _opcodes_from_codes(codes: Codes) -> str:
    return "".join(map(str, codes))


def _codes_from_opcodes(value: object) -> Codes:
    if not isinstance(value, str):
        return tuple(_integers(value, (len(EDGES),), "a string of 6 digits, or 6 integers").tolist())
    if len(value) != len(EDGES):
        raise InvalidCellError(value, f"expected a string of {len(EDGES)} digits, for example '333133'")
    for edge, digit in enumerate(value):
        if digit not in "01234":
            raise InvalidCellError(value, f"edge {edge}: expected a digit from 0 to 4, got {digit!r}")
    return tuple(map(int, value))


def _tuple_from_codes(codes: Codes) -> tuple[int, ...]:
    by_edge = dict(zip(EDGES, codes, strict=True))
    return tuple(_SUITE_ZERO_OPERATIONS.index(OPERATIONS[by_edge[edge]]) for edge in _SUITE_ZERO_EDGES)


def _codes_from_tuple(value: object) -> Codes:
    numbers = _integers(value, (len(EDGES),), "a tuple of 6 integers")
    by_edge = {
        edge: OPERATIONS.index(_SUITE_ZERO_OPERATIONS[n]) for edge, n in zip(_SUITE_ZERO_EDGES, numbers, strict=True)
    }
    return tuple(by_edge[edge] for edge in EDGES)


def _matrix_from_codes(codes: Codes) -> Integers:
    matrix = np.zeros((4, 4), dtype=np.int64)
    for (source, target), code in zip(EDGES, codes, strict=True):
        matrix[target, source] = code
    return matrix


def _codes_from_matrix(value: object) -> Codes:
    matrix = _integers(value, (4, 4), "a 4x4 integer matrix", kinds="iuf")  # str2matrix returns floats
    if np.triu(matrix).any():
        raise InvalidCellError(value, "expected zeros on and above the diagonal: row is target, column is source")
    return tuple(int(matrix[target, source]) for source, target in EDGES)


def _one_hot_from_codes(codes: Codes) -> npt.NDArray[np.uint8]:
    return np.eye(len(OPERATIONS), dtype=np.uint8)[list(codes)]


def _codes_from_one_hot(value: object) -> Codes:
    matrix = _integers(value, (len(EDGES), len(OPERATIONS)), "a 6x5 matrix of zeros and ones")
    for edge, row in enumerate(matrix):
        if sorted(row.tolist()) != [0, 0, 0, 0, 1]:
            raise InvalidCellError(value, f"edge {edge}: expected one 1 and four 0, got {row.tolist()}")
    return tuple(matrix.argmax(axis=1).tolist())


def _integers(value: object, shape: tuple[int, ...], expected: str, kinds: str = "iu") -> Integers:
    """Return `value` as an array of operation numbers of the given shape, or say why it is not one."""
    try:
        if np.ma.is_masked(value):
            raise ValueError
        array = np.asarray(value)
    except Exception:  # whatever a foreign object's __array__ raises
        raise InvalidCellError(value, f"expected {expected}") from None
    if array.dtype.kind not in kinds or array.shape != shape or (array != array.round()).any():
        raise InvalidCellError(value, f"expected {expected}, got shape {array.shape} of {array.dtype}")
    if array.min() < 0 or array.max() >= len(OPERATIONS):
        raise InvalidCellError(value, f"expected operation numbers from 0 to {len(OPERATIONS) - 1}")
    return array.astype(np.int64)


class Encoding(NamedTuple):
    """One way to write a cell."""

    description: str
    write: Callable[[Codes], Any]
    read: Callable[[object], Codes]


ENCODINGS: dict[str, Encoding] = {
    "nasbench-201": Encoding(
        "string |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, node by node", string_from_codes, codes_from_string
    ),
    "opcodes": Encoding(
        "six digits as a string (or, read, six integers), edges as in EDGES, digits as in OPERATIONS",
        _opcodes_from_codes,
        _codes_from_opcodes,
    ),
    "nasbench-suite-zero": Encoding(
        "tuple of six integers as in NASLib and NAS-Bench-Suite-Zero: edges 0->1, 0->2, 0->3, 1->2, 1->3, 2->3, "
        "operations skip_connect, none, nor_conv_3x3, nor_conv_1x1, avg_pool_3x3",
        _tuple_from_codes,
        _codes_from_tuple,
    ),
    "adjacency": Encoding(
        "4x4 integer array, [target, source] holds the operation number, as str2matrix of NATS-Bench",
        _matrix_from_codes,
        _codes_from_matrix,
    ),
    "one-hot": Encoding(
        "6x5 array of 0 and 1, rows as in EDGES, columns as in OPERATIONS", _one_hot_from_codes, _codes_from_one_hot
    ),
}
_SPELLINGS = {"naslib": "nasbench-suite-zero"} | {name.replace("-", ""): name for name in ENCODINGS}


def _find(name: object) -> Encoding:
    if isinstance(name, str):
        folded = name.lower().replace("-", "").replace("_", "")
        canonical = _SPELLINGS.get(folded)
        if canonical:
            return ENCODINGS[canonical]
    raise UnknownNameError("encoding", name, (*ENCODINGS, "naslib"))


def encode(codes: Codes, encoding: str) -> Any:
    """Write codes in the encoding called `encoding`."""
    return _find(encoding).write(codes)


def decode(value: object, encoding: str) -> Codes:
    """Read codes from the encoding called `encoding`."""
    return _find(encoding).read(value)
