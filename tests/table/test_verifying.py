"""What is stored is checked whole: hashes, and every number that can be made again from others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nasbench_robust.releases import locate
from nasbench_robust.table import Reader, verify, write_table

DIGITS = locate().parent
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first hundred cells of the package's table, without a manifest."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("runs", "curves", "outcomes"):
        table = Reader(DIGITS / f"{name}.parquet").read()
        table = table.set_column(1, "dataset", table.column("dataset").cast(pa.string()))
        write_table(table.filter(pa.compute.less(table.column("index"), 100)), folder / f"{name}.parquet")
    return folder


def with_value(table: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = table.column(name).to_pylist()
    values[row] = value
    position = table.schema.get_field_index(name)
    return table.set_column(position, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def with_run(table: pa.Table, names: list[str]) -> pa.Table:
    others = [name for name in table.column_names if name != "run"]
    return table.select(others).append_column("run", pa.array(names, pa.string()))


def test_the_bundled_table_is_sound(few: Path) -> None:
    assert verify(DIGITS) == verify(few) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("runs", lambda table: with_value(table, "pgd_correct@0.1", 3, 5), r"pgd_acc@0\.1 are not what the run's row"),
        ("runs", lambda table: with_value(table, "clean_acc", 3, 0.5), "clean_acc are not what the run's row says"),
        ("runs", lambda table: table.slice(1), "are of no run of the table"),
        ("runs", lambda table: pa.concat_tables([table, table.slice(0, 1)]), "stand twice"),
        ("outcomes", lambda table: table.slice(1), "1 runs have not one row of clean_acc"),
        ("outcomes", lambda table: with_value(table, "correct", 0, b"\xff"), "do not have a bit an image"),
        ("curves", lambda table: table.slice(1), "1 runs have not all epochs"),
        ("curves", lambda table: with_value(table, "epoch", 0, 2), "1 runs have not all epochs"),
    ],
)
def test_what_does_not_belong_together_is_said(name: str, change: Change, said: str, few: Path, tmp_path: Path) -> None:
    shutil.copytree(few, tmp_path / "table")
    path = tmp_path / "table" / f"{name}.parquet"
    write_table(change(Reader(path).read()), path)
    problems = verify(tmp_path / "table")
    assert len(problems) >= 1
    assert any(said.replace("\\", "") in problem for problem in problems), problems


def test_curves_of_another_making_are_noticed(few: Path, tmp_path: Path) -> None:
    for name in ("runs", "curves", "outcomes"):
        table = Reader(few / f"{name}.parquet").read()
        keys = [
            f"{index}-{seed}" for index, seed in zip(table["index"].to_pylist(), table["seed"].to_pylist(), strict=True)
        ]
        for making in ("first", "other"):
            names = [f"{making if name == 'curves' else 'first'} {key}" for key in keys]
            write_table(with_run(table, names), tmp_path / making / f"{name}.parquet")
    assert verify(tmp_path / "first") == []
    (problem,) = verify(tmp_path / "other")
    assert "of another making of it" in problem


def test_a_file_that_is_not_the_one_of_the_manifest_is_named(tmp_path: Path) -> None:
    shutil.copytree(DIGITS, tmp_path / "digits")
    path = tmp_path / "digits" / "curves.parquet"
    content = bytearray(path.read_bytes())
    content[int(np.random.default_rng(0).integers(len(content)))] ^= 1
    path.write_bytes(content)
    (problem,) = verify(tmp_path / "digits")
    assert "the SHA-256 of curves.parquet is" in problem
    path.unlink()
    (problem,) = verify(tmp_path / "digits")
    assert "curves.parquet is missing" in problem
