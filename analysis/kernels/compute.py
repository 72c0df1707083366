"""Every rank correlation between scores and accuracies, with intervals, beside that of the parameter count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kernels.scores import Data, Name
from nasbench_robust import statistics as st
from nasbench_robust.statistics import noise
from tables import Floats, Mask, Target

TOP = {"top half": 0.5, "top tenth": 0.1}
PLACE = ["dataset", "metric", "subset", "kernel", "attack", "score"]
KEYS = [*PLACE, "direction", "failures", "cells", "failed"]
VALUES = ["spearman", "low", "high", "parameters", "gain", "gain_low", "gain_high"]
VALUES += ["given_parameters", "given_low", "given_high", "kendall", "kendall_parameters"]
SEEDS = ["seeds", "seed_cells", "seed_mean", "seed_sd", "between_seeds"]
NONE, LAST, LEFT_OUT = "none", "last", "left out"
_BOUNDS = ("low", "high", "gain_low", "gain_high", "given_low", "given_high")
_CHUNK = 48  # scores whose resamples are in memory at once


@dataclass(frozen=True)
class Effort:
    """How many resamples are drawn, and from which seed."""

    resamples: int
    seed: int

    def generator(self, name: str) -> np.random.Generator:
        """Return draws of its own for every comparison, so that it does not depend on which others are made."""
        return np.random.default_rng([self.seed, *name.encode()])


@dataclass(frozen=True)
class Group:
    """Scores that are looked at over the same cells."""

    cells: Mask
    names: list[Name]
    failures: list[str]  # of each: what becomes of cells without a value
    columns: Floats  # shape (scores, all cells), finite over `cells`


def compare(data: Data, effort: Effort) -> pd.DataFrame:
    """Return one row for every target, subset and score; two where a score fails on some cells."""
    subsets = ("all", "connected", *TOP)
    rows = [row for group in groups(data) for subset in subsets for row in _rows(data, group, subset, effort)]
    spread = pd.DataFrame(seed_spread(data), columns=[*PLACE, *SEEDS])
    return pd.DataFrame(rows, columns=[*KEYS, *VALUES]).merge(spread, how="left", on=PLACE)


# ------------------------------------------------------------------ which cells


def groups(data: Data) -> list[Group]:
    """Return all scores over all cells, failures being last; then scores that fail on the same cells, without these."""
    everywhere = np.ones(len(data.index), bool)
    failed = {name: np.isnan(column) for name, column in data.scores.items()}
    failures = [LAST if failed[name].any() else NONE for name in data.scores]
    columns = np.array([failures_last(column) for column in data.scores.values()])
    patterns: dict[bytes, list[Name]] = {}
    for name in data.scores:
        if failed[name].any():
            patterns.setdefault(failed[name].tobytes(), []).append(name)
    parts = [
        Group(~failed[same[0]], same, [LEFT_OUT] * len(same), np.array([data.scores[name] for name in same]))
        for same in patterns.values()
    ]
    return [Group(everywhere, list(data.scores), failures, columns), *parts]


def failures_last(column: Floats) -> Floats:
    """Return a column in which cells without a value share the rank below all others."""
    failed = np.isnan(column)
    worst = np.min(column[~failed], initial=np.inf)
    return np.where(failed, np.nextafter(worst, -np.inf) if np.isfinite(worst) else 0.0, column)


# ------------------------------------------------------------------ correlations


def _rows(data: Data, group: Group, subset: str, effort: Effort) -> Iterator[dict[str, Any]]:
    """Yield the rows of a group of scores over a subset, which is another one for every target if it is its top."""
    if subset in TOP:
        for target, column in data.targets.items():
            yield from _block(data, group, subset, st.top_fraction(column, TOP[subset]), [target], effort)
    else:
        inside = data.connected if subset == "connected" else np.ones(len(data.index), bool)
        yield from _block(data, group, subset, inside, list(data.targets), effort)


def _block(
    data: Data, group: Group, subset: str, inside: Mask, targets: list[Target], effort: Effort
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a group of scores over the cells that are inside a subset."""
    mask = inside & group.cells
    if mask.sum() < 3:
        return
    aims = np.array([data.targets[target][mask] for target in targets])
    columns, parameters = group.columns[:, mask], data.parameters[mask]
    # Intervals cost most: every target gets them over all cells, the headlines everywhere.
    wide = subset == "all" and group.cells.all()
    chosen = [place for place, target in enumerate(targets) if wide or target in data.headlines]
    rng = effort.generator(f"{' '.join(targets[0]) if subset in TOP else ''} {subset}")
    bounds = np.full((len(targets), len(columns), len(_BOUNDS)), np.nan)
    bounds[chosen] = intervals(aims[chosen], columns, parameters, rng, effort.resamples)
    keys = [
        {
            **name._asdict(),
            "direction": name.direction,
            "failures": failures,
            "cells": int(mask.sum()),
            "failed": int(np.isnan(data.scores[name][inside]).sum()),
        }
        for name, failures in zip(group.names, group.failures, strict=True)
    ]
    for place, position, row in beside(targets, aims, columns, parameters, bounds):
        row |= {"subset": subset, **keys[position]}
        if targets[place] in data.headlines:
            row["kendall"] = st.kendall(columns[position], aims[place])
            row["kendall_parameters"] = st.kendall(parameters, aims[place])
        yield row


