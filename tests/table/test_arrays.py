"""Columns as arrays of NumPy equal what pyarrow makes of them; means by cell equal those of each cell."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.table import mean_by_index, numpy_column, plain_table, read_table
from nasbench_robust.table.arrays import text_column

NUMBERS = {
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**53), 2**53),
    pa.uint8(): st.integers(0, 2**8 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
}


@pytest.mark.parametrize("type_", NUMBERS, ids=str)
@given(data=st.data())
def test_columns_equal_pyarrows_own_conversion(type_, data):
    lists = data.draw(st.lists(st.lists(NUMBERS[type_] | st.none(), max_size=20), max_size=4))
    column = pa.chunked_array([pa.array(values, type_) for values in lists], type=type_)
    start = data.draw(st.integers(0, len(column)))
    column = column.slice(start, data.draw(st.integers(0, len(column) - start)))
    values, valid = numpy_column(column)
    assert values.dtype == type_.to_pandas_dtype()
    assert valid.dtype == bool
    assert np.array_equal(valid, column.is_valid().to_numpy())
    expected = column.drop_null().to_numpy()
    assert np.array_equal(values[valid], expected, equal_nan=values.dtype.kind == "f")
    if values.dtype.kind == "f":
        assert np.isnan(values[~valid]).all()


@pytest.mark.parametrize("column", ["index", "seed", "seeds", "clean_acc", "clean_correct"])
def test_columns_of_a_file_equal_pyarrows_own_conversion(made_up_table, two_file, column):
    for path in (made_up_table, two_file):
        read = read_table(path, [column]).column(column)
        values, valid = numpy_column(read)
        assert np.array_equal(np.where(valid, values, np.nan), read.cast(pa.float64()).to_numpy(), equal_nan=True)


@given(st.lists(st.tuples(st.integers(0, cells.SIZE - 1), st.floats(0, 1)), max_size=30))
def test_means_by_index_equal_the_mean_of_each_cells_values(pairs):
    index = np.array([index for index, _ in pairs], np.int64)
    mean, number = mean_by_index(index, np.array([value for _, value in pairs], np.float64))
    assert mean.shape == number.shape == (cells.SIZE,)
    for cell in {index for index, _ in pairs}:
        values = [value for index, value in pairs if index == cell]
        assert number[cell] == len(values)
        assert mean[cell] == pytest.approx(math.fsum(values) / len(values), abs=1e-12)
    assert np.isnan(mean).sum() == cells.SIZE - len(set(index.tolist()))


PLAIN = {
    **{type_: values for type_, values in NUMBERS.items() if not pa.types.is_unsigned_integer(type_)},
    **{pa.string(): st.text(), pa.binary(): st.binary()},
    pa.timestamp("s", "UTC"): st.integers(0, 2**33),
}


@pytest.mark.parametrize("type_", PLAIN, ids=str)
@given(data=st.data())
def test_lists_become_the_columns_that_pyarrow_makes_of_them(type_, data):
    values = data.draw(st.lists(PLAIN[type_] | st.none(), max_size=20))
    schema = pa.schema([pa.field("first", type_), pa.field("second", pa.int16(), nullable=False)])
    columns = {"second": list(range(len(values))), "first": values}
    made = plain_table(columns, schema)
    made.validate(full=True)
    assert made.schema == schema
    expected = pa.table({"first": pa.array(values, type_), "second": pa.array(columns["second"], pa.int16())})
    for name in columns:
        assert repr(made.column(name).to_pylist()) == repr(
            expected.column(name).to_pylist()
        )  # NaN is not equal to itself


@pytest.mark.parametrize("encoded", [True, False])
@given(data=st.data())
def test_texts_equal_pyarrows_own_conversion(encoded, data):
    lists = data.draw(st.lists(st.lists(st.sampled_from(["a", "b", "", None]), max_size=9), max_size=4))
    column = pa.chunked_array([pa.array(values, pa.string()) for values in lists], type=pa.string())
    column = column.dictionary_encode() if encoded else column
    start = data.draw(st.integers(0, len(column)))
    column = column.slice(start, data.draw(st.integers(0, len(column) - start)))
    assert text_column(column).tolist() == column.to_pylist()
