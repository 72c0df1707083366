"""The figures of the benchmark's paper: rows against plain formulas, on made-up tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nasbench_robust.table import Benchmark

scipy_stats = pytest.importorskip("scipy.stats")
pytest.importorskip("matplotlib")
STUDY = Path(__file__).parents[2] / "analysis" / "benchmark_figures"
RESULTS = STUDY.parent / "results"
CLEAN, PGD = "clean_acc", "pgd_acc@8/255"
FIGURES = ("boxes", "rankings", "rank_matrix", "best_cells")


@pytest.fixture(scope="module")
def folder(call, made_up_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adversarial table in the place of the standard one too: what is read from it has the same columns."""
    out = tmp_path_factory.mktemp("figures")
    options = ("--repeats", 3, "--queries", 10, "--out", out)
    done = call("benchmark_figures", "--published", made_up_table, "--standard", made_up_table, *options)
    assert done.code == 0, done.err
    assert "paper 6466, here 6466, agrees: yes" in done.out
    return out


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"benchmark_{name}.csv")


def test_quartiles_and_correlations_are_those_of_scipy(folder: Path, bench: Benchmark) -> None:
    frame = bench.frame("cifar10", [CLEAN, PGD])
    box = read(folder, "boxes").set_index(["dataset", "metric"]).loc[("cifar10", PGD)]
    assert box[["q1", "median", "q3"]].to_numpy() == pytest.approx(np.quantile(frame[PGD], [0.25, 0.5, 0.75]), rel=1e-4)
    matrix = read(folder, "rank_matrix").set_index(["dataset", "metric", "other_dataset", "other_metric"])
    for subset, share in (("all", 1), ("top half", 0.5)):
        rho = matrix[matrix["subset"] == subset].loc[("cifar10", CLEAN, "cifar10", PGD), "spearman"]
        best = frame.nlargest(round(share * len(frame)), CLEAN)
        assert rho == pytest.approx(scipy_stats.spearmanr(best[CLEAN], best[PGD]).statistic, abs=1e-4)
    itself = read(folder, "standard").query("metric == standard")
    assert itself["spearman"].to_numpy() == pytest.approx(1)


def test_best_cells_are_not_dominated(folder: Path, bench: Benchmark) -> None:
    fronts = read(folder, "pareto")
    for name, front in fronts.groupby("dataset"):
        frame = bench.frame(str(name), [CLEAN, PGD]).set_index("index")
        best = frame.loc[front["cell"], [CLEAN, PGD]]
        ahead = [((frame[CLEAN] >= clean) & (frame[PGD] > pgd)).sum() for clean, pgd in best.to_numpy()]
        assert not any(ahead)
        assert front["cell"].iloc[0] == frame[CLEAN].idxmax()
        assert front["cell"].iloc[-1] == frame[PGD].idxmax()
    counts = read(folder, "operations").groupby(["dataset", "best_by", "edge"])["count"].sum()
    assert (counts == 65).all()


def test_no_search_is_ahead_of_the_optimum(folder: Path) -> None:
    for (_, criterion), rows in read(folder, "searches").groupby(["dataset", "criterion"]):
        found = rows.set_index("method")[criterion]
        assert (found <= found["optimal"] + 1e-9).all()
        assert len(found) == 5


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn(folder: Path, name: str) -> None:
    assert all((folder / f"benchmark_{name}.{ending}").stat().st_size > 10_000 for ending in ("png", "svg"))


def test_the_page_says_what_the_results_say() -> None:
    page = (STUDY / "README.md").read_text()
    found = pd.read_csv(RESULTS / "benchmark_searches.csv").set_index(["dataset", "criterion", "method"])
    lines = [[word.strip() for word in line.strip("|").split("|")] for line in page.splitlines()]
    table = [line for line in lines if line[0] in ("clean", "PGD 8/255")]
    assert len(table) == 8
    for criterion, method, *shown in table:
        column = CLEAN if criterion == "clean" else PGD
        values = [100 * found.loc[(name, column, method), column] for name in ("cifar10", "cifar100", "ImageNet16-120")]
        assert shown == [f"{value:.2f}" for value in values]
    boxes = pd.read_csv(RESULTS / "benchmark_boxes.csv").set_index(["dataset", "metric"])["median"].loc["cifar10"]
    medians = [f"{word} {100 * boxes[metric]:.1f} %" for word, metric in (("clean", CLEAN), ("PGD 8/255", PGD))]
    assert ", ".join(medians) in page
    for _, row in pd.read_csv(RESULTS / "benchmark_against_paper.csv").iterrows():
        if "Spearman" in row["what"]:
            assert f"{row['here']:.3f}".removeprefix("0") in page, row["what"]
    standard = pd.read_csv(RESULTS / "benchmark_standard.csv").set_index(["metric", "standard", "dataset"])["spearman"]
    for other, dataset in ((CLEAN, "cifar10"), (CLEAN, "cifar100"), ("pgd_acc@1/255", "ImageNet16-120")):
        assert f"{standard[PGD, other, dataset]:.3f}".replace("0.", ".") in page
