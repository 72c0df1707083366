"""The table as Arrow: the rows and columns of the frame, taken by others as it is."""

from __future__ import annotations

import numpy as np
import pytest

import nasbench_robust as nbr
from nasbench_robust.table import Benchmark
from nasbench_robust.table.result import summary
from nasbench_robust.table.views import CELL_VIEWS


@pytest.mark.parametrize("view", CELL_VIEWS)
def test_arrow_is_the_frame(view: str, bench: Benchmark) -> None:
    for table in (bench, nbr.load()):
        frame, arrow = table.frame(cells=view), table.arrow(cells=view)
        assert arrow.column_names == list(frame.columns)
        for name in arrow.column_names:
            assert np.array_equal(arrow[name].to_pandas(), frame[name], equal_nan=frame[name].dtype == float)


def test_what_is_given_out_is_the_users_own(bench: Benchmark) -> None:
    before = bench.frame()
    changed = bench.frame()
    for column in changed.columns:
        changed.loc[:, column] = changed[column].iloc[0]
    assert bench.frame().equals(before)


@pytest.mark.parametrize("size", range(2, 20))
def test_the_deviation_is_that_of_numpy_to_the_last_bit(size: int) -> None:
    values = np.random.default_rng(size).random(size)
    rows = [(seed, 1, float(value), 1.0) for seed, value in enumerate(values)]
    assert summary(rows)["std"] == float(np.std(values, ddof=1))
