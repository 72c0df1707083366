"""Mean ranks of a few scores: chosen on half of the digits cells, tested on the other half and on another data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ntk_scores import Data, Floats, Name, Target
from ntk_statistics import Effort, Mask, correlate, failures_last, intervals

from nasbench_robust import statistics as st
from nasbench_robust.errors import MissingResultError, TableError
from nasbench_robust.metrics import parse_eps
from nasbench_robust.scores import score_settings_for

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


def halves(data: Data, seed: int) -> tuple[Mask, Mask]:
    """Return a random half of the cells, to choose on, and the other half."""
    chosen = np.zeros(len(data.index), bool)
    rng = np.random.default_rng([seed, *b"halves"])
    chosen[rng.permutation(len(chosen))[: len(chosen) // 2]] = True
    return chosen, ~chosen


def choose(data: Data, target: Target, cells: Mask) -> list[Part]:
    """Return scores, the best one first, each of which helps the mean rank most; at most SIZE."""
    aim = data.targets[target][cells]
    columns = dict(_candidates(data, cells))
    found: list[Part] = []
    best = -np.inf
    while len(found) < SIZE:
        chosen = [columns[part] for part in found]
        others = {part: column for part, column in columns.items() if not any((column == one).all() for one in chosen)}
        if not others:
            break
        means = np.array([np.mean([*chosen, column], axis=0) for column in others.values()])
        rho = np.nan_to_num(correlate(aim[None], means)[0], nan=-1.0)
        if rho.max() <= best:
            break
        best = float(rho.max())
        found.append(list(others)[int(rho.argmax())])
    return found


def _candidates(data: Data, cells: Mask) -> Iterator[tuple[Part, Floats]]:
    """Yield the ranks of every score that is affordable on natural images too; both ways where no source says which."""
    affordable = score_settings_for("cifar10").proxies
    for name, column in data.scores.items():
        if name.kernel or name.score in affordable:
            for sign in (1,) if name.direction else (1, -1):
                yield Part(*name, sign), st.ranks(failures_last(sign * column)[cells])


# ------------------------------------------------------------------ testing


def combine(data: Data, parts: list[Part], cells: Mask) -> Floats:
    """Return the mean rank of some scores, a cell without a value being last."""
    return st.mean_rank(*(failures_last(part.sign * data.scores[part.name])[cells] for part in parts))


def evaluate(data: Data, parts: list[Part], cells: Mask, targets: list[Target], effort: Effort) -> pd.DataFrame:
    """Return how combinations of growing size rank these cells by each target, beside the parameter count."""
    sizes = [parts[:size] for size in range(1, len(parts) + 1)]
    columns = np.array([combine(data, some, cells) for some in sizes])
    parameters = data.parameters[cells]
    aims = np.array([data.targets[target][cells] for target in targets])
    rho = correlate(np.vstack([aims, parameters]), columns)
    base = correlate(aims, parameters[None])[:, 0]
    rng = np.random.default_rng([effort.seed, *b"combination"])
    bounds = intervals(aims, columns, parameters, rng, effort.resamples)
    rows = []
    for place, target in enumerate(targets):
        given = st.partial_correlation(rho[place], rho[-1], base[place])
        for position, some in enumerate(sizes):
            low, high, gain_low, gain_high, given_low, given_high = bounds[place, position]
            value = rho[place, position]
            row = [*target, int(cells.sum()), " + ".join(map(str, some)), value, low, high, base[place]]
            rows.append([*row, value - base[place], gain_low, gain_high, given[position], given_low, given_high])
    return pd.DataFrame(rows, columns=COLUMNS)


# ------------------------------------------------------------------ files


def save(parts: list[Part], target: Target, cells: int, path: Path) -> None:
    """Write a combination and what it was chosen on."""
    facts = {
        "chosen_on": {"dataset": target[0], "metric": target[1], "cells": cells},
        "scores": [asdict(part) for part in parts],
    }
    path.write_text(json.dumps(facts, indent=2) + "\n")


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
    return Part(*max(same, key=lambda name: _eps(name.attack)), part.sign)


def _eps(attack: str) -> float:
    return parse_eps(attack.partition("@")[2])


# ------------------------------------------------------------------ in words


def print_result(tested: pd.DataFrame, headline: Target, where: str) -> None:
    """Print how the combination did on a headline, and on how many columns it beats the parameter count."""
    rows = tested[(tested["dataset"] == headline[0]) & (tested["metric"] == headline[1])]
    print(f"\nMean ranks of scores, chosen on digits, {where}; {headline[1]} of {headline[0]}:")
    print(f"  {rows['parameters'].iloc[0]:.3f}  parameter count")
    for _, row in rows.iterrows():
        gain = st.Interval(row["gain"], row["gain_low"], row["gain_high"])
        print(f"  {row['spearman']:.3f}  {row['combination']}; minus parameters {gain}")
    largest = tested.groupby(["dataset", "metric"], sort=False).tail(1)
    better, worse = (largest["gain_low"] > 0).sum(), (largest["gain_high"] < 0).sum()
    print(
        f"- The whole combination ranks better than the parameter count for {better} of {len(largest)} columns, worse "
        f"for {worse}; for {len(largest) - better - worse} the interval of the difference contains 0."
    )
