"""Cells as they are asked for: which indices a question or a view means, and what is known of cells untrained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import cells
from ..arrays import Booleans, Integers
from ..cells import Cell
from ..checks import one_of
from ..errors import InvalidCellError, InvalidValueError
from .info import DatasetInfo

if TYPE_CHECKING:
    import numpy as np
else:
    from .._door import np

CELL_VIEWS = ("representatives", "all", "connected", "smallest")
_named = one_of("view of the cells", CELL_VIEWS)
_MANY = "an iterable of cells, indices or strings (one cell: query)"


def indices_of(archs: Any) -> Integers:
    """Return cell indices, shape (n,); integer arrays are checked as a whole, everything else one by one.

    Columns of pandas, Arrow and torch are taken as the values that they hold. Refused is what may mean something else.
    """
    archs = _plain(archs)
    if isinstance(archs, np.ndarray):
        outside = (archs < 0) | (archs >= cells.SIZE)
        if outside.any():
            Cell.from_index(archs[outside.argmax()])  # raises, naming the index
        return archs.astype(np.int64)
    if all(type(arch) is int and 0 <= arch < cells.SIZE for arch in archs):
        return np.array(archs, dtype=np.int64)
    with suppress(Exception):  # all are strings, the common case by far; what has no hash, or an odd one, is none
        return np.fromiter(map(cells.index_of_string().__getitem__, archs), np.int64, len(archs))
    return np.array([Cell.of(arch).index for arch in archs], np.int64)


def _plain(archs: Any) -> Any:
    """Return an array of integers, shape (n,), or a list of what is to be read one by one."""
    dimensions, dtype = getattr(archs, "ndim", 1), str(getattr(archs, "dtype", ""))
    is_table = hasattr(archs, "columns") or hasattr(archs, "column_names")
    if not is_table and (isinstance(archs, (str, bytes, Cell)) or not hasattr(archs, "__iter__") or dimensions == 0):
        raise InvalidValueError("archs", archs, _MANY)
    expected = ""
    if isinstance(archs, (Mapping, set, frozenset)):
        expected = "an iterable with an order and one cell a place, a list say"
    elif is_table:
        expected = "one column of it, frame['index'] or frame['arch'] say"
    elif dimensions > 1:
        expected = (
            "one cell a place; rows are cells in an encoding, [Cell.decode(row, encoding='opcodes') for row in ...]"
        )
    elif dtype.endswith(("bool", "boolean")):
        expected = "cells; of a mask, numpy.flatnonzero(mask)"
    elif isinstance(archs, np.ma.MaskedArray) and archs.mask.any():
        expected = "no masked entries; the others are archs.compressed()"
    if expected:
        raise InvalidCellError(archs, f"expected {expected}")
    if not (isinstance(archs, np.ndarray) and archs.dtype.kind in "iu"):
        # Columns of pandas, Arrow and torch hold values of their own, which these methods make plain.
        convert = getattr(archs, "to_pylist", None) or getattr(archs, "tolist", None)
        try:
            archs = list(convert() if convert else archs)
        except Exception:  # whatever a foreign object raises
            raise InvalidValueError("archs", archs, _MANY) from None
    if len(archs) == len(cells.EDGES) and all(_is_operation(arch) for arch in archs):
        one = "six operation numbers are one cell, Cell.decode(archs, encoding='opcodes') or encoding='naslib'"
        raise InvalidCellError(archs, f"{one}; six cells are a list of Cell.from_index")
    return archs


def _is_operation(arch: Any) -> bool:
    return isinstance(arch, (int, np.integer)) and not isinstance(arch, bool) and 0 <= int(arch) < len(cells.OPERATIONS)


class View(NamedTuple):
    """Cells, and what is known of them without training.

    Attributes
    ----------
    indices, representatives : ndarray of int64
    connected : ndarray of bool
    convolutions : tuple of two ndarrays
        How many of 1x1 and of 3x3 each cell has.
    """

    indices: Integers
    representatives: Integers
    connected: Booleans
    convolutions: tuple[Integers, Integers]


@lru_cache(maxsize=len(CELL_VIEWS))
def _view(name: str) -> View:
    indices = view_indices(name)
    return View(
        indices,
        cells.representatives()[indices].astype(np.int64),
        cells.connected()[indices],
        (cells.operation_counts("nor_conv_1x1")[indices], cells.operation_counts("nor_conv_3x3")[indices]),
    )


class Texts(NamedTuple):
    """A column of texts: which of some words stands in each row."""

    words: Sequence[str]
    places: Integers

    def tolist(self) -> list[str]:
        """Return the texts."""
        return [self.words[place] for place in self.places.tolist()]

    def take(self, rows: Integers) -> Texts:
        """Return those of some rows."""
        return Texts(self.words, self.places[rows])


@lru_cache(maxsize=1)
def arch_strings() -> tuple[str, ...]:
    """Return the NAS-Bench-201 strings of all cells, by index."""
    return tuple(cells.index_of_string())


def view(name: str) -> View:
    """Return the cells in one of `CELL_VIEWS`; its arrays are shared."""
    return _view(_named("cells", name))


def view_indices(name: str) -> Integers:
    """Return the indices of the cells in one of `CELL_VIEWS`."""
    name = _named("cells", name)
    if name == "all":
        return np.arange(cells.SIZE)
    if name == "smallest":
        return np.sort(cells.smallest_members()[view_indices("representatives")].astype(np.int64))
    chosen = np.flatnonzero(cells.representatives() == np.arange(cells.SIZE))
    return chosen[cells.connected()[chosen]] if name == "connected" else chosen


def cell_columns(chosen: View, infos: Sequence[DatasetInfo]) -> dict[str, Any]:
    """Return what is known of cells without training them, one data set below the other."""
    times = len(infos)
    return {
        "index": np.tile(chosen.indices, times),
        "arch": Texts(arch_strings(), np.tile(chosen.indices, times)),
        "representative": np.tile(chosen.representatives, times),
        "connected": np.tile(chosen.connected, times),
        "parameters": np.concatenate([info.skeleton.parameters(*chosen.convolutions) for info in infos]),
        "flops": np.concatenate([info.skeleton.flops(*chosen.convolutions) for info in infos]),
    }
