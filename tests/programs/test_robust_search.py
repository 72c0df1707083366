"""The program that compares differentiable searches: its rows agree with the records and the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nasbench_robust import load

pytest.importorskip("matplotlib")
PROGRAM = "robust_search"


@pytest.fixture(scope="module")
def outcome(call, made_up_table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("robust")
    options = ("--published", made_up_table, "--records", folder / "records", "--out", folder, "--epochs", 2)
    options += ("--seeds", 1, "--methods", "darts", "gdas", "--workers", 2)
    done = call(PROGRAM, *options)
    assert done.code == 0, done.err
    assert "3 searches, 3 to make" in done.err
    again = call(PROGRAM, *options, "--summary")
    assert again.out.partition("wrote")[0] == done.out.partition("wrote")[0]
    return done.out, folder


def test_rows_are_the_records_looked_up(outcome):
    printed, folder = outcome
    rows = pd.read_csv(folder / "robust_search.csv")
    records = [json.loads(path.read_text()) for path in (folder / "records").glob("*-*.json")]
    assert len(rows) == len(records) == 3
    bench = load()
    for record in records:
        settings = record["settings"]
        row = rows[(rows["method"] == settings["method"]) & (rows["order"] == settings["order"])]
        row = row[row["seed"] == record["seed"]].iloc[0]
        assert row["index"] == record["argmax"][0]
        assert row["digits pgd_acc"] == pytest.approx(bench.query(int(row["index"]), metric="pgd_acc"), abs=1e-5)
        assert f"{row['index']}:{100 * row['digits pgd_acc']:.1f}" in printed


def test_epochs_are_the_argmax_of_the_architecture(outcome):
    epochs = pd.read_csv(outcome[1] / "robust_search_epochs.csv")
    rows = pd.read_csv(outcome[1] / "robust_search.csv")
    assert len(epochs) == 6
    keys = ["method", "strength", "order", "seed"]
    last = epochs[epochs["epoch"] == 2].set_index(keys)["index"]
    assert last.equals(rows.set_index(keys)["index"])


def test_costs_are_counted(outcome):
    cost = pd.read_csv(outcome[1] / "robust_search.csv").groupby(["method", "order"])["trainings at equal cost"].first()
    assert 0 < cost["gdas", 1] < 0.5 * cost["darts", 1]  # one operation of five
    assert 1.5 < cost["darts", 2] / cost["darts", 1] < 4  # a step ahead and its derivative
    assert np.isfinite(cost).all()


def test_a_summary_of_no_search_is_refused(fault, made_up_table, tmp_path):
    folders = ("--records", tmp_path, "--out", tmp_path)
    assert "no search" in fault(PROGRAM, "--published", made_up_table, "--summary", *folders)
