"""The leaderboard of rankings: no published accuracy enters one, rows are their formulas, the page is the results."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nasbench_robust as nbr
from nasbench_robust import cells, predict, statistics
from nasbench_robust.table import write_table

pytest.importorskip("scipy")
pytest.importorskip("sklearn")
pytest.importorskip("torch")
ANALYSIS = Path(__file__).parents[2] / "analysis"

from predictors import columns, compute, conclude, labels, rules

EFFORT = compute.Effort(resamples=30, repeats=2, seed=0)
RNG = np.random.default_rng(11)


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> str:
    """A folder with scores of two proxies and a kernel, of 300 cells."""
    table = pq.read_table(ANALYSIS / "scores" / "cifar10.parquet")
    frame = table.select(["index", "score", "attack"]).to_pandas()
    some = frame["index"].isin(frame["index"].unique()[:300]) & frame["attack"].isna()
    kept = table.filter(pa.array(some & frame["score"].isin(["jacob_cov", "synflow", "condition_number"])))
    folder = tmp_path_factory.mktemp("scores")
    pq.write_table(kept, folder / "cifar10.parquet")
    return str(folder)


@pytest.fixture(scope="module")
def board(bench, scores) -> compute.Board:
    """What ranks the cells of CIFAR-10, and accuracies that the structure count tells up to noise."""
    found = columns.columns_for("cifar10", bench, nbr.load(), scores)
    target = found[columns.COUNT].values + RNG.normal(size=len(columns.CELLS))
    return compute.Board("cifar10", target, found)


# ------------------------------------------------------------------ leaks


def test_no_published_accuracy_enters_a_ranking(board, bench, made_up_table, scores, tmp_path):
    table = pq.read_table(made_up_table)
    other = np.random.default_rng(0).permutation(columns.CELLS)  # every row is of another cell
    index = other[np.searchsorted(columns.CELLS, table["index"].to_numpy())]
    place, field = table.column_names.index("index"), table.schema.field("index")
    table = table.set_column(place, field, pa.array(index, field.type))
    write_table(table, tmp_path / "runs.parquet")
    shuffled = nbr.load(tmp_path / "runs.parquet")
    assert not np.array_equal(shuffled.values("cifar10", "pgd_acc"), bench.values("cifar10", "pgd_acc"))
    again = columns.columns_for("cifar10", shuffled, nbr.load(), scores)
    assert list(again) == list(board.columns)
    assert {rules.MOONSHOT.name, rules.RULES[2].name, "log ranks: every proxy, smoothed"} <= set(again)
    for name, column in board.columns.items():
        assert np.array_equal(again[name].values, column.values, equal_nan=True), name


def test_nothing_that_ranks_digits_has_seen_them(scores):
    found = columns.columns_for("digits", nbr.load(), nbr.load(), scores)
    assert not any(columns.DIGITS in name for name in found)


def test_what_few_labels_rank_is_judged_on_other_functions_and_digits_know_no_label(board):
    some = RNG.permutation(len(columns.CELLS))[:50]
    unseen = labels._unseen(some, board.target)
    families = cells.families()[columns.CELLS]
    assert not set(families[unseen]) & set(families[some])
    assert unseen.sum() > 6000
    other = compute.Board("cifar10", RNG.permutation(board.target), board.columns)
    for line, counts, predictor, own, _ in labels._lines(board, nbr.load()):
        again = next(each[2] for each in labels._lines(other, nbr.load()) if each[0] == line)
        if counts == labels.TRAININGS:
            assert not own
            assert np.array_equal(predictor(some, 0), again(some, 0))
        elif "forest" not in line:
            assert own
            assert statistics.spearman(predictor(some, 0), board.target) > 0.5


def test_a_combination_is_chosen_without_the_half_that_tests_it(board):
    rows = np.flatnonzero(board.scored)
    halves = predict.family_folds(columns.CELLS[rows], 2, EFFORT.generator("cifar10", "halves"))
    target = board.target.copy()
    target[rows[halves == 1]] = RNG.permutation(target[rows[halves == 1]])
    first, second = (
        compute.chosen_on_one_half(compute.Board("cifar10", values, board.columns), EFFORT)[0]
        for values in (board.target, target)
    )
    assert first["line"] == second["line"]
    assert first["cells"] == second["cells"] == (halves == 1).sum()
    assert first["all"] > 0.5 > abs(second["all"])


# ------------------------------------------------------------------ rows


def test_rows_are_their_formulas(board):
    found = compute.leaderboard(board, EFFORT).set_index(["over", "line"])
    assert not found.index.duplicated().any()
    for (over, line), row in found.drop(index="other half", level="over").iterrows():
        column = board.columns[line]
        mask = column.known & (board.scored if over == "scored" else True)
        assert row["cells"] == mask.sum()
        values, target = predict.with_failures_last(column.values[mask]), board.target[mask]
        top = statistics.top_fraction(target, 0.1)
        assert row["all"] == statistics.spearman(values, target)
        assert row["top tenth"] == statistics.spearman(values[top], target[top])
        assert row["recall"] == statistics.top_recall(values, target, int(top.sum()))
        assert row["regret of 10"] == statistics.regret(values, target, 10)
        assert row["all low"] < row["all high"]
        count = board.columns[columns.COUNT].values[mask]
        assert row["all gain"] == row["all"] - statistics.spearman(count, target)
    count = found.loc[("all", columns.COUNT)]
    assert count["all gain low"] == count["all gain high"] == 0


def test_scores_are_turned_and_failures_are_no_gaps(scores):
    raw = pq.read_table(Path(scores) / "cifar10.parquet").to_pandas()
    raw = raw[(raw["score"] == "condition_number") & (raw["kernel"] == "clean")].set_index("index")["value"]
    column = columns._scores(scores)["cifar10"]["condition number (clean)"]
    assert column.known.sum() == len(raw) == 300
    for index, value in raw.items():
        stored = column.values[np.searchsorted(columns.CELLS, index)]
        assert stored == (-value if value == value else -np.inf)  # lower is better


def test_of_several_seeds_the_mean_counts_where_all_cells_have_them():
    rows = pd.DataFrame(
        [(0, 0, 1.0), (1, 0, 2.0), (2, 0, 3.0), (0, 1, 3.0), (1, 1, np.nan), (2, 1, 5.0), (0, 2, 90.0)],
        columns=["index", "seed", "value"],
    ).assign(index=lambda frame: columns.CELLS[frame["index"]], seconds=2.0)
    column = columns._column_of(columns.Name("", "", "naswot"), rows)
    assert column.values[:3].tolist() == [2.0, -np.inf, 4.0]
    assert np.isnan(column.values[3:]).all()
    assert column.seconds == 4


def test_it_says_whether_what_was_aimed_at_holds():
    row = {"over": "all", "line": rules.MOONSHOT.name, "dataset": "cifar10"}
    found = conclude.moonshot(
        pd.DataFrame([{**row, "all": 0.96, "top half": 0.5, "top tenth": 0.65, "recall": 0.7999}])
    )
    assert found[:4] == [
        "cifar10, all: 0.960, aimed at 0.95: holds",
        "cifar10, top half: 0.500, aimed at 0.88: does not hold, by 0.380",
        "cifar10, top tenth: 0.650, aimed at 0.65: holds",
        "cifar10, recall: 0.800, aimed at 0.80: does not hold, by 0.000",
    ]
    assert found[4] == "cifar100: not known, since a column of the rule is missing"


def test_the_program_writes_and_prints_what_it_found(call, scores, tmp_path):
    options = ("--published", "digits", "--scores", scores, "--resamples", 3, "--repeats", 1, "--out", tmp_path)
    done = call("predictors", *options)
    assert done.code == 0, done.err
    found = pd.read_csv(tmp_path / "predictors_leaderboard.csv").set_index(["dataset", "line"])
    held_out = found.loc[compute.HELD_OUT]["all"]
    smoothed = held_out["digits, smoothed, test and validation images"]
    assert smoothed > held_out["digits, test and validation images"] > held_out["digits"] > held_out["structure count"]
    assert f"| digits, smoothed, test and validation images | .{1000 * smoothed:.0f}/" in done.out
    curves = pd.read_csv(tmp_path / "predictors_curves.csv").set_index(["line", "labels"])["all"]
    assert curves["labels: structure", 400] > curves["labels: structure", 20]
    assert "- cifar10: not known" in done.out


# ------------------------------------------------------------------ the page


def test_the_page_has_the_tables_of_the_results():
    results = ANALYSIS / "results"
    board, curves = (pd.read_csv(results / f"predictors_{name}.csv") for name in ("leaderboard", "curves"))
    page = (ANALYSIS.parent / "docs" / "predict.md").read_text()
    for lines in (conclude.everywhere(board), conclude.where_scored(board), conclude.held_out(board)):
        assert "\n".join(lines) in page
    assert "\n".join(conclude.few_labels(curves)) in page
    for sentence in conclude.moonshot(board):
        assert f"- {sentence}" in page
    said = (ANALYSIS / "predictors" / "README.md").read_text()
    entries = re.findall(r"[.]\d{3}/[.]\d{3}/-?[.]\d{3}, [.]\d\d", said)
    assert len(entries) >= 9
    assert all(f"| {entry} |" in page for entry in entries)
    packaged = board[(board["over"] == "all") & (board["line"] == "log ranks: digits, smoothed + structure count")]
    assert len(packaged) == 3
    assert (packaged[[f"{subset} gain low" for subset in compute.SUBSETS]] > 0).all(axis=None)
    assert (packaged.set_index("dataset")["regret of 10"][["cifar10", "cifar100"]] == 0).all()
    scored = board[(board["over"] == "scored") & (board["dataset"] == "cifar10")].set_index("line")
    proxies = set(scored.index) - {rule.name for rule in rules.RULES}
    assert scored.loc[sorted(proxies), "all"].idxmax() == "meco"
    every = scored[scored.index.str.startswith("log ranks: every proxy")]
    assert (every["all gain low"] > 0).all()
    assert (every["top tenth gain high"] < 0).all()
    chosen = board[board["line"].str.startswith("chosen on one half")]
    assert len(chosen) == 4
    assert (chosen["all gain low"] > 0).all()
    assert not (chosen["top tenth gain low"] > 0).any()
