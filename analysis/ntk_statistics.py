"""Every rank correlation between scores and accuracies, with intervals: the numbers of ntk_correlation.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from ntk_scores import Data, Floats, Name, Target

from nasbench_robust import statistics as st
from nasbench_robust.statistics import noise

Mask = npt.NDArray[np.bool_]
TOP = {"top half": 0.5, "top tenth": 0.1}
KEYS = ["dataset", "metric", "subset", "kernel", "attack", "score", "direction", "failures", "cells", "failed"]
VALUES = ["spearman", "low", "high", "parameters", "gain", "gain_low", "gain_high"]
VALUES += ["given_parameters", "given_low", "given_high", "kendall", "kendall_parameters"]
SEEDS = ["seeds", "seed_cells", "seed_mean", "seed_sd", "between_seeds"]
NONE, LAST, LEFT_OUT = "none", "last", "left out"
_CHUNK = 48  # scores whose resamples are in memory at once


@dataclass(frozen=True)
class Effort:
    """How many resamples are drawn, and from which seed."""

    resamples: int
    seed: int


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
    results = pd.DataFrame(rows, columns=[*KEYS, *VALUES])
    place = ["dataset", "metric", "subset", "kernel", "attack", "score"]
    spread = pd.DataFrame(seed_spread(data), columns=[*place, *SEEDS])
    return results.merge(spread, how="left", on=place)


# ------------------------------------------------------------------ which cells


def groups(data: Data) -> list[Group]:
    """Return all scores over all cells, failures being last; then scores that fail on the same cells, without these."""
    everywhere = np.ones(len(data.index), bool)
    names = list(data.scores)
    failed = {name: np.isnan(column) for name, column in data.scores.items()}
    whole = Group(
        everywhere,
        names,
        [LAST if failed[name].any() else NONE for name in names],
        np.array([failures_last(data.scores[name]) for name in names]),
    )
    patterns: dict[bytes, list[Name]] = {}
    for name in names:
        if failed[name].any():
            patterns.setdefault(failed[name].tobytes(), []).append(name)
    parts = [
        Group(~failed[same[0]], same, [LEFT_OUT] * len(same), np.array([data.scores[name] for name in same]))
        for same in patterns.values()
    ]
    return [whole, *parts]


def failures_last(column: Floats) -> Floats:
    """Return a column in which cells without a value share the rank below all others."""
    failed = np.isnan(column)
    worst = np.min(column[~failed], initial=np.inf)
    return np.where(failed, np.nextafter(worst, -np.inf) if np.isfinite(worst) else 0.0, column)


# ------------------------------------------------------------------ correlations


def _rows(data: Data, group: Group, subset: str, effort: Effort) -> Iterator[dict[str, object]]:
    if subset in TOP:
        for target, column in data.targets.items():
            yield from _block(data, group, (subset, st.top_fraction(column, TOP[subset])), [target], effort)
    else:
        inside = data.connected if subset == "connected" else np.ones(len(data.index), bool)
        yield from _block(data, group, (subset, inside), list(data.targets), effort)


def _block(
    data: Data, group: Group, where: tuple[str, Mask], targets: list[Target], effort: Effort
) -> Iterator[dict[str, object]]:
    """Yield the rows of a group of scores over a subset: its name and which cells are inside."""
    subset, inside = where
    mask = inside & group.cells
    if mask.sum() < 3:
        return
    aims = np.array([data.targets[target][mask] for target in targets])
    columns, parameters = group.columns[:, mask], data.parameters[mask]
    rho = correlate(np.vstack([aims, parameters]), columns)
    base = correlate(aims, parameters[None])[:, 0]
    # Intervals cost most: every target gets them over all cells, the headlines everywhere.
    wide = subset == "all" and group.cells.all()
    chosen = [place for place, target in enumerate(targets) if wide or target in data.headlines]
    bounds = intervals(aims[chosen], columns, parameters, _generator(effort, subset, targets), effort.resamples)
    for place, target in enumerate(targets):
        given = st.partial_correlation(rho[place], rho[-1], base[place])
        headline = target in data.headlines
        for position in range(len(group.names)):
            row = {"dataset": target[0], "metric": target[1], "subset": subset, **_key(data, group, position, inside)}
            row |= {"spearman": rho[place, position], "parameters": base[place]}
            row |= {"gain": rho[place, position] - base[place], "given_parameters": given[position]}
            if place in chosen:
                row |= dict(zip(_BOUNDS, bounds[chosen.index(place), position], strict=True))
            if headline:
                row["kendall"] = st.kendall(columns[position], aims[place])
                row["kendall_parameters"] = st.kendall(parameters, aims[place])
            yield row


def _key(data: Data, group: Group, position: int, inside: Mask) -> dict[str, object]:
    name = group.names[position]
    return {
        **name._asdict(),
        "direction": name.direction,
        "failures": group.failures[position],
        "cells": int((inside & group.cells).sum()),
        "failed": int(np.isnan(data.scores[name][inside]).sum()),
    }


def _generator(effort: Effort, subset: str, targets: list[Target]) -> np.random.Generator:
    """Return draws of its own for every comparison, so that it does not depend on which others are made."""
    place = " ".join(targets[0]) if subset in TOP else ""
    return np.random.default_rng([effort.seed, *f"{place} {subset}".encode()])


def correlate(some: Floats, others: Floats) -> Floats:
    """Return Spearman's rho between rows, shape (some, others); nan for a constant row."""
    first, second = (np.array([_standard_ranks(row) for row in rows]) for rows in (some, others))
    found: Floats = np.clip(first @ second.T, -1, 1)
    return found


def _standard_ranks(row: Floats) -> Floats:
    ranks = st.ranks(row) - (len(row) + 1) / 2
    norm = np.linalg.norm(ranks)
    standard: Floats = ranks / norm if norm else np.full(len(row), np.nan)
    return standard


_BOUNDS = ("low", "high", "gain_low", "gain_high", "given_low", "given_high")


def intervals(aims: Floats, columns: Floats, baseline: Floats, rng: np.random.Generator, resamples: int) -> Floats:
    """Return the bounds named in _BOUNDS for every target and score, shape (targets, scores, 6)."""
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
                given = st.partial_correlation(rho, drawn[:, last, position], base)
                found = [bound for values in (rho, rho - base, given) for bound in st.percentile_interval(values)]
                bounds[place, start + position - last - 1] = found
    return bounds


# ------------------------------------------------------------------ seeds


def seed_spread(data: Data) -> Iterator[dict[str, object]]:
    """Yield how the correlations differ between initial weights, over the cells for which every seed has a value."""
    if len(data.seeds) < 2:
        return
    for name, runs in data.runs.items():
        both = ~np.isnan(runs).any(axis=1)
        if both.sum() < 3:
            continue
        rho = correlate(np.array([column[both] for column in data.targets.values()]), runs[both].T)
        between = noise.seed_correlation(runs[both])
        for target, values in zip(data.targets, rho, strict=True):
            yield {
                "dataset": target[0],
                "metric": target[1],
                "subset": "all",
                **name._asdict(),
                "seeds": len(data.seeds),
                "seed_cells": int(both.sum()),
                "seed_mean": values.mean(),
                "seed_sd": values.std(ddof=1),
                "between_seeds": between,
            }
