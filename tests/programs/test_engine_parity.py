"""Two engines side by side: runs are made once, Welch's numbers are scipy's, and a planted difference is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.metrics import pgd

pytest.importorskip("torch")
stats = pytest.importorskip("scipy.stats")
pytest.importorskip("matplotlib")

from engine_parity import compute, conclude, runs


@pytest.mark.skipif(not native.is_available(), reason="the package was installed without the native engine")
def test_both_engines_train_and_no_run_is_made_twice(call, fault, tmp_path, monkeypatch):
    whole = runs.parity_settings

    def quick(epochs, channels):
        return replace(whole(epochs, channels), evaluation=(pgd(0.1, steps=1),), batch_size=512)

    monkeypatch.setattr(runs, "parity_settings", quick)
    options = ["engine_parity", "--runs", tmp_path / "runs", "--out", tmp_path / "out", "--cells", 1835, "--epochs"]
    done = call(*options, 1, "--seeds", 2)
    assert done.code == 0, done.err
    for engine in ("native", "torch"):
        shards = sorted(path.name for path in (tmp_path / "runs" / engine / "runs").rglob("*.parquet"))
        assert shards == ["digits-01835-0.parquet", "digits-01835-1.parquet"]
    table = pd.read_csv(tmp_path / "out" / "engine_parity.csv", dtype={"cell": str})
    assert set(table["cell"]) == {"1835", "all"}
    assert table["metric"].drop_duplicates().tolist() == ["clean_acc", "pgd_acc@0.1"]
    assert np.allclose(table["difference"], table["first_mean"] - table["second_mean"], atol=1e-4)
    assert (tmp_path / "out" / "engine_parity.png").read_bytes().startswith(b"\x89PNG")
    assert "The interval of the mean difference" in done.out

    assert call(*options, 1, "--seeds", 2, "--summary").out == done.out
    assert "no cell has two runs by each engine" in fault(*options, 1, "--seeds", 2, 1, "--summary")
    assert call(*options, 1, "--seeds", 2, 3).code == 0
    table = pd.read_csv(tmp_path / "out" / "engine_parity.csv", dtype={"cell": str})
    assert set(zip(table["first_runs"], table["second_runs"], strict=True)) == {(2, 3)}
    assert "runs with other settings" in fault(*options, 2, "--seeds", 2, "--summary")
    assert "runs with other settings" in fault(*options, 1, "--seeds", 2, "--summary", "--channels", 5)


def test_differences_are_welchs_and_their_mean_has_the_error_of_the_spread_between_seeds():
    rng = np.random.default_rng(0)
    samples = [(rng.normal(0.7, 0.03, 8), rng.normal(0.69, 0.02, 6)) for _ in range(12)]
    expected = stats.ttest_ind(*samples[0], equal_var=False).confidence_interval()
    assert compute.difference(*samples[0]).interval == pytest.approx((expected.low, expected.high))
    sides = list(zip(*samples, strict=True))
    together = compute.pooled(*sides)
    assert together.value == pytest.approx(np.mean([one.mean() - other.mean() for one, other in samples]))
    expected = stats.ttest_ind(*(np.mean(side, axis=0) for side in sides), equal_var=False).confidence_interval()
    assert together.interval == pytest.approx((expected.low, expected.high))
    shared = [sample + np.linspace(-0.1, 0.1, 8) for sample in sides[0]]
    assert compute.pooled(shared, sides[1]).variance > 10 * together.variance  # what a seed does to all cells counts
    lacking = [sides[0][0].copy(), *sides[0][1:]]
    lacking[0][3] = np.nan
    assert compute.pooled(lacking, sides[1]).parts[0][1] == 6  # seven seeds are left
    assert together.interval[0] < 0.01 < together.interval[1]
    # Of a difference as large as it calls detectable, about four in five are seen.
    z = together.detectable / together.variance**0.5
    assert stats.nct.sf(stats.t.ppf(0.975, together.freedom), together.freedom, z) == pytest.approx(0.8, abs=0.01)
    ratio, low, high = compute.variance_ratio(*zip(*samples, strict=True))
    assert low < (0.03 / 0.02) ** 2 < high
    assert low < ratio < high


def test_the_conclusion_of_parity_follows_from_the_numbers():
    rng = np.random.default_rng(0)
    accuracies = {
        (engine, metric, cell): rng.normal(0.7 - 0.05 * (metric == "worse" and engine == "native"), 0.02, 8)
        for engine in ("native", "torch")
        for metric in ("same", "worse")
        for cell in (14, 263, 818)
    }
    table = compute.summarise(accuracies, ("native", "torch"))
    assert len(table) == 2 * (3 + 1)
    said = " ".join(conclude.sentences(table, "same"))
    assert "does not contain 0 for worse: the engines differ there" in said
    assert "of 3 intervals contain 0" in said


def test_the_cells_of_parity_are_representatives_that_differ_in_their_operations():
    cells = [Cell.from_index(index) for index in runs.CELLS]
    assert len(cells) == 12
    assert all(cell.representative == cell.index and cell.connected for cell in cells)
    assert {operation for cell in cells for operation in cell.operations} == {
        *("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
    }
    assert len({tuple(sorted(cell.operations)) for cell in cells}) >= 10
