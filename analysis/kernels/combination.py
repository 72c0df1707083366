"""Mean ranks of a few scores: chosen on half of the digits cells, tested on the other half and on another data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kernels.compute import Effort, beside, correlate, failures_last, intervals
from kernels.scores import Data, Name
from nasbench_robust import statistics as st
from nasbench_robust.errors import MissingResultError, TableError
from nasbench_robust.files import write_bytes
from nasbench_robust.metrics import parse_eps
from nasbench_robust.scores import score_settings_for
from tables import Floats, Mask, Target

SIZE = 3
COLUMNS = ["dataset", "metric", "cells", "combination", "spearman", "low", "high", "parameters"]
COLUMNS += ["gain", "gain_low", "gain_high", "given_parameters", "given_low", "given_high"]


@dataclass(frozen=True)
class Part:
    """A score of a combination; `sign` is -1 where lower is better and no source says so."""

    kernel: str
    attack: str
    score: str
    sign: int

    @property
    def name(self) -> Name:
        """Which score."""
        return Name(self.kernel, self.attack, self.score)

    def __str__(self) -> str:
        return ("" if self.sign > 0 else "less ") + str(self.name)


# ------------------------------------------------------------------ choosing


def halves(data: Data, effort: Effort) -> tuple[Mask, Mask]:
    """Return a random half of the cells, to choose on, and the other half."""
    chosen = np.zeros(len(data.index), bool)
    chosen[effort.generator("halves").permutation(len(chosen))[: len(chosen) // 2]] = True
    return chosen, ~chosen


def choose(data: Data, target: Target, cells: Mask) -> list[Part]:
    """Return scores, the best one first, each of which helps the mean rank most; at most SIZE."""
    aim = data.targets[target][cells]
    columns = dict(_candidates(data, cells))
    parts: list[Part] = []
    best = -np.inf
    while len(parts) < SIZE:
        chosen = [columns[part] for part in parts]
        others = {part: column for part, column in columns.items() if not any((column == one).all() for one in chosen)}
        if not others:
            break
        means = np.array([np.mean([*chosen, column], axis=0) for column in others.values()])
        rho = np.nan_to_num(correlate(aim[None], means)[0], nan=-1.0)
        if rho.max() <= best:
            break
        best = float(rho.max())
        parts.append(list(others)[int(rho.argmax())])
    return parts


def _candidates(data: Data, cells: Mask) -> Iterator[tuple[Part, Floats]]:
    """Yield the ranks of every score that is affordable on natural images too; both ways where no source says which."""
    affordable = score_settings_for("cifar10").proxies
    for name, column in data.scores.items():
        if name.kernel or name.score in affordable:
            for sign in (1,) if name.direction else (1, -1):
                yield Part(*name, sign), st.ranks(failures_last(sign * column)[cells])


# ------------------------------------------------------------------ testing


def evaluate(data: Data, parts: list[Part], cells: Mask, effort: Effort) -> pd.DataFrame:
    """Return how combinations of growing size rank these cells by every accuracy, beside the parameter count."""
    sizes = [parts[:size] for size in range(1, len(parts) + 1)]
    columns = np.array([_combined(data, some, cells) for some in sizes])
    names = [" + ".join(map(str, some)) for some in sizes]
    targets, parameters = data.own_targets, data.parameters[cells]
    aims = np.array([data.targets[target][cells] for target in targets])
    bounds = intervals(aims, columns, parameters, effort.generator("combination"), effort.resamples)
    rows = [
        {**row, "cells": int(cells.sum()), "combination": names[position]}
        for _, position, row in beside(targets, aims, columns, parameters, bounds)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _combined(data: Data, parts: list[Part], cells: Mask) -> Floats:
    """Return the mean rank of some scores, a cell without a value being last."""
    return st.mean_rank(*(failures_last(part.sign * data.scores[part.name])[cells] for part in parts))


# ------------------------------------------------------------------ files


def save(parts: list[Part], target: Target, cells: int, path: Path) -> Path:
    """Write a combination and what it was chosen on."""
    chosen_on = {"dataset": target[0], "metric": target[1], "cells": cells}
    content = {"chosen_on": chosen_on, "scores": [asdict(part) for part in parts]}
    write_bytes((json.dumps(content, indent=2) + "\n").encode(), path)
    return path


def load(path: str | Path, data: Data) -> list[Part]:
    """Return a combination whose scores are named as in this data set.

    Raises
    ------
    TableError
        If the file holds no combination.
    MissingResultError
        If the table of scores lacks one of its scores.
    """
    try:
        listed = json.loads(Path(path).read_text())["scores"]
        parts = [Part(str(one["kernel"]), str(one["attack"]), str(one["score"]), int(one["sign"])) for one in listed]
    except (ValueError, KeyError, TypeError):
        raise TableError(path, "is not a combination of scores as ntk_correlation.py writes it") from None
    if not parts:
        raise TableError(path, "names no score")
    return [_counterpart(part, data) for part in parts]


def _counterpart(part: Part, data: Data) -> Part:
    """Return the same score here: the attack of the same kind with the largest eps, where eps differs."""
    if part.name in data.scores:
        return part
    kind = part.attack.partition("@")[0]
    here = [name for name in data.scores if (name.kernel, name.score) == (part.kernel, part.score)]
    same = [name for name in here if kind and name.attack.partition("@")[0] == kind]
    if not same:
        raise MissingResultError(f"the table of scores has no {part.name}", [str(name) for name in here], "there are")
    return Part(*max(same, key=lambda name: parse_eps(name.attack.partition("@")[2])), part.sign)
