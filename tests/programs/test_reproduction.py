"""Trainings beside the published table: made-up tables with a known bias and noise go in, and both are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import made_up

from nasbench_robust import cells
from nasbench_robust.metrics import Metric, pgd

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

import nasbench_robust as nbr
from reproduction.compute import compare, noise_around, pool

METRICS = (Metric("clean_acc"), Metric.of(pgd(8 / 255)))
NOISE, BIAS = 0.01, 0.03


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A published table of three seeds with noise of a known size, and trainings of 60 of its cells with a bias."""
    rng = np.random.default_rng(0)
    index = np.unique(cells.representatives())
    truth = 0.4 + 0.1 * rng.uniform(size=len(cells.families()))[cells.families()[index], None]
    published = {metric.column: truth + rng.normal(0, NOISE, (len(index), 3)) for metric in METRICS}
    chosen = np.sort(rng.choice(np.flatnonzero(cells.connected()[index]), 60, replace=False))
    ours = {"clean_acc": truth[chosen] + rng.normal(0, NOISE, (60, 1))}
    ours["pgd_acc@8/255"] = truth[chosen] + BIAS + rng.normal(0, NOISE, (60, 1))
    folder = tmp_path_factory.mktemp("tables")
    return (
        made_up("ours", "cifar10", {"index": index[chosen], **ours}, METRICS, folder / "ours", 8 / 255),
        made_up("published", "cifar10", {"index": index, **published}, METRICS, folder / "published", 8 / 255),
    )


@pytest.fixture(scope="module")
def rows(tables: tuple[Path, Path]) -> pd.DataFrame:
    return compare(*map(nbr.load, tables))


def test_noise_is_that_of_the_mean_of_three(tables: tuple[Path, Path]) -> None:
    column = nbr.load(tables[1]).frame("cifar10").set_index("index")["clean_acc"]
    assert noise_around(column, 0.45) == pytest.approx(NOISE / np.sqrt(3), rel=0.25)


def test_differences_are_in_units_of_what_two_trainings_differ_by(rows: pd.DataFrame) -> None:
    clean = rows[rows["metric"] == "clean_acc"]
    assert len(clean) == 60
    assert clean["noise"].mean() == pytest.approx(NOISE * np.sqrt(1 + 1 / 3), rel=0.15)
    assert 0.7 < np.sqrt((clean["z"] ** 2).mean()) < 1.4


def test_a_bias_is_found_and_none_where_there_is_none(rows: pd.DataFrame) -> None:
    pooled = pool(rows).set_index("metric")
    assert pooled.at["clean_acc", "low"] < 0 < pooled.at["clean_acc", "high"]
    biased = pooled.loc["pgd_acc@8/255"]
    for mean, low, high in (("mean", "low", "high"), ("weighted", "weighted_low", "weighted_high")):
        assert biased[low] > 0
        assert abs(biased[mean] - BIAS) < 0.005
        assert biased[high] - biased[low] < 0.02


def test_the_program_prints_what_it_writes(call, tables: tuple[Path, Path], tmp_path: Path) -> None:
    done = call("reproduction", "--runs", tables[0], "--published", tables[1], "--out", tmp_path)
    assert done.code == 0, done.err
    assert "60 cells" in done.out
    assert "pgd_acc@8/255" in done.out.split("all cells")[1]
    assert "OUTSIDE" in done.out
    written = pd.read_csv(tmp_path / "reproduction.csv")
    assert (written["ours"] - written["published"] - written["difference"]).abs().max() < 2e-5
    assert (tmp_path / "reproduction.png").stat().st_size > 10_000


def test_trainings_of_other_cells_are_refused(call, tables: tuple[Path, Path], tmp_path: Path) -> None:
    alone = {"index": np.array([12]), "clean_acc": np.array([[0.1]])}
    other = made_up("published", "cifar10", alone, METRICS[:1], tmp_path / "published", 8 / 255)
    done = call("reproduction", "--runs", tables[0], "--published", other, "--out", tmp_path)
    assert done.code == 2
    assert "share no cell" in done.err
    assert "Traceback" not in done.err
