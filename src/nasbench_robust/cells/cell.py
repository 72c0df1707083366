"""A cell: six operations, in whatever form they come, and what follows from them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from operator import index as as_integer
from typing import TYPE_CHECKING, Any

from ..errors import InvalidCellError, InvalidValueError
from . import encodings
from .classes import representatives
from .encodings import EDGES, OPERATIONS
from .space import PLACES, SIZE, index_of_number, index_of_string, number_of_index

if TYPE_CHECKING:
    import numpy as np

    from ..skeletons import Skeleton
    from .plan import Plan
else:
    from .._door import np


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
        number = sum(code * place for code, place in zip(codes, PLACES, strict=True))
        object.__setattr__(self, "_codes", codes)
        object.__setattr__(self, "_index", index_of_number()[number])

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
        try:
            is_boolean = isinstance(index, bool) or str(getattr(index, "dtype", "")).endswith("bool")  # torch's too
            number = 0 if is_boolean else as_integer(index)
        except Exception:  # whatever a foreign object raises
            raise InvalidCellError(index, f"a cell index is an integer from 0 to {SIZE - 1}") from None
        if is_boolean:
            raise InvalidCellError(index, "a boolean is not a cell index")
        if not 0 <= number < SIZE:
            hint = 0 if number < 0 else SIZE - 1
            raise InvalidCellError(index, f"a cell index lies in 0..{SIZE - 1}; the nearest is {hint}")
        number = number_of_index()[number]
        return cls._from_codes(tuple(number // place % len(OPERATIONS) for place in PLACES))

    @classmethod
    def from_text(cls, text: str) -> Cell:
        """Read what is typed in a shell: an index or a NAS-Bench-201 string.

        Raises
        ------
        InvalidCellError
            If it is neither, and for digits that may be no index: those that begin with 0 or +, and opcodes.
        """
        return cls.of(index_or_string(text))

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
        return bool(self.plan.live)

    @property
    def live_edges(self) -> tuple[tuple[int, int], ...]:
        """Edges (source, target) that lie on a path from the input to the output.

        An edge that is not live can still matter to the numbers: a convolution that leaves an unreachable node passes
        the shift of its batch normalisation on. `plan` says which edges the output depends on.
        """
        return tuple(EDGES[position] for position in self.plan.live)

    @property
    def plan(self) -> Plan:
        """Which edges matter, and what of the cell has to be computed."""
        from .plan import plan_of

        return plan_of(self._codes)

    def count(self, operation: str) -> int:
        """Count the edges that carry `operation`, live or not."""
        return self._codes.count(encodings.code_of(operation))

    def parameters(self, skeleton: Skeleton | None = None) -> int:
        """Trainable parameters of the network with this cell; the published CIFAR-10 skeleton by default."""
        return _or_published(skeleton).parameters(self.count("nor_conv_1x1"), self.count("nor_conv_3x3"))

    def flops(self, skeleton: Skeleton | None = None) -> int:
        """Multiply-accumulate operations for one image; `skeletons.FLOPS_RULE` states what is counted."""
        return _or_published(skeleton).flops(self.count("nor_conv_1x1"), self.count("nor_conv_3x3"))

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

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Write a picture of the cell: the name ends in ``.svg`` or, where matplotlib is, ``.pdf`` or ``.png``.

        Raises
        ------
        InvalidValueError
            If the name ends otherwise.
        MissingPackageError
            If matplotlib is needed and not installed.
        """
        from .drawing import save

        save(self, path)

    def _repr_svg_(self) -> str:
        from .drawing import svg

        return svg(self)

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


def index_or_string(text: str) -> int | str:
    """Return what `Cell.from_text` reads, an index as a number; errors are the same but for what is no cell."""
    digits = text.strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,4000}", digits):  # more of them Python takes for no number
        return text
    number = int(digits)
    if number >= 0 and digits != str(number):
        problem = f"an index does not begin with {digits[0]}; did you mean {number}?"
        if re.fullmatch(r"[0-4]{6}", digits):
            problem += f" As opcodes it is {Cell.decode(digits, encoding='opcodes')}"
        raise InvalidCellError(text, problem)
    return number


def _or_published(skeleton: Skeleton | None) -> Skeleton:
    from ..skeletons import Skeleton  # with data sets and attacks behind it, which a cell has nothing to do with

    return skeleton or Skeleton()


def _checked(rng: object) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise InvalidValueError("rng", rng, "a numpy.random.Generator", "numpy.random.default_rng(seed)")
    return rng
