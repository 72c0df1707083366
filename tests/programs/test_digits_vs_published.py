"""Digits against the published table: made-up tables with a known answer go in, and it is found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import made_up

from nasbench_robust import cells
from nasbench_robust.metrics import Metric, fgsm, pgd

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from digits_vs_published.compute import KEYS

PROGRAM = "digits_vs_published"
METRICS = (Metric("clean_acc"), Metric.of(fgsm(0.1)), Metric.of(pgd(0.1)), Metric.of(pgd(0.1), "validation"))
REPRESENTATIVES = np.unique(cells.representatives())
CORRELATION = 0.7
OPTIONS = ("--resamples", "200", "--kendall-resamples", "20")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A digits table of 900 cells, normally distributed, and a published one of 800 of them that it predicts."""
    rng = np.random.default_rng(0)
    index = np.sort(rng.choice(REPRESENTATIVES[cells.connected()[REPRESENTATIVES]], 900, replace=False))
    quality, other = rng.normal(size=(2, 900, 1))
    digits = {"index": index}
    for metric in METRICS:
        digits[metric.column] = 0.5 + 0.05 * (quality + rng.normal(0, 0.2, size=(900, 2)))
    digits["pgd_acc@0.1#validation"] = rng.uniform(size=(900, 2))  # not to be looked at
    digits["clean_acc"][:5, 1] = np.nan  # some cells have one seed
    target = 0.4 + 0.02 * (CORRELATION * quality + math.sqrt(1 - CORRELATION**2) * other)
    kept = np.arange(900) >= 100
    published = {"index": index[kept], "clean_acc": target[kept] + 0.1, "pgd_acc@8/255": target[kept]}
    folder = tmp_path_factory.mktemp("tables")
    aims = (Metric("clean_acc"), Metric.of(pgd(8 / 255)))
    return (
        made_up("digits", "digits", digits, METRICS, folder / "digits", 0.1),
        made_up("published", "cifar10", published, aims, folder / "published", 8 / 255),
    )


