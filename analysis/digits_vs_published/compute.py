"""Every test column of the digits table against every column of the published one, and against what costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from nasbench_robust import statistics as st
from nasbench_robust.statistics import noise
from tables import Floats, Mask, Tables, Target

SUBSETS = {"all": 1.0, "top half": 0.5, "top tenth": 0.1}
KEYS = ["dataset", "metric", "subset", "predictor", "statistic"]
TARGET = ("cifar10", "pgd_acc@8/255")
Row = tuple[int, str, str, float, float | None, float | None]  # cells, predictor, statistic, value, low, high


@dataclass(frozen=True)
class Effort:
    """How many resamples are drawn, and from which seed."""

    resamples: int
    kendall_resamples: int
    seed: int


def compare(tables: Tables, effort: Effort) -> pd.DataFrame:
    """Return every statistic of every comparison, one per row."""
    rows: list[tuple[Any, ...]] = []
    for (dataset, metric), target in tables.targets.items():
        for subset, fraction in SUBSETS.items():
            chosen = st.top_fraction(target, fraction)
            # Every comparison has draws of its own, so that it does not depend on which others are made.
            rng = np.random.default_rng([effort.seed, *f"{dataset} {metric} {subset}".encode()])
            place = (dataset, metric, subset)
            rows += [(*place, *row) for row in correlations(tables, target, chosen, effort, rng)]
            rows += [(*place, *row) for row in noises(tables, (dataset, metric), chosen)]
        rows += [(dataset, metric, "all", *row) for row in picks(tables, target)]
    return pd.DataFrame(rows, columns=[*KEYS[:3], "cells", *KEYS[3:], "value", "low", "high"])


def correlations(
    tables: Tables, target: Floats, chosen: Mask, effort: Effort, rng: np.random.Generator
) -> Iterator[Row]:
    """Yield the rank correlations of one published column with every predictor, over the chosen cells."""
    proxies = {name: column[chosen] for name, column in predictors(tables).items()}
    aim, count = target[chosen], int(chosen.sum())
    drawn = st.bootstrap_spearman([aim, *proxies.values()], rng=rng, resamples=effort.resamples)
    parameters = proxies["parameters"]
    rho = {name: st.spearman(column, aim) for name, column in proxies.items()}
    last = 1 + list(proxies).index("parameters")
    for position, (name, column) in enumerate(proxies.items(), 1):
        yield count, name, "spearman", rho[name], *st.percentile_interval(drawn[:, 0, position])
        if name in tables.baselines:
            continue
        gain = drawn[:, 0, position] - drawn[:, 0, last]
        yield count, name, "spearman - parameters", rho[name] - rho["parameters"], *st.percentile_interval(gain)
        if name in tables.digits:
            partial = st.partial_correlation(drawn[:, 0, position], drawn[:, position, last], drawn[:, 0, last])
            value = st.partial(column, aim, parameters)
            yield count, name, "spearman given parameters", value, *st.percentile_interval(partial)
            yield count, name, "kendall given parameters", st.partial(column, aim, parameters, st.kendall), None, None
    for name, column in proxies.items():
        if name in tables.digits or name == "parameters":
            interval = st.bootstrap(st.kendall, column, aim, rng=rng, resamples=effort.kendall_resamples)
            yield count, name, "kendall", interval.value, interval.low, interval.high
        else:
            yield count, name, "kendall", st.kendall(column, aim), None, None
    yield from single_seeds(tables, target, chosen)


def predictors(tables: Tables) -> dict[str, Floats]:
    """Return what may predict: digits metrics, baselines, and each digits metric together with the parameter count."""
    parameters = tables.baselines["parameters"]
    both = {f"{name} + parameters": st.mean_rank(column, parameters) for name, column in tables.digits.items()}
    return {**tables.digits, **tables.baselines, **both}


def single_seeds(tables: Tables, target: Floats, chosen: Mask) -> Iterator[Row]:
    """Yield the correlation of every single seed of the digits table, over the chosen cells that have it."""
    for name, runs in tables.runs.items():
        for seed, column in zip(tables.seeds, runs.T, strict=True):
            both = chosen & ~np.isnan(column)
            if both.sum() >= 3:
                value = st.spearman(column[both], target[both])
                yield int(both.sum()), f"{name}, seed {seed}", "spearman", value, None, None


def noises(tables: Tables, aim: Target, chosen: Mask) -> Iterator[Row]:
    """Yield the noise of the published column and of the digits columns, and the correlation that it allows."""
    count, target = int(chosen.sum()), tables.targets[aim][chosen]
    # Few cells have few twins among them, so those of the whole published table in the same range are taken.
    whole = tables.published[aim[0]][aim[1]].dropna()
    whole = whole[whole >= target.min()]
    twins = noise.twin_noise(whole.index.to_numpy(), whole)
    steady = noise.reliability(twins.sd, target)
    yield count, "published", "twin sd", twins.sd, None, None
    yield count, "published", "reliability", steady, None, None
    yield count, "parameters", "ceiling", noise.ceiling(steady), None, None
    for name, column in tables.digits.items():
        runs = tables.runs[name][chosen]
        seeds = noise.seed_noise(runs) if runs.shape[1] else noise.Noise(np.nan, 0, 0)
        own = noise.reliability(seeds.sd, column[chosen])
        between = noise.seed_correlation(runs) if runs.shape[1] else np.nan
        runs_each = float((~np.isnan(runs)).sum(axis=1).mean())
        for statistic, value in (
            ("twin sd", noise.twin_noise(tables.index[chosen], column[chosen]).sd),
            ("seed sd", seeds.sd),
            ("reliability", own),
            ("spearman between seeds", between),
            ("split-half reliability", noise.spearman_brown(between, runs_each)),
            ("ceiling", noise.ceiling(own, steady)),
        ):
            yield count, name, statistic, value, None, None


def picks(tables: Tables, target: Floats) -> Iterator[Row]:
    """Yield what picking by a predictor finds and loses, over all cells."""
    count = len(target)
    tenth = max(1, count // 10)
    for name, column in predictors(tables).items():
        yield count, name, "recall of the best tenth", st.top_recall(column, target, tenth), None, None
        for k in (1, 10):
            yield count, name, f"regret of the best of {k}", st.regret(column, target, k), None, None
    for k in (1, 10):
        yield count, "chance", f"regret of the best of {k}", st.regret(np.zeros(count), target, k), None, None


class Headline:
    """Look-up of single statistics about the headline: one published column, one digits column."""

    def __init__(self, tables: Tables, results: pd.DataFrame) -> None:
        self.target = TARGET if TARGET in tables.targets else next(iter(tables.targets))
        self.digits, self.both = tables.headline, f"{tables.headline} + parameters"
        self.subsets = list(dict.fromkeys(results["subset"]))
        self._rows = results.set_index(KEYS).sort_index()
        one, other = (st.ranks(column) for column in tables.baselines.values())
        self.one_baseline = bool((one == other).all())  # whether FLOPs rank the cells exactly as parameters do

    def cells(self, subset: str) -> int:
        """Return how many cells a subset has."""
        return int(self._row(subset, "parameters", "spearman")["cells"])

    def interval(self, subset: str, predictor: str, statistic: str) -> st.Interval:
        """Return value and bounds."""
        row = self._row(subset, predictor, statistic)
        return st.Interval(row["value"], row["low"], row["high"])

    def value(self, subset: str, predictor: str, statistic: str) -> float:
        """Return the value alone."""
        return float(self._row(subset, predictor, statistic)["value"])

    def _row(self, subset: str, predictor: str, statistic: str) -> pd.Series[Any]:
        return self._rows.loc[(*self.target, subset, predictor, statistic)]
