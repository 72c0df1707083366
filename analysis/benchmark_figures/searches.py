"""What searches find in the published table, on every data set and by both criteria (table 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

import nasbench_robust as nbr
from benchmark_figures.compute import CLEAN, ROBUST
from nasbench_robust import search
from tables import test_metrics

METHODS = {
    "random search": search.RandomSearch,
    "local search": search.LocalSearch,
    "regularised evolution": search.RegularisedEvolution,
}
RESNET = 11472  # the cell with the residual block's operations


@dataclass(frozen=True)
class Effort:
    """How often every method searches, for how many queries, from which seed."""

    repeats: int
    queries: int
    seed: int


def found(bench: nbr.Benchmark, effort: Effort) -> pd.DataFrame:
    """Return the mean accuracies of what is found, and those of the best cell and of the ResNet-like one."""
    return pd.DataFrame([row for name in bench.datasets for row in _rows(bench, name, effort)])


def _rows(bench: nbr.Benchmark, name: str, effort: Effort) -> Iterator[dict[str, Any]]:
    judges = test_metrics(bench, name)
    for criterion in (CLEAN, ROBUST):
        problem = search.TableProblem(bench, criterion, name, split="test")
        place = {"dataset": name, "criterion": criterion}
        for method, make in METHODS.items():
            budget = search.Budget(queries=effort.queries)
            done = search.repeat(problem, make, budget, repeats=effort.repeats, seed=effort.seed)
            best = np.array([each.incumbents[-1] for each in done.trajectories])
            means = {judge: problem.judge(judge)[best].mean() for judge in judges}
            spread = {"sd": problem.judge(criterion)[best].std()}  # of the criterion, between searches
            yield {**place, "method": method, "queries": effort.queries, "repeats": effort.repeats, **means, **spread}
        for method, index in (("optimal", int(np.nanargmax(problem.means[:, 0]))), ("ResNet-like", RESNET)):
            yield {**place, "method": method, **{judge: float(problem.judge(judge)[index]) for judge in judges}}
