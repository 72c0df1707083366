"""Scores of untrained cells beside the accuracies of trained ones: what the programs about kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from digits_vs_published import Tables, read_tables

from nasbench_robust import cells
from nasbench_robust.datasets import canonical_name
from nasbench_robust.errors import MissingResultError, UnknownNameError
from nasbench_robust.ntk import SCORES
from nasbench_robust.proxies import PROXIES
from nasbench_robust.scores import read_scores

Floats = npt.NDArray[np.float64]
Target = tuple[str, str]  # data set and metric
FEWEST_CELLS = 30  # of which the top tenth has the 3 that a correlation needs
HEADLINE_METRIC = "pgd_acc@8/255"
# What is not a number of one kernel: a bound on the minimum eigenvalue from below, and accuracies of kernel regression.
_MORE_DIRECTIONS = {
    "weyl_bound": "higher",
    "standard_clean": "higher",
    "standard_attacked": "higher",
    "adversarial_clean": "higher",
    "adversarial_attacked": "higher",
}
_DIRECTIONS = {
    **{score.name: score.direction for score in SCORES},
    **{proxy.name: "higher" if proxy.higher_is_better else "lower" for proxy in PROXIES.values()},
    **_MORE_DIRECTIONS,
}


class Name(NamedTuple):
    """Which score: of a kernel and an attack, both empty where there is none."""

    kernel: str
    attack: str
    score: str

    @property
    def direction(self) -> str | None:
        """Which way the source says is better: ``"higher"``, ``"lower"``, or None where it claims nothing."""
        return _DIRECTIONS.get(self.score)

    def __str__(self) -> str:
        words = self.score.replace("_", " ")
        if self.kernel:
            words += f" ({self.kernel.replace('_', ' ')})"
        return words + (f", {self.attack}" if self.attack else "")


PARAMETERS = Name("", "", "params")


@dataclass(frozen=True)
class Scores:
    """A table of scores as it was read: for each cell and initial seed one value of every score, nan for a failure."""

    dataset: str
    index: npt.NDArray[np.int64]
    seeds: list[int]  # those that at least FEWEST_CELLS of the cells have
    used: list[int]  # positions of those that all cells have: a cell's score is the mean over them
    runs: dict[Name, Floats]  # shape (cells, seeds)
    seconds: dict[Name, float]  # of one seed, mean over cells


@dataclass(frozen=True)
class Data:
    """Scores and accuracies of the cells that all tables have; scores turned so that higher is better."""

    dataset: str
    index: npt.NDArray[np.int64]
    connected: npt.NDArray[np.bool_]
    targets: dict[Target, Floats]
    headlines: list[Target]  # the first is the one that a leaderboard is about
    parameters: Floats
    scores: dict[Name, Floats]  # nan where there is no value
    runs: dict[Name, Floats]
    seeds: list[int]
    seeds_used: int
    seconds: dict[Name, float]  # per cell, all seeds that are used
    tables: tuple[str, ...]


def read_data(scores: str | Path, published: str, digits: str | None, headline: Target | None = None) -> Data:
    """Read a table of scores and both tables of accuracies, and keep the cells that all have.

    Raises
    ------
    NasbenchRobustError
        If a table cannot be read, the headline is no column of theirs, or too few cells are shared.
    """
    found, tables = read_table(scores), read_tables(digits, published)
    shared = np.intersect1d(found.index, tables.index)
    if len(shared) < FEWEST_CELLS:
        what = f"{scores} and both tables of accuracies share {len(shared)} cells; {FEWEST_CELLS} are needed"
        raise MissingResultError(what)
    rows, own = np.searchsorted(tables.index, shared), np.searchsorted(found.index, shared)
    targets = all_targets(tables)
    turned = {name: _sign(name) * runs[own] for name, runs in found.runs.items()}
    parameters = tables.baselines["parameters"][rows]
    return Data(
        dataset=found.dataset,
        index=shared,
        connected=cells.connected()[shared],
        targets={target: column[rows] for target, column in targets.items()},
        headlines=_headlines(found.dataset, tables, targets, headline),
        parameters=parameters,
        scores={PARAMETERS: parameters, **{name: _mean(runs[:, found.used]) for name, runs in turned.items()}},
        runs=turned,
        seeds=found.seeds,
        seeds_used=len(found.used),
        seconds={name: len(found.used) * seconds for name, seconds in found.seconds.items()},
        tables=tables.names,
    )


def all_targets(tables: Tables) -> dict[Target, Floats]:
    """Return every test column of both tables."""
    return {**{("digits", name): column for name, column in tables.digits.items()}, **tables.targets}


def _headlines(dataset: str, tables: Tables, targets: dict[Target, Floats], asked: Target | None) -> list[Target]:
    """Return the column of the leaderboard, and the others that get everything computed."""
    usual = [("digits", tables.headline), *((name, HEADLINE_METRIC) for name in dict.fromkeys([dataset, "cifar10"]))]
    usual = [target for target in usual if target in targets]
    first = asked or next((target for target in [*usual, *targets] if target[0] == dataset), None)
    if first is None:
        there = tuple(dict.fromkeys(target[0] for target in targets))
        raise MissingResultError(f"no table of accuracies has {dataset}, which the scores are of", there, "data sets")
    if first not in targets:
        raise UnknownNameError("target", " ".join(first), tuple(" ".join(target) for target in targets))
    return list(dict.fromkeys([first, *usual]))


def _mean(runs: Floats) -> Floats:
    """Return the mean over seeds; nan where a seed failed, so that no cell is judged by its lucky seeds."""
    mean: Floats = runs.mean(axis=1)
    return mean


def _sign(name: Name) -> int:
    return -1 if name.direction == "lower" else 1


# ------------------------------------------------------------------ the table of scores


def read_table(path: str | Path) -> Scores:
    """Read a table of scores; a cell stands for its class, whose representative is what was scored."""
    frame, settings = read_scores(path)
    dataset = canonical_name(settings.get("dataset"))
    keys = ["kernel", "attack", "score"]
    frame["index"] = cells.representatives()[frame["index"].to_numpy()].astype(np.int64)
    frame[keys] = frame[keys].astype(object).fillna("")
    frame = frame.drop_duplicates(["index", "seed", *keys])
    index, seeds = _complete(frame)
    frame = frame[frame["index"].isin(index) & frame["seed"].isin(seeds)]
    values = frame.pivot(index="index", columns=[*keys, "seed"], values="value")
    there = frame.groupby("seed")["index"].nunique()
    names = sorted({Name(*column[:3]) for column in values.columns})
    seconds = frame.groupby(keys)["seconds"].mean()
    return Scores(
        dataset=dataset,
        index=values.index.to_numpy(np.int64),
        seeds=seeds,
        used=[position for position, seed in enumerate(seeds) if there[seed] == len(index)],
        runs={name: values.reindex(columns=[(*name, seed) for seed in seeds]).to_numpy() for name in names},
        seconds={name: float(seconds[name]) for name in names},
    )


def _complete(frame: Any) -> tuple[list[int], list[int]]:
    """Return the cells that the most common seed has, and the seeds that enough of these have."""
    have = {int(seed): set(part) for seed, part in frame.groupby("seed")["index"]}
    index = max(have.values(), key=len, default=set())
    enough = min(FEWEST_CELLS, len(index))
    return sorted(index), [seed for seed, part in sorted(have.items()) if len(part & index) >= enough]
