"""Columns of a table as arrays of NumPy, without pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .. import cells
from ..arrays import Booleans, Floats, Integers


def mean_by_index(index: npt.NDArray[Any], value: Floats) -> tuple[Floats, Integers]:
    """Return for each of the 15,625 cells the mean of its values (NaN without any) and how many there are."""
    number = np.bincount(index, minlength=cells.SIZE)
    total = np.bincount(index, weights=value, minlength=cells.SIZE)
    return np.divide(total, number, out=np.full(cells.SIZE, np.nan), where=number > 0), number


def numpy_column(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], Booleans]:
    """Return the values of a numeric column and which of them are not null, without importing pandas.

    `pyarrow.ChunkedArray.to_numpy` would import pandas, which costs more than the whole query. The value at a null is
    arbitrary for integers and NaN for floats.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    dtype = np.dtype(column.type.to_pandas_dtype())
    values, valid = [np.empty(0, dtype)], [np.empty(0, bool)]
    for chunk in chunks:
        validity, data = chunk.buffers()
        end = chunk.offset + len(chunk)
        part = np.frombuffer(data, dtype, count=end)[chunk.offset :]
        if validity is None:
            ok = np.ones(len(chunk), bool)
        else:
            bits = np.unpackbits(np.frombuffer(validity, np.uint8), count=end, bitorder="little")
            ok = bits[chunk.offset :].astype(bool)
        values.append(np.where(ok, part, np.nan) if dtype.kind == "f" else part)
        valid.append(ok)
    return np.concatenate(values), np.concatenate(valid)
