"""Rows, cells and descriptions become tables that are read back as they were; a wrong description is told."""

from __future__ import annotations

import datetime
import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_tables import SMALL, TWO, described, run

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import TableError
from nasbench_robust.settings import settings_for
from nasbench_robust.table import (
    CURVES_SCHEMA,
    FORMAT,
    OUTCOMES_SCHEMA,
    Reader,
    ReleaseInfo,
    cells_table,
    read_table,
    runs_schema,
    runs_table,
    write_table,
)

# ---------------------------------------------------------------------- rows and cells


def test_every_column_of_a_run_survives(tmp_path):
    full = run(9, 3, 66) | {
        **{"clean_acc#validation": 1 / 3, "clean_correct#validation": 33},
        **{"fgsm_acc@0.1": 5e-324, "fgsm_correct@0.1": 2**31 - 1, "pgd_acc@0.1": 0.1, "pgd_correct@0.1": 52},
        **{"pgd_acc@0.1#validation": 0.0, "pgd_correct@0.1#validation": 0},
        **{"failure": "", "settings": settings_for("digits").hash, "engine": "torch", "device": "cpu"},
        **{"train_seconds": 1.5, "eval_seconds": 0.25, "peak_memory_mib": 123.5},
        **{"train_cpu_seconds": 1.25, "eval_cpu_seconds": 0.125},
        **{"versions": '{"torch": "2"}', "revision": "abc", "run": "0123456789abcdef"},
        "date": datetime.datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=datetime.timezone.utc),
    }
    assert {"release", *full} == set(runs_schema(SMALL).names)
    write_table(runs_table(SMALL, [full]), tmp_path / "runs.parquet")
    assert read_table(tmp_path / "runs.parquet").to_pylist() == [{"release": "small"} | full]


def test_columns_that_a_row_does_not_name_are_null(two_table):
    assert two_table.column("pgd_acc@0.1").null_count == two_table.num_rows
    assert two_table.column("release").to_pylist() == ["small"] * two_table.num_rows


def test_rows_are_ordered_by_data_set_index_seed_and_number_of_seeds():
    wanted = [
        *(run(0, 1, 5), run(0, 2, 5), run(0, None, 5, seeds=3), run(0, None, 5), run(5, 1, 5)),
        run(0, 1, 5, dataset="cifar10"),
    ]
    for rows in (wanted[::-1], random.Random(0).sample(wanted, len(wanted))):
        assert runs_table(TWO, rows).select(list(wanted[0])).to_pylist() == wanted


@pytest.mark.parametrize(
    "table",
    [runs_table(TWO, []), cells_table(TWO), CURVES_SCHEMA.empty_table(), OUTCOMES_SCHEMA.empty_table()],
    ids=["no runs", "cells", "curves", "outcomes"],
)
def test_other_tables_are_read_back(table, tmp_path):
    write_table(table, tmp_path / "table.parquet")
    assert pq.read_table(tmp_path / "table.parquet").equals(table, check_metadata=True)
    assert read_table(tmp_path / "table.parquet").to_pylist() == table.to_pylist()


def test_the_cells_table_says_what_the_cells_say():
    table = cells_table(TWO)
    assert table.num_rows == cells.SIZE
    digits = TWO.datasets["digits"].skeleton
    for index in range(0, cells.SIZE, 777):
        cell, facts = Cell.from_index(index), table.slice(index, 1).to_pylist()[0]
        assert facts == {
            **{"index": index, "arch": str(cell), "representative": cell.representative, "connected": cell.connected},
            **{operation: cell.count(operation) for operation in cells.OPERATIONS},
            **{"parameters@digits": cell.parameters(digits), "flops@digits": cell.flops(digits)},
            **{"parameters@cifar10": cell.parameters(), "flops@cifar10": cell.flops()},
        }


# ---------------------------------------------------------------------- what a release says about itself


def test_a_description_survives_json():
    assert ReleaseInfo.from_json(TWO.to_json()) == ReleaseInfo.from_json(TWO.to_json().encode()) == TWO
    assert ReleaseInfo.from_json(TWO.to_json()).to_json() == TWO.to_json()


@given(st.text(), st.text(), st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers() | st.text())))
def test_any_text_in_a_description_survives_json(title, citation, settings):
    info = replace(SMALL, title=title, citation=citation, settings=settings)
    assert ReleaseInfo.from_json(info.to_json()) == info


WRONG_DESCRIPTIONS = {
    **{"empty": b"", "no JSON": b"small", "not UTF-8": b"\xff\xfe\xfd", "nested too deep": b"[" * 100_000},
    **{"a list": b"[]", "a number": b"5", "an empty object": b"{}"},
    "another format": {("format",): FORMAT + 1},
    "a stranger": {("colour",): "red"},
    "data sets in a list": {("datasets",): ["digits"]},
    "a data set of nothing": {("datasets", "digits"): None},
    "no images": {("datasets", "digits"): {"eps": 0.1, "skeleton": {}}},
    "images of nothing": {("datasets", "digits", "images"): None},
    "images in a list": {("datasets", "digits", "images"): []},
    "images as text": {("datasets", "digits", "images"): {"test": "many"}},
    "more images than a number can say": {("datasets", "digits", "images"): {"test": 10**400}},
    "a negative number of images": {("datasets", "digits", "images"): {"test": -1}},
    "a budget as text": {("datasets", "digits", "eps"): "wide"},
    "a skeleton of nothing": {("datasets", "digits", "skeleton"): {"channels": 0}},
    "a skeleton of strangers": {("datasets", "digits", "skeleton"): {"colour": 1}},
    "metrics as text": {("metrics",): "clean_acc"},
    "an unknown metric": {("metrics", 0, "name"): "loss"},
    "a metric in a list": {("metrics", 0, "name"): ["clean_acc"]},
    "a metric in an empty list": {("metrics", 0, "name"): []},
    "an unknown split": {("metrics", 0, "split"): "train"},
    "a missing attack": {("metrics", 2, "attack"): None},
    "an attack as text": {("metrics", 2, "attack"): "fgsm"},
    "a budget out of range": {("metrics", 2, "attack", "eps"): 8},
    "a budget beyond the floats": {("metrics", 2, "attack", "eps"): 10**400},
}


@pytest.mark.parametrize("wrong", WRONG_DESCRIPTIONS.values(), ids=WRONG_DESCRIPTIONS)
def test_a_wrong_description_is_a_table_error(wrong, two_table, tmp_path):
    text = described(wrong) if isinstance(wrong, dict) else wrong
    path = tmp_path / "runs.parquet"
    write_table(two_table.replace_schema_metadata({b"nasbench_robust": text}), path)
    with pytest.raises(TableError, match="its release description cannot be read") as caught:
        Reader(path).info()
    assert caught.value.path == str(path)


def test_a_table_without_a_description_is_not_a_runs_table(tmp_path):
    write_table(pa.table({"index": [1]}), tmp_path / "other.parquet")
    for source in (tmp_path / "other.parquet", pa.table({"index": [1]})):
        with pytest.raises(TableError, match="no release description in its metadata: not a runs table"):
            Reader(source).info()
