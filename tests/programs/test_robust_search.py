"""The program that compares differentiable searches: its rows agree with the records and the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pictures import TEST, TRAIN, made_up, write_parquet

from nasbench_robust import load

pytest.importorskip("matplotlib")
GENERATION = Path(__file__).parents[2] / "generation"
PROGRAM = "robust_search"
FEW_IMAGES = f"""
import runpy
from dataclasses import replace
from nasbench_robust.datasets import DATASETS
DATASETS["cifar10"] = replace(DATASETS["cifar10"], train_images={TRAIN}, test_images={TEST})
runpy.run_path({str(GENERATION / "search_supernet.py")!r}, run_name="__main__")
"""


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


def test_cifar10_is_searched_small_and_judged_by_the_published_table(call, made_up_table, small, tmp_path, monkeypatch):
    """Images of the real format, few of them: the programs that search start by being told how many."""
    write_parquet(tmp_path / "images", "cifar10", made_up("cifar10"))
    (tmp_path / "search_supernet.py").write_text(FEW_IMAGES)
    monkeypatch.setattr("program.GENERATION", tmp_path)
    options = ("--dataset", "cifar10", "--data-root", tmp_path / "images", "--published", made_up_table)
    options += ("--records", tmp_path / "records", "--out", tmp_path, "--epochs", 1, "--seeds", 1)
    done = call(PROGRAM, *options, "--methods", "darts", "rnas-like-v1")
    assert done.code == 0, done.err
    rows = pd.read_csv(tmp_path / "robust_search_cifar10.csv")
    settings = [json.loads(path.read_text())["settings"] for path in (tmp_path / "records").glob("*-*.json")]
    assert [each["skeleton"]["image_size"] for each in settings] == [16] * 3
    bench = load(made_up_table)
    for index, value in zip(rows["index"], rows["cifar10 pgd_acc@8/255"], strict=True):
        assert value == pytest.approx(
            bench.query(int(index), dataset="cifar10", metric="pgd_acc", eps=8 / 255), abs=1e-5
        )
        assert f"{index}:{100 * value:.1f}" in done.out
    assert (rows["trainings at equal cost"] < 0.01).all()
    assert "with the place that the same settings have on digits, Spearman" in done.out


def test_a_summary_of_no_search_is_refused(fault, made_up_table, tmp_path):
    folders = ("--records", tmp_path, "--out", tmp_path)
    assert "no search" in fault(PROGRAM, "--published", made_up_table, "--summary", *folders)


def test_images_that_are_missing_are_one_line_before_the_searches(fault, made_up_table, tmp_path):
    folders = ("--records", tmp_path / "records", "--out", tmp_path, "--data-root", tmp_path)
    assert "no complete cifar10" in fault(PROGRAM, "--published", made_up_table, "--dataset", "cifar10", *folders)
    assert not (tmp_path / "records").exists()
