"""Cells as they are asked for: which indices a question or a view means, and what is known of cells untrained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cells
from ..arrays import Integers
from ..cells import Cell
from ..errors import InvalidValueError, UnknownNameError
from .schema import DatasetInfo

if TYPE_CHECKING:
    import pandas as pd

CELL_VIEWS = ("representatives", "all", "connected")


def indices_of(archs: Any) -> Integers:
    """Return cell indices, shape (n,); integer arrays are checked as a whole, everything else one by one."""
    if isinstance(archs, (str, bytes, Cell)) or not hasattr(archs, "__iter__") or getattr(archs, "ndim", 1) == 0:
        raise InvalidValueError("archs", archs, "an iterable of cells, indices or strings (one cell: query)")
    if isinstance(archs, np.ndarray) and archs.dtype.kind in "iu" and archs.ndim == 1:
        outside = (archs < 0) | (archs >= cells.SIZE)
        if outside.any():
            Cell.from_index(archs[outside.argmax()])  # raises, naming the index
        return archs.astype(np.int64)
    archs = list(archs)
    if all(type(arch) is int and 0 <= arch < cells.SIZE for arch in archs):
        return np.array(archs, dtype=np.int64)
    try:  # strings, the common case by far
        known = list(map(cells.index_of_string().__getitem__, archs))
    except (KeyError, TypeError):
        known = [Cell.of(arch).index for arch in archs]
    return np.array(known, dtype=np.int64)


def view_indices(view: str) -> Integers:
    """Return the indices of the cells in one of `CELL_VIEWS`."""
    if view not in CELL_VIEWS:
        raise UnknownNameError("view of the cells", view, CELL_VIEWS)
    if view == "all":
        return np.arange(cells.SIZE)
    chosen = np.unique(cells.representatives()).astype(np.int64)
    return chosen[cells.connected()[chosen]] if view == "connected" else chosen


def cell_columns(indices: Integers, info: DatasetInfo) -> pd.DataFrame:
    """Return what is known of cells without training them, a row each."""
    import pandas as pd

    convolutions = cells.operation_counts("nor_conv_1x1")[indices], cells.operation_counts("nor_conv_3x3")[indices]
    return pd.DataFrame(
        {
            "index": indices,
            "arch": [str(Cell.from_index(index)) for index in indices.tolist()],
            "representative": cells.representatives()[indices].astype(np.int64),
            "connected": cells.connected()[indices],
            "parameters": info.skeleton.parameters(*convolutions),
            "flops": info.skeleton.flops(*convolutions),
        }
    )
