"""One release from several tables, the program that makes the package's table, and the check of a sample of it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import nasbench_robust as nbr
from nasbench_robust import metrics, native
from nasbench_robust.cells import Cell
from nasbench_robust.errors import ConflictError
from nasbench_robust.files import MANIFEST, mismatch
from nasbench_robust.images import load_arrays
from nasbench_robust.runs import assemble, collect, release_info, run_cell, write_run
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.table import read_table, write_table

pytestmark = pytest.mark.skipif(not native.is_available(), reason="this installation has no native engine")

PROGRAM = Path(__file__).parents[2] / "generation" / "make_digits.py"
SHORT = replace(settings_for("digits"), epochs=1, evaluation=(metrics.fgsm(0.1),))
LONG = replace(SHORT, evaluation=(metrics.fgsm(0.1), metrics.pgd(0.1)))
INFO = replace(release_info(LONG), settings={each.hash: each.to_dict() for each in (SHORT, LONG)})
LIGHT = 3999  # a cell that trains in no time


def table_of(settings: TrainingSettings, runs: list[tuple[int, int]], folder: Path) -> Path:
    for index, seed in runs:
        run = run_cell(Cell.from_index(index), settings, load_arrays("digits"), seed, engine="native")
        write_run(run, settings, folder / "shards")
    collect([folder / "shards"], folder / "table")
    return folder / "table"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A table with more metrics of one run, and one with fewer of three."""
    folder = tmp_path_factory.mktemp("tables")
    return [
        table_of(LONG, [(9930, 1)], folder / "long"),
        table_of(SHORT, [(9930, 0), (9930, 1), (3, 0)], folder / "short"),
    ]


def test_a_run_comes_from_the_first_table_that_has_it(tables, tmp_path):
    assert assemble(tables, INFO, tmp_path) == 3
    bench = nbr.load(tmp_path)
    assert bench.lookup(9930, metric="pgd_acc").seeds.keys() == {1}
    assert bench.lookup(9930, metric="fgsm_acc").seeds.keys() == {0, 1}
    assert read_table(tmp_path / "runs.parquet").column("settings").to_pylist() == [SHORT.hash, SHORT.hash, LONG.hash]
    assert [finding for finding in nbr.validate(tmp_path / "runs.parquet") if finding.severity == "error"] == []


def test_every_run_has_its_curve_and_outcomes_once(tables, tmp_path):
    assemble(tables, INFO, tmp_path)
    curves, outcomes = (read_table(tmp_path / f"{name}.parquet") for name in ("curves", "outcomes"))
    assert [(row["index"], row["seed"]) for row in curves.to_pylist()] == [(3, 0), (9930, 0), (9930, 1)]
    mine = outcomes.filter(pc.and_(pc.equal(outcomes["index"], 9930), pc.equal(outcomes["seed"], 1)))
    assert mine.column("metric").to_pylist() == [metric.column for metric in LONG.metrics]
    assert outcomes.num_rows == len(LONG.metrics) + 2 * len(SHORT.metrics)


def test_the_manifest_is_that_of_the_files(tables, tmp_path):
    assemble(tables, INFO, tmp_path)
    for name in ("runs", "curves", "outcomes"):
        assert mismatch(tmp_path / MANIFEST, tmp_path / f"{name}.parquet") is None


def test_assembling_again_over_its_own_result_changes_nothing(tables, tmp_path):
    assemble(tables, INFO, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.*")}
    assert MANIFEST in before
    assemble([tmp_path], INFO, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.*")} == before


def test_contradicting_tables_are_refused(tables, tmp_path):
    changed = tmp_path / "changed"
    for name in ("curves", "outcomes"):
        write_table(read_table(tables[1] / f"{name}.parquet"), changed / f"{name}.parquet")
    runs = read_table(tables[1] / "runs.parquet")
    column = runs.schema.get_field_index("fgsm_correct@0.1")
    more = pa.array(np.array(runs.column(column).to_pylist()) + 1, pa.int32())
    write_table(runs.set_column(column, runs.schema.field(column), more), changed / "runs.parquet")
    with pytest.raises(ConflictError, match=r"fgsm_correct@0\.1"):
        assemble([tables[0], changed], INFO, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ the program


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_program_makes_a_table_and_goes_on_where_it_was(tmp_path):
    first = call("--out", tmp_path, "--cells", LIGHT, "--seeds", 0)
    assert first.returncode == 0, first.stderr
    assert "1 runs -> " in first.stdout
    second = call("--out", tmp_path, "--cells", LIGHT, "--seeds", 0, 1)
    assert second.returncode == 0, second.stderr
    assert "2 runs, 1 there, 1 missing" in second.stderr
    third = call("--out", tmp_path, "--cells", LIGHT, "--seeds", 0)
    assert "1 runs -> " in third.stdout  # what was asked for, though the folder has more
    whole = call("--out", tmp_path, "--cells", LIGHT, "--seeds", 0, 1)
    assert "2 runs -> " in whole.stdout
    bench = nbr.load(tmp_path / "table")
    assert bench.lookup(LIGHT, metric="autoattack_acc").seeds.keys() == {0, 1}
    assert bench.info.licence == "Apache-2.0"


def test_runs_of_the_tables_that_are_named_are_kept(tmp_path):
    assert call("--out", tmp_path / "one", "--cells", LIGHT, "--seeds", 1).returncode == 0
    kept = tmp_path / "one" / "table"
    done = call("--out", tmp_path / "two", "--cells", LIGHT, "--seeds", 1, 2, "--resume", kept)
    assert done.returncode == 0, done.stderr
    assert "1 runs, 0 there, 1 missing" in done.stderr
    bench = nbr.load(tmp_path / "two" / "table")
    assert bench.lookup(LIGHT, metric="autoattack_acc").seeds.keys() == {1, 2}
    wrong = call("--out", tmp_path / "three", "--cells", LIGHT, "--resume", tmp_path / "none")
    assert wrong.returncode == 2
    assert "none" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_what_it_makes_is_what_the_package_has(tmp_path):
    call("--out", tmp_path, "--cells", LIGHT, "--seeds", 0)
    again, bundled = nbr.load(tmp_path / "table"), nbr.load()
    for metric in ("clean_acc", "fgsm_acc", "pgd_acc"):
        mine, theirs = (bench.query(LIGHT, metric=metric, seed=0) for bench in (again, bundled))
        assert mine == pytest.approx(theirs, abs=0.15)  # equal on the processor that made the table, else noise


def test_where_no_run_is_there_yet_no_table_is_written(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    program = importlib.import_module("make_digits")
    monkeypatch.setattr(program, "make_locally", lambda *_, **__: 75)  # as if it were stopped at once
    assert program.main(["--out", str(tmp_path), "--resume", "--cells", str(LIGHT), "--seeds", "99"]) == 75
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize("share", ["0%", "101%", "one", "1"])
def test_a_senseless_share_is_refused(share):
    done = call("--sample", share)
    assert done.returncode == 2
    assert share in done.stderr
    assert "1%" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sample_of_the_table_is_made_again_and_agrees():
    done = call("--sample", "0.02%")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs are equal in all counts" in done.stdout
    whole, fewer = map(float, re.search(r": ([\d.]+) h, ([\d.]+) h without AutoAttack", done.stdout).groups())
    assert 0 < fewer < whole