def read(folder: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """Return the rows of the CSV by data set, metric, subset, predictor and statistic."""
    rows = pd.read_csv(folder / "digits_vs_published.csv").set_index(KEYS)
    assert not rows.index.duplicated().any()
    return rows.to_dict("index")


@pytest.fixture(scope="module")
def outcome(call, tables: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("results") / "new"
    done = call(PROGRAM, "--digits", tables[0], "--published", tables[1], "--out", folder, *OPTIONS)
    assert done.code == 0, done.err
    return done.out, folder


def test_the_correlation_that_was_put_in_is_found(outcome):
    found = read(outcome[1])
    place = ("cifar10", "pgd_acc@8/255", "all")
    # Two seeds with noise .2 each take a little off the correlation of the qualities.
    attenuated = CORRELATION / math.sqrt(1 + 0.2**2 / 2)
    digits = found[(*place, "pgd_acc@0.1", "spearman")]
    assert digits["cells"] == 800
    assert digits["value"] == pytest.approx(6 / math.pi * math.asin(attenuated / 2), abs=0.05)
    assert digits["low"] < digits["value"] < digits["high"]
    assert 0.02 < digits["high"] - digits["low"] < 0.12
    kendall, partial = (found[(*place, "pgd_acc@0.1", name)] for name in ("kendall", "spearman given parameters"))
    assert kendall["value"] == pytest.approx(2 / math.pi * math.asin(attenuated), abs=0.05)
    assert partial["value"] == pytest.approx(digits["value"], abs=0.03)
    for baseline in ("parameters", "flops"):
        assert found[(*place, baseline, "spearman")]["low"] < 0 < found[(*place, baseline, "spearman")]["high"]
    gain = found[(*place, "pgd_acc@0.1", "spearman - parameters")]
    assert gain["low"] > 0.4
    parameters = found[(*place, "parameters", "spearman")]
    assert gain["value"] == pytest.approx(digits["value"] - parameters["value"], abs=1e-4)


def test_a_narrow_range_lowers_the_correlation(outcome):
    found = read(outcome[1])
    values = [
        found["cifar10", "pgd_acc@8/255", subset, "pgd_acc@0.1", "spearman"]
        for subset in ("all", "top half", "top tenth")
    ]
    assert [value["cells"] for value in values] == [800, 400, 80]
    assert values[0]["value"] > values[1]["value"] > values[2]["value"]


def test_the_noise_that_was_put_in_is_found(outcome):
    found = read(outcome[1])
    place = ("cifar10", "pgd_acc@8/255", "all", "pgd_acc@0.1")
    assert found[(*place, "seed sd")]["value"] == pytest.approx(0.05 * 0.2 / math.sqrt(2), rel=0.05)
    for statistic in ("reliability", "split-half reliability"):
        assert found[(*place, statistic)]["value"] == pytest.approx(1 / (1 + 0.2**2 / 2), abs=0.01)
    single = found[(*place[:3], "pgd_acc@0.1, seed 0", "spearman")]
    assert single["value"] < found[(*place, "spearman")]["value"] + 0.01


def test_every_test_column_is_compared_and_no_validation_column(outcome):
    found = read(outcome[1])
    predictors = {key[3] for key in found}
    assert {"clean_acc", "fgsm_acc@0.1", "pgd_acc@0.1", "parameters", "flops", "pgd_acc@0.1 + parameters"} <= predictors
    assert not any("validation" in predictor for predictor in predictors)
    assert {key[:2] for key in found} == {("cifar10", "clean_acc"), ("cifar10", "pgd_acc@8/255")}
    chance = found["cifar10", "pgd_acc@8/255", "all", "chance", "regret of the best of 1"]["value"]
    assert 0 <= found["cifar10", "pgd_acc@8/255", "all", "pgd_acc@0.1", "regret of the best of 1"]["value"] < chance


def test_the_conclusion_follows_from_the_numbers(outcome):
    printed, folder = outcome
    assert "800 cells that both have; test split; seeds 0, 1" in printed
    assert "Over all cells, digits ranks better than the parameter count" in printed
    assert "FLOPs rank these cells exactly as parameters do" in printed
    assert (folder / "digits_vs_published.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "digits_vs_published.svg").read_text()


def test_the_same_call_gives_the_same_files(call, tables, outcome, tmp_path):
    again = call(PROGRAM, "--digits", tables[0], "--published", tables[1], "--out", tmp_path, *OPTIONS)
    assert again.code == 0
    assert again.out.splitlines()[:-1] == outcome[0].splitlines()[:-1]
    written = [sorted(folder.iterdir()) for folder in (outcome[1], tmp_path)]
    assert len(written[0]) == 3
    assert [path.read_bytes() for path in written[0]] == [path.read_bytes() for path in written[1]]


def test_too_few_cells_are_refused(fault, tables, tmp_path):
    cells = {"index": REPRESENTATIVES[:20], "clean_acc": np.full((20, 1), 0.5)}
    few = made_up("few", "digits", cells, METRICS[:1], tmp_path / "few", 0.1)
    line = fault(PROGRAM, "--published", tables[1], "--out", tmp_path / "out", "--digits", few)
    assert "cells with all test columns; 30 are needed" in line
    assert not (tmp_path / "out").exists()


def test_against_the_published_table(call, published, published_table, tmp_path):
    """Digits that are the published column with noise, on some of the cells."""
    rng = np.random.default_rng(0)
    index = np.sort(rng.choice(REPRESENTATIVES, 500, replace=False))
    column = published.query_many(index, "cifar10", "pgd_acc")
    values = {"index": index, **{metric.column: column[:, None] + rng.normal(0, 0.01, (500, 3)) for metric in METRICS}}
    digits = made_up("digits", "digits", values, METRICS, tmp_path / "digits", 0.1)
    options = ("--resamples", 100, "--kendall-resamples", 10, "--out", tmp_path / "out")
    done = call(PROGRAM, "--digits", digits, "--published", published_table, *options)
    assert done.code == 0, done.err
    found = read(tmp_path / "out")
    assert len({key[:2] for key in found}) == 18
    headline = found["cifar10", "pgd_acc@8/255", "all", "pgd_acc@0.1", "spearman"]
    assert headline["cells"] == 500
    assert headline["value"] > 0.97
    assert "over all 18 published columns" in done.out
