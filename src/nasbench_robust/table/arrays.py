"""Columns of a table as arrays of NumPy, without pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import cells
from ..arrays import Booleans, Floats, Integers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa
else:
    from .._door import np, waiting

    pa = waiting("pyarrow")


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


def plain_table(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Return lists of text, bytes and numbers, None among them, as a table of a schema, without importing pandas.

    `pyarrow.array` would import pandas to find out that a list is none of its columns.
    """
    return pa.Table.from_arrays([_plain_array(columns[field.name], field.type) for field in schema], schema=schema)


def _plain_array(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    is_there = np.array([value is not None for value in values], bool)
    validity = None if is_there.all() else pa.py_buffer(np.packbits(is_there, bitorder="little"))
    content: list[Any]
    if pa.types.is_string(type_) or pa.types.is_binary(type_):
        parts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
        content = [np.cumsum([0, *map(len, parts)], dtype=np.int32), b"".join(parts)]
    else:
        kind = "f" if pa.types.is_floating(type_) else "i"
        content = [np.array([0 if value is None else value for value in values], f"{kind}{type_.bit_width // 8}")]
    return pa.Array.from_buffers(type_, len(values), [validity, *map(pa.py_buffer, content)])