def beside(
    targets: Sequence[Target], aims: Floats, columns: Floats, parameters: Floats, bounds: Floats
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the positions of every target and score, and how the score ranks beside the parameter count.

    Bounds are those of `intervals`.
    """
    rho = correlate(np.vstack([aims, parameters]), columns)
    base = correlate(aims, parameters[None])
    gain, partial = rho[:-1] - base, st.partial_correlation(rho[:-1], rho[-1], base)
    for place, (dataset, metric) in enumerate(targets):
        for position in range(len(columns)):
            row = {"dataset": dataset, "metric": metric, "spearman": rho[place, position], "parameters": base[place, 0]}
            row |= {"gain": gain[place, position], "given_parameters": partial[place, position]}
            yield place, position, row | dict(zip(_BOUNDS, bounds[place, position], strict=True))


def correlate(some: Floats, others: Floats) -> Floats:
    """Return Spearman's rho between rows, shape (some, others); nan for a constant row."""
    first, second = (np.array([_standard_ranks(row) for row in rows]) for rows in (some, others))
    rho: Floats = np.clip(first @ second.T, -1, 1)
    return rho


def _standard_ranks(row: Floats) -> Floats:
    ranks = st.ranks(row) - (len(row) + 1) / 2
    norm = np.linalg.norm(ranks)
    standard: Floats = ranks / norm if norm else np.full(len(row), np.nan)
    return standard


def intervals(aims: Floats, columns: Floats, baseline: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return for every target and score the bounds of rho, of its gain over the baseline and given the baseline.

    The shape is (targets, scores, 6).
    """
    bounds = np.full((len(aims), len(columns), len(_BOUNDS)), np.nan)
    state, last = rng.bit_generator.state, len(aims)
    if not last:
        return bounds
    for start in range(0, len(columns), _CHUNK):
        rng.bit_generator.state = state  # the same resamples for all chunks
        part = [*aims, baseline, *columns[start : start + _CHUNK]]
        drawn = st.bootstrap_spearman(part, rng=rng, resamples=resamples, against=last + 1)
        for place in range(last):
            base = drawn[:, place, last]
            for position in range(last + 1, len(part)):
                rho = drawn[:, place, position]
                partial = st.partial_correlation(rho, drawn[:, last, position], base)
                pairs = [st.percentile_interval(values) for values in (rho, rho - base, partial)]
                bounds[place, start + position - last - 1] = np.ravel(pairs)
    return bounds


# ------------------------------------------------------------------ seeds


def seed_spread(data: Data) -> Iterator[dict[str, Any]]:
    """Yield how the correlations differ between initial weights, over the cells for which every seed has a value."""
    if len(data.seeds) < 2:
        return
    for name, runs in data.runs.items():
        both = ~np.isnan(runs).any(axis=1)
        if both.sum() < 3:
            continue
        rho = correlate(np.array([column[both] for column in data.targets.values()]), runs[both].T)
        between = noise.seed_correlation(runs[both])
        for (dataset, metric), values in zip(data.targets, rho, strict=True):
            yield {
                **{"dataset": dataset, "metric": metric, "subset": "all", **name._asdict()},
                **{"seeds": len(data.seeds), "seed_cells": int(both.sum())},
                **{"seed_mean": values.mean(), "seed_sd": values.std(ddof=1), "between_seeds": between},
            }
