"""The leaderboard: every line against the accuracies of one data set, with intervals over functional families."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import cells, predict
from nasbench_robust import statistics as st
from predictors.columns import CELLS, COUNT, DIGITS_METRIC, Column, columns_for
from predictors.rules import DIGITS, RULES, SMOOTHED
from tables import Floats, Mask

TARGETS = {"cifar10": "pgd_acc@8/255", "cifar100": "pgd_acc@8/255", "ImageNet16-120": "pgd_acc@8/255"}
SUBSETS = {"all": 1.0, "top half": 0.5, "top tenth": 0.1}
ALL, SCORED, OTHER_HALF = "all", "scored", "other half"
HELD_OUT = "digits, seed held out"
GREEDY = 4  # columns of a combination that is chosen on one half
KEYS = ["dataset", "over", "line"]
FAMILY = cells.families()[CELLS]


@dataclass(frozen=True)
class Effort:
    """How many resamples are drawn and how often few labels, and from which seed."""

    resamples: int
    repeats: int
    seed: int

    def generator(self, *purpose: object) -> np.random.Generator:
        """Return draws that do not depend on what else is computed."""
        return np.random.default_rng([self.seed, *" ".join(map(str, purpose)).encode()])


@dataclass(frozen=True)
class Board:
    """A data set: what is to be predicted, and what may predict it."""

    dataset: str
    target: Floats  # shape (6466,), nan where there is none
    columns: dict[str, Column]

    @property
    def scored(self) -> Mask:
        """The cells that all proxies have: over them all lines can be compared."""
        proxies = [column.known for column in self.columns.values() if column.proxy]
        return np.all([~np.isnan(self.target), *proxies], axis=0)


def boards(published: nbr.Benchmark, digits: nbr.Benchmark, scores: str) -> Iterator[Board]:
    """Yield the data sets of the leaderboard; of both tables those that they have."""
    for dataset, metric in {**TARGETS, "digits": DIGITS_METRIC}.items():
        bench = digits if dataset == "digits" else published
        if dataset in bench.datasets:
            target = bench.values(dataset, metric)[CELLS]
            yield Board(dataset, target, columns_for(dataset, bench, digits, scores))
    yield held_out_seed(digits)


def held_out_seed(digits: nbr.Benchmark) -> Board:
    """Return digits accuracies of the last seed, and what the other seeds say of them: which smoothing is best."""
    *others, last = max(digits.measured("digits").values(), key=len)

    def told(metric: str) -> Floats:
        runs = [digits.values("digits", metric, seed=seed)[CELLS] for seed in others]
        return predict.normal_scores(np.mean(runs, axis=0))

    metrics = [metric.column for metric, seeds in digits.measured("digits").items() if set(others) <= set(seeds)]
    test, both = told(DIGITS_METRIC), told(DIGITS_METRIC) + told(f"{DIGITS_METRIC}#validation")
    every, smoothed = np.mean([told(metric) for metric in metrics], axis=0), DIGITS + SMOOTHED
    columns = {
        COUNT: predict.structure_count()[CELLS],
        DIGITS: test,
        f"{DIGITS}, test and validation images": both,
        smoothed: predict.smooth(CELLS, test)[CELLS],
        f"{smoothed}, test and validation images": predict.smooth(CELLS, both)[CELLS],
        f"{smoothed}, all metrics and images": predict.smooth(CELLS, every)[CELLS],
        f"{smoothed}, test and validation images, out of fold": predict.smooth_out_of_fold(
            CELLS, both, rng=np.random.default_rng(0)
        ),
    }
    target = digits.values("digits", DIGITS_METRIC, seed=last)[CELLS]
    return Board(HELD_OUT, target, {name: Column(values, 0.0, "digits") for name, values in columns.items()})


def leaderboard(board: Board, effort: Effort) -> pd.DataFrame:
    """Return one row per line and set of cells: all that it has a value for, and those that all proxies have."""
    rows = []
    groups: dict[bytes, tuple[Mask, dict[str, Column]]] = {}
    for name, column in board.columns.items():
        own = column.known & ~np.isnan(board.target)
        for mask in (own, own & board.scored):
            if mask.sum() >= 30:
                groups.setdefault(mask.tobytes(), (mask, {}))[1][name] = column
    for mask, lines in groups.values():
        over = ALL if mask.all() else SCORED if (mask == board.scored).all() else "own"
        values = {name: column.values[mask] for name, column in lines.items()}
        about = {name: (column.seconds, column.tuned) for name, column in lines.items()}
        rows += evaluate(board, over, mask, values, about, effort)
    if any(column.proxy for column in board.columns.values()):
        rows += chosen_on_one_half(board, effort)
    return pd.DataFrame(rows).sort_values([*KEYS[:2], "all"], ascending=[True, True, False], kind="stable")


def evaluate(
    board: Board,
    over: str,
    mask: Mask,
    lines: dict[str, Floats],
    about: dict[str, tuple[float, str]],
    effort: Effort,
) -> list[dict[str, Any]]:
    """Return the rows of lines over some cells, beside the structure count over the same ones."""
    target, count = board.target[mask], board.columns[COUNT].values[mask]
    ready = {name: predict.with_failures_last(values) for name, values in lines.items()}
    rows = {name: {"dataset": board.dataset, "over": over, "line": name, "cells": int(mask.sum())} for name in lines}
    for subset, fraction in SUBSETS.items():
        top = st.top_fraction(target, fraction)
        drawn = st.bootstrap_spearman(
            [target[top], count[top], *(values[top] for values in ready.values())],
            rng=effort.generator(board.dataset, over, subset),
            resamples=effort.resamples,
            against=1,
            groups=FAMILY[mask][top],
        )[:, 0, 1:]
        for position, (name, values) in enumerate(ready.items(), 1):
            low, high = st.percentile_interval(drawn[:, position])
            gain_low, gain_high = st.percentile_interval(drawn[:, position] - drawn[:, 0])
            rho = st.spearman(values[top], target[top])
            rows[name] |= {subset: rho, f"{subset} low": low, f"{subset} high": high}
            rows[name] |= {f"{subset} gain": rho - st.spearman(count[top], target[top])}
            rows[name] |= {f"{subset} gain low": gain_low, f"{subset} gain high": gain_high}
    for name, values in ready.items():
        seconds, tuned = about[name]
        rows[name] |= {**picks(values, target), "seconds": seconds, "tuned on": tuned}
    return list(rows.values())


def picks(values: Floats, target: Floats) -> dict[str, float]:
    """Return how much of the best tenth a line finds, and what training its first cells alone would lose."""
    tenth = int(st.top_fraction(target, 0.1).sum())
    recall = st.top_recall(values, target, tenth)
    return {"recall": recall, **{f"regret of {k}": st.regret(values, target, k) for k in (1, 10)}}


def chosen_on_one_half(board: Board, effort: Effort) -> list[dict[str, Any]]:
    """Return what a mean rank that was chosen on one half of the families is worth on the other one."""
    mask = board.scored
    rules = {rule.name for rule in RULES}
    candidates = {
        name: column for name, column in board.columns.items() if name not in rules and column.known[mask].all()
    }
    rows = np.flatnonzero(mask)
    first = predict.family_folds(CELLS[rows], 2, effort.generator(board.dataset, "halves")) == 0
    ready = {name: st.ranks(predict.with_failures_last(column.values[rows])) for name, column in candidates.items()}
    target, chosen, best = board.target[rows], list[str](), -np.inf
    while len(chosen) < GREEDY:
        sums = {name: sum(ready[each][first] for each in [*chosen, name]) for name in ready if name not in chosen}
        worth = {name: st.spearman(values, target[first]) for name, values in sums.items()}
        name = max(worth, key=lambda name: worth[name])
        if worth[name] <= best:
            break
        chosen, best = [*chosen, name], worth[name]
    label = f"chosen on one half: {' + '.join(chosen)}"
    other = np.zeros(len(CELLS), bool)
    other[rows[~first]] = True
    values = sum(ready[name][~first] for name in chosen)
    seconds = sum(candidates[name].seconds for name in chosen)
    lines = {label: values, COUNT: board.columns[COUNT].values[other]}
    about = {label: (seconds, f"{board.dataset}, {int(first.sum())} labels"), COUNT: (0.0, board.columns[COUNT].tuned)}
    return evaluate(board, OTHER_HALF, other, lines, about, effort)
