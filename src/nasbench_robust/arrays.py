"""Names for types of arrays, and what objects that hold arrays share. Shapes and meanings stand in docstrings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .errors import shorten

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
else:
    from ._door import np

Floats: TypeAlias = "npt.NDArray[np.float64]"
Singles: TypeAlias = "npt.NDArray[np.float32]"
Integers: TypeAlias = "npt.NDArray[np.int64]"
Booleans: TypeAlias = "npt.NDArray[np.bool_]"
Array = TypeVar("Array", bound="npt.NDArray[Any]")
_LONGEST_LINE, _LONGEST_VALUE, _MOST_ITEMS = 240, 60, 4


def read_only(array: Array) -> Array:
    """Forbid writing to an array that several callers share, and return it."""
    array.flags.writeable = False
    return array


class Record:
    """The base of objects that hold arrays or tensors: equal if their content is, shown in one line.

    Dataclasses take ``eq=False`` and ``repr=False`` to have these. Arrays that were read only are so again in a copy
    and in what is unpickled, where NumPy makes them anew.
    """

    def __eq__(self, other: object) -> bool:
        return same(vars(self), vars(other)) if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        content = ", ".join(f"{name}={brief(value)}" for name, value in vars(self).items() if name[0] != "_")
        return shorten(_Text(f"{type(self).__name__}({content})"), _LONGEST_LINE)

    def _repr_html_(self) -> str:
        from html import escape

        cells = ((name, brief(value)) for name, value in vars(self).items() if name[0] != "_")
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in cells)
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"

    def __getstate__(self) -> dict[str, Any]:
        frozen = [name for name, value in vars(self).items() if _is_frozen(value)]
        return {**vars(self), "_frozen": frozen} if frozen else vars(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        frozen = state.get("_frozen", ())
        vars(self).update({name: value for name, value in state.items() if name != "_frozen"})
        for name in frozen:
            read_only(vars(self)[name])


class _Text(str):
    """A text that is its own repr."""

    __slots__ = ()
    __repr__ = str.__str__


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, arrays and tensors inside them too; NaN equals NaN."""
    if one is other:
        return True
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "shape") and hasattr(other, "shape"):
        alike = type(one) is type(other) and one.shape == other.shape and one.dtype == other.dtype
        return alike and bool(((one == other) | ((one != one) & (other != other))).all())
    return bool(one == other) or bool(one != one and other != other)


def brief(value: Any) -> str:
    """Return a value in a few words: of an array its type and shape, of a collection its first items."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{_items(f'{key!r}: {brief(one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{_items(map(brief, value))}]" if isinstance(value, list) else f"({_items(map(brief, value))})"
    return shorten(value, _LONGEST_VALUE)


def _items(texts: Iterable[str]) -> str:
    first = list(islice(texts, _MOST_ITEMS + 1))
    return ", ".join(first if len(first) <= _MOST_ITEMS else [*first[:-1], "..."])


def _is_frozen(value: Any) -> bool:
    return isinstance(value, np.ndarray) and not value.flags.writeable
