"""The program that compares search methods: its rows agree with searches made by hand, its sentences with its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nasbench_robust import load
from nasbench_robust.search import EPOCH_SEARCHERS, Budget, RandomSearch, TableProblem, repeat

pytest.importorskip("matplotlib")
REPEATS, QUERIES = 3, (10, 25)
KEYS = ["table", "dataset", "selected by", "split", "method", "queries", "judged by"]


@pytest.fixture(scope="module")
def outcome(
    call, made_up_table: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("comparison") / "new"
    options = (
        "--published",
        made_up_table,
        "--repeats",
        REPEATS,
        "--queries",
        *QUERIES,
        "--out",
        folder,
        "--epochs",
        300,
    )
    done = call("search_comparison", *options, "--dataset", "cifar-10")
    assert done.code == 0, done.err
    drawn = [folder / f"search_{name}.{ending}" for name in ("comparison", "epochs") for ending in ("png", "svg")]
    assert all(path.stat().st_size > 10_000 for path in drawn)
    return done.out, pd.read_csv(folder / "search_comparison.csv"), pd.read_csv(folder / "search_epochs.csv")


def test_rows_agree_with_searches_by_hand(outcome, bench):
    found = outcome[1].set_index(KEYS)
    assert not found.index.duplicated().any()
    assert (found["repeats"] == REPEATS).all()
    hand = repeat(
        TableProblem(bench, "pgd_acc", "cifar10", split="test"), RandomSearch, Budget(queries=25), repeats=REPEATS
    )
    summary = hand.summary(QUERIES, ["clean_acc"]).set_index(["column", "query"])
    place = (bench.name, "cifar10", "pgd_acc", "test", "random search")
    for number in QUERIES:
        for judged in ("regret", "clean_acc"):
            row = found.loc[(*place, number, judged)]
            for statistic in ("mean", "std", "low", "median", "high"):
                assert row[statistic] == pytest.approx(summary.loc[(judged, number), statistic], rel=1e-5)


def test_validation_and_test_selection_on_digits(outcome):
    found = outcome[1].set_index(KEYS)["mean"]
    hand = repeat(TableProblem(load(), "pgd_acc"), RandomSearch, Budget(queries=25), repeats=REPEATS)
    worth = hand.curves("pgd_acc@0.1")[:, -1].mean()
    place = ("digits", "digits", "pgd_acc")
    assert found[(*place, "validation", "random search", 25, "pgd_acc@0.1")] == pytest.approx(worth, rel=1e-5)
    # Whoever selects on test images gets what the search saw.
    seen, judged = (
        found[(*place, "test", "random search", 25, name)] for name in ("what the search saw", "pgd_acc@0.1")
    )
    assert seen == judged


def test_it_prints_tables_seeds_and_conclusions(outcome):
    printed = outcome[0]
    assert f"{REPEATS} searches each" in printed
    assert "10 queries\n" in printed
    assert "25 queries\n" in printed
    seeds = int(load().metrics()["seeds"].max())
    assert f"up to {seeds} seed" in printed
    rows = outcome[1].query("queries == 25 and `judged by` == 'regret' and `selected by` == 'pgd_acc'")
    regret = 100 * rows.set_index("method")["mean"]["random search"]
    assert f"random search {regret:.2f}" in next(line for line in printed.splitlines() if line.startswith("- after 25"))
    assert np.isfinite(rows["mean"]).all()


def test_searches_that_stop_trainings_are_judged_on_test_images(outcome):
    printed, _, rows = outcome
    assert set(rows["method"]) == {*EPOCH_SEARCHERS, "random search", *rows["method"]}
    problem, test = TableProblem(load(), "pgd_acc", fidelity="epoch"), load().values(metric="pgd_acc")
    found = repeat(problem, EPOCH_SEARCHERS["Hyperband"].make, Budget(epochs=300), repeats=REPEATS)
    last = np.mean([test.max() - test[each.incumbents[-1]] for each in found.trajectories])
    at = rows.query("method == 'Hyperband' and epochs == 300")
    assert at["mean"].item() == pytest.approx(last, rel=1e-5)
    random = rows.query("method == 'random search'")["mean"].iloc[-1]
    assert f"for equal test regret, {100 * random:.2f} points, Hyperband on digits" in printed


def test_pages_say_what_the_committed_results_say():
    root = Path(__file__).parents[2]
    means = pd.read_csv(root / "analysis/results/search_epochs.csv").pivot_table("mean", "method", "epochs")
    target = means.loc["random search"].iloc[-1]
    spent = {
        name: f"{(row <= target).idxmax() / means.columns[-1]:.0%}".replace("%", " %") for name, row in means.iterrows()
    }
    pages = [root / "docs/search.md", root / "analysis/search_comparison/README.md"]
    for text in (" ".join(page.read_text("utf-8").split()) for page in pages):
        assert f"{100 * target:.2f} points" in text
        assert f"Hyperband spends {spent['Hyperband']} of the epochs, ASHA {spent['ASHA']}" in text
        assert f"curve extrapolation {spent['curve extrapolation']};" in text
        whole = spent["regularised evolution"], spent["local search, first improvement"]
        assert all(f" {share}" in text.split("curve extrapolation")[-1] for share in whole)
