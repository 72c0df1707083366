"""How far a few labels go: learning curves over digits trainings and over published accuracies, and a ceiling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

import nasbench_robust as nbr
from nasbench_robust import cells, predict
from nasbench_robust import statistics as st
from predictors.columns import CELLS, COUNT, DIGITS_METRIC
from predictors.compute import SUBSETS, Board, Effort, picks
from predictors.rules import MOONSHOT
from tables import Floats, Mask

TRAININGS, LABELS, CEILING = (50, 100, 200, 400, 800), (20, 50, 100, 200, 400), 1024
NOISE = 0.1  # of one accuracy in normal scores: what the digits table makes most likely, and too much for few to tell
Predictor = Callable[[np.ndarray, int], Floats]  # from rows that are labelled and a seed to values of all rows


def learning_curves(board: Board, digits: nbr.Benchmark, effort: Effort) -> pd.DataFrame:
    """Return means and standard deviations over repeats, one row for each line and number of labels."""
    rows = [
        {**_repeated(board, line, count, predictor, own, effort), "seconds per label": seconds}
        for line, counts, predictor, own, seconds in _lines(board, digits)
        for count in counts
    ]
    return pd.DataFrame(rows)


def _lines(board: Board, digits: nbr.Benchmark) -> Iterator[tuple[str, tuple[int, ...], Predictor, bool, float]]:
    """Yield lines, how many labels they have, and whether the labels are of the data set itself."""
    features, target, count = predict.features()[CELLS], board.target, board.columns[COUNT].values
    if board.dataset != "digits":
        # One training each, as whoever can afford few would do; the published accuracies are not looked at.
        one = predict.normal_scores(digits.values("digits", DIGITS_METRIC, seed=0)[CELLS])
        seconds = float(np.nanmean(digits.values("digits", "train_seconds")))

        def from_digits(some: np.ndarray, _: int) -> Floats:
            smoothed = predict.Posterior(features[some], one[some], noise=NOISE).mean(features)
            return predict.log_rank_sum(smoothed, count)

        yield "digits trainings + structure count", TRAININGS, from_digits, False, seconds
    best = board.columns.get(MOONSHOT.name)
    trend = predict.normal_scores(count if best is None else best.values)[:, None]

    def from_structure(some: np.ndarray, _: int) -> Floats:
        return predict.Posterior(features[some], predict.normal_scores(target[some]), noise=NOISE).mean(features)

    def from_ranking(some: np.ndarray, _: int) -> Floats:
        labels = predict.normal_scores(target[some])
        return predict.Posterior(features[some], labels, noise=NOISE, trend=trend[some]).mean(features, trend)

    yield "labels: structure", LABELS, from_structure, True, np.nan
    name = "structure count" if best is None else "label-free ranking"
    yield f"labels: structure + {name}", LABELS, from_ranking, True, np.nan
    forest_features = graf_like()

    def from_forest(some: np.ndarray, seed: int) -> Floats:
        forest = RandomForestRegressor(100, max_features=1 / 3, random_state=seed, n_jobs=1)
        return np.asarray(forest.fit(forest_features[some], target[some]).predict(forest_features))

    yield "labels: random forest on GRAF-like features", (*LABELS, CEILING), from_forest, True, np.nan


def graf_like() -> Floats:
    """Return counts of operations, paths and degrees, as GRAF (Kadlecova et al., ICML 2024) has them; shape (6466, d).

    Live operations by edge, counts of all paths and of `structure`, and how many convolutions, of either kind, enter
    and leave each node.
    """
    live = predict.live_operations()[CELLS]
    hot = (live[:, :, None] == np.arange(1, len(cells.OPERATIONS))).astype(float)
    degrees = [hot[:, [edge[end] == node for edge in cells.EDGES]].sum(axis=1) for end in (0, 1) for node in range(4)]
    counts = np.stack(list(predict.structure().values()), axis=1)[CELLS]
    return np.hstack([hot.reshape(len(live), -1), *degrees, counts, predict.path_counts()[CELLS]])


def _repeated(board: Board, line: str, count: int, predictor: Predictor, own: bool, effort: Effort) -> dict[str, Any]:
    """Return how well the cells are ranked that are no labelled cell's twins, over repeated draws of these."""
    found = []
    labelled = np.flatnonzero(~np.isnan(board.target))
    for repeat in range(effort.repeats):
        some = effort.generator(board.dataset, "labels", repeat).permutation(labelled)[:count]
        values = predictor(some, repeat)
        found.append(_judge(values, board.target, _unseen(some, board.target) if own else ~np.isnan(board.target)))
    table = pd.DataFrame(found)
    spread = table.std(ddof=1) if len(table) > 1 else table.mean() * np.nan
    row = {"dataset": board.dataset, "line": line, "labels": count, "repeats": effort.repeats}
    return {**row, **table.mean().to_dict(), **spread.add_suffix(" sd").to_dict()}


def _unseen(some: np.ndarray, target: Floats) -> Mask:
    families = cells.families()[CELLS]
    return ~np.isin(families, families[some]) & ~np.isnan(target)


def _judge(values: Floats, target: Floats, mask: Mask) -> dict[str, float]:
    values, target = values[mask], target[mask]
    tops = {subset: st.top_fraction(target, fraction) for subset, fraction in SUBSETS.items()}
    rho = {subset: st.spearman(values[top], target[top]) for subset, top in tops.items()}
    return {**rho, **picks(values, target)}
