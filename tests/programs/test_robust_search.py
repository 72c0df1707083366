"""The program that compares differentiable searches: its rows agree with the records and the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nasbench_robust import load

pytest.importorskip("matplotlib")
PROGRAM = Path(__file__).parents[2] / "analysis" / "robust_search.py"


def execute(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def outcome(made_up_table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("robust")
    options = ("--published", made_up_table, "--records", folder / "records", "--out", folder, "--epochs", 2)
    options += ("--seeds", 1, "--methods", "darts", "gdas", "--workers", 2)
    done = execute(*options)
    assert done.returncode == 0, done.stderr
    assert "3 searches, 3 to make" in done.stderr
    again = execute(*options, "--summary")
    assert again.stdout.partition("wrote")[0] in done.stdout  # after the lines of the searches
    return done.stdout, folder


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


def test_faults_are_one_line(made_up_table, tmp_path):
    for arguments, message in (
        (("--methods", "dart"), "darts"),
        (("--seeds", "0"), "--seeds"),
        (("--published", tmp_path / "none"), "none"),
        (("--published", made_up_table, "--summary"), "no search"),
    ):
        done = execute("--records", tmp_path, "--out", tmp_path, *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
