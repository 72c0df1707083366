"""Fixtures: a table of a few cells with seeds, one of two data sets, and a folder of shards."""

from __future__ import annotations

import pytest
from made_up_tables import SMALL, TWO, few_runs, run

from nasbench_robust.table import Benchmark, runs_table, write_table


@pytest.fixture(scope="session")
def small() -> Benchmark:
    """The rows of `few_runs`; two of them were measured on the validation split and timed too."""
    first, second, *others = few_runs()
    first |= {"clean_acc#validation": 0.91, "clean_correct#validation": 91, "train_seconds": 10.0}
    second |= {"clean_acc#validation": 0.93, "clean_correct#validation": 93, "train_seconds": 20.0}
    return Benchmark(runs_table(SMALL, [first, second, *others]))


@pytest.fixture(scope="session")
def two_table():
    """Four cells with two seeds on each of two data sets."""
    return runs_table(
        TWO, [run(i, s, 7 * i + s, dataset=name) for name in TWO.datasets for i in (0, 1, 9, 10) for s in (1, 2)]
    )


@pytest.fixture(scope="session")
def two_file(two_table, tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "runs.parquet"
    write_table(two_table, path)
    return path


@pytest.fixture
def sharded(tmp_path):
    """Return a function that writes a table as shards of so many rows and returns their folder."""

    def write(table, size):
        for number, start in enumerate(range(0, table.num_rows, size)):
            write_table(table.slice(start, size), tmp_path / "shards" / f"part-{number:03}.parquet")
        return tmp_path / "shards"

    return write
