"""The program that trains all runs of the package's table again: what is the same, what differs, the next version."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import nasbench_robust as nbr
from nasbench_robust import native
from nasbench_robust.search import TableProblem
from nasbench_robust.table import Reader

GENERATION = Path(__file__).parents[2] / "generation"
LIGHT = ("--cells", "3999", "--seeds", "0", "1")
COST = "train_cpu_seconds"
pytestmark = pytest.mark.skipif(not native.is_available(), reason="this installation has no native engine")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(GENERATION))
    return importlib.import_module("digits_again")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two light runs, as this machine makes them."""
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(GENERATION))
        importlib.import_module("digits_again").main(["--out", str(folder), *LIGHT])
    return folder / "collected" / "runs.parquet"


def test_where_all_runs_are_the_same_the_next_version_has_their_cost(program, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "locate", lambda _: small)
    assert program.main(["--out", str(tmp_path), *LIGHT]) == 0
    assert "2 of 2 runs are the same in every image, count and epoch" in capsys.readouterr().out
    before, after = (Reader(table).read() for table in (small, tmp_path / "table" / "runs.parquet"))
    assert after.drop_columns(COST).equals(before.drop_columns(COST))
    assert after.column(COST).to_pylist() != before.column(COST).to_pylist()
    assert min(after.column(COST).to_pylist()) > 0
    assert TableProblem(nbr.load(tmp_path / "table"), "pgd_acc").charged == COST
    for name in ("curves", "outcomes"):
        assert (tmp_path / "table" / f"{name}.parquet").read_bytes() == small.with_name(f"{name}.parquet").read_bytes()


def test_some_of_the_runs_make_no_table(program, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "locate", lambda _: small)
    assert program.main(["--out", str(tmp_path), "--cells", "3999", "--seeds", "1"]) == 0
    assert capsys.readouterr().out.endswith("no table is made of some of its runs\n")
    assert not (tmp_path / "table").exists()


def test_whatever_differs_is_named_and_no_table_is_made(program, small, tmp_path, monkeypatch, capsys):
    runs = dict(program._runs(small.parent))
    [(unit, run), *_] = runs.items()
    assert program._differences(run, run) == []
    first = run.outcomes[0]
    turned = replace(first, correct=bytes([first.correct[0] ^ 1]) + first.correct[1:])
    changes = {
        "clean_acc": replace(run, outcomes=[turned, *run.outcomes[1:]]),
        "its curve": replace(run, curve=run.curve * (1 + 1e-15)),
        "whether it failed": replace(run, row={**run.row, "failure": "no"}),
    }
    for what, other in changes.items():
        assert program._differences(run, other) == [what]
    assert program._differences(replace(run, outcomes=[*run.outcomes, replace(first, name="more")]), run) == []
    monkeypatch.setattr(program, "locate", lambda _: small)
    monkeypatch.setattr(program, "_differences", lambda known, _: ["clean_acc"] if known == run else [])
    assert program.main(["--out", str(tmp_path), *LIGHT]) == 1
    assert f"cell 3999, seed {unit.seed} differs in clean_acc\n1 of 2 runs" in capsys.readouterr().out
    assert not (tmp_path / "table").exists()
