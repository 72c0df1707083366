"""Three numbers of the kernels against accuracies: whether kernels of attacked images rank cells better."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kernels.compute import PLACE, SEEDS, Effort, beside, correlate, failures_last, intervals, seed_spread
from kernels.scores import Data, Name
from nasbench_robust.errors import InvalidValueError, MissingResultError
from nasbench_robust.metrics import parse_eps
from tables import Floats

KERNELS = ("clean", "robust", "cross", "robust_twice")
SCALARS = {  # a cross kernel is not symmetric: its smallest singular value stands for the minimum eigenvalue
    "minimum eigenvalue": dict.fromkeys(KERNELS, "minimum_eigenvalue") | {"cross": "smallest_singular_value"},
    "Frobenius norm": dict.fromkeys(KERNELS, "frobenius_norm"),
    "condition number": dict.fromkeys(KERNELS, "condition_number"),
}
COLUMNS = ["dataset", "metric", "bn", "attack", "scalar", "kernel", "cells", "failed", "spearman", "low", "high"]
COLUMNS += ["minus_clean", "minus_clean_low", "minus_clean_high", "parameters", "seeds_used", *SEEDS]
MINUS_CLEAN = {"gain": "minus_clean", "gain_low": "minus_clean_low", "gain_high": "minus_clean_high"}


def attacks(data: Data) -> list[str]:
    """Return the attacks for which the table has robust kernels, weakest eps first."""
    names = {name.attack for name in data.scores if name.kernel == "robust"}
    if not names:
        raise MissingResultError(f"the table of scores of {data.dataset} has no robust kernel")
    return sorted(names, key=lambda attack: (parse_eps(attack.partition("@")[2]), attack))


def of_modes(tables: list[Data], effort: Effort) -> pd.DataFrame:
    """Return the correlations of several tables, which are of one data set and differ in batch normalisation."""
    if len({data.dataset for data in tables}) > 1 or len({data.bn for data in tables}) < len(tables):
        given = ", ".join(f"{data.dataset} with {data.bn}" for data in tables)
        raise InvalidValueError("scores", given, "tables of one data set, each with another bn")
    return pd.concat([correlations(data, effort) for data in tables], ignore_index=True)


def correlations(data: Data, effort: Effort) -> pd.DataFrame:
    """Return what is drawn, one row per accuracy, attack, scalar and kernel; a cell without a value ranks last."""
    targets = data.own_targets
    aims = np.array([data.targets[target] for target in targets])
    parameters = correlate(aims, data.parameters[None])[:, 0]
    spread = {tuple(row[key] for key in PLACE): row for row in seed_spread(data)}
    rows = []
    for scalar, scores in SCALARS.items():
        names = {
            (attack, kernel): Name(kernel, "" if kernel == "clean" else attack, score)
            for attack in attacks(data)
            for kernel, score in scores.items()
        }
        names = {place: name for place, name in names.items() if name in data.scores}
        columns = np.array([failures_last(data.scores[name]) for name in names.values()])
        clean = _clean(data, scores["clean"])
        # the same resamples for all scalars
        bounds = intervals(aims, columns, clean, effort.generator("figure"), effort.resamples)
        labels = [
            {"attack": attack, "kernel": kernel, "failed": int(np.isnan(data.scores[name]).sum())}
            for (attack, kernel), name in names.items()
        ]
        for place, position, row in beside(targets, aims, columns, clean, bounds):
            row |= {"scalar": scalar, "cells": len(data.index), **labels[position], "parameters": parameters[place]}
            of_seeds = spread.get((*targets[place], "all", *list(names.values())[position]), {})
            row |= {"bn": data.bn, "seeds_used": data.seeds_used, **{name: of_seeds.get(name) for name in SEEDS}}
            rows.append(row)
    return pd.DataFrame(rows).rename(columns=MINUS_CLEAN)[COLUMNS]


def _clean(data: Data, score: str) -> Floats:
    name = Name("clean", "", score)
    if name not in data.scores:
        raise MissingResultError(f"the table of scores of {data.dataset} has no {name}")
    return failures_last(data.scores[name])
