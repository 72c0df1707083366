"""Columns of a table as arrays of NumPy, without pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import cells
from ..arrays import Booleans, Floats, Integers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
else:
    from .._door import np


def mean_by_index(index: npt.NDArray[Any], value: Floats) -> tuple[Floats, Integers]:
    """Return for each of the 15,625 cells the mean of its values (NaN without any) and how many there are."""
    number = np.bincount(index, minlength=cells.SIZE)
    total = np.bincount(index, weights=value, minlength=cells.SIZE)
    return np.divide(total, number, out=np.full(cells.SIZE, np.nan), where=number > 0), number


def text_column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return the texts of a column, None where it is null, as an array of objects, without importing pandas."""
    import pyarrow as pa

    parts = [np.empty(0, object)]
    for chunk in column.chunks:
        if hasattr(chunk, "dictionary"):
            codes, has_value = numpy_column(pa.chunked_array([chunk.indices]))
            words = np.array([*chunk.dictionary.to_pylist(), None], object)
            parts.append(words[np.where(has_value, codes, -1)])
        else:
            parts.append(np.fromiter(chunk.to_pylist(), object, len(chunk)))
    return np.concatenate(parts)


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
