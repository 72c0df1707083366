"""Scores of untrained cells beside the accuracies of trained ones: what the programs about kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench_robust import cells
from nasbench_robust.datasets import canonical_name
from nasbench_robust.errors import MissingResultError, UnknownNameError
from nasbench_robust.ntk import SCORES
from nasbench_robust.proxies import PROXIES
from nasbench_robust.scores import read_scores
from tables import FEWEST_CELLS, Floats, Mask, Tables, Target, read_tables

HEADLINE_METRIC = "pgd_acc@8/255"
_DIRECTIONS = {
    **{score.name: score.direction for score in SCORES},
    **{proxy.name: "higher" if proxy.higher_is_better else "lower" for proxy in PROXIES.values()},
    # What is not a number of one kernel: a bound on the minimum eigenvalue from below, accuracies of kernel regression.
    **dict.fromkeys(
        ("weyl_bound", "standard_clean", "standard_attacked", "adversarial_clean", "adversarial_attacked"), "higher"
    ),
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
    connected: Mask
    targets: dict[Target, Floats]
    headlines: list[Target]  # the first is the one that a leaderboard is about
    parameters: Floats
    scores: dict[Name, Floats]  # nan where there is no value
    runs: dict[Name, Floats]
    seeds: list[int]
    seeds_used: int
    seconds: dict[Name, float]  # per cell, all seeds that are used
    tables: tuple[str, ...]

    @property
    def own_targets(self) -> list[Target]:
        """Accuracies on the images that the scores are of."""
        return [target for target in self.targets if target[0] == self.dataset]

    @property
    def own_headline(self) -> Target:
        """The first headline on these images."""
        own = self.own_targets
        return next((target for target in self.headlines if target in own), own[0])


def read_data(scores: str | Path, published: str, digits: str | None, headline: Target | None = None) -> Data:
    """Read a table of scores and both tables of accuracies, and keep the cells that all have.

    Raises
    ------
    NasbenchRobustError
        If a table cannot be read, the headline is no column of theirs, or too few cells are shared.
    """
    scored, tables = read_table(scores), read_tables(digits, published)
    shared = np.intersect1d(scored.index, tables.index)
    if len(shared) < FEWEST_CELLS:
        cells_shared = f"{scores} and both tables of accuracies share {len(shared)} cells"
        raise MissingResultError(f"{cells_shared}; {FEWEST_CELLS} are needed")
    rows, own = np.searchsorted(tables.index, shared), np.searchsorted(scored.index, shared)
    targets = {**{("digits", name): column for name, column in tables.digits.items()}, **tables.targets}
    turned = {name: (-1 if name.direction == "lower" else 1) * runs[own] for name, runs in scored.runs.items()}
    parameters = tables.baselines["parameters"][rows]
    # nan where a seed failed, so that no cell is judged by its lucky seeds
    means = {name: runs[:, scored.used].mean(axis=1) for name, runs in turned.items()}
    return Data(
        dataset=scored.dataset,
        index=shared,
        connected=cells.connected()[shared],
        targets={target: column[rows] for target, column in targets.items()},
        headlines=_headlines(scored.dataset, tables, targets, headline),
        parameters=parameters,
        scores={PARAMETERS: parameters, **means},
        runs=turned,
        seeds=scored.seeds,
        seeds_used=len(scored.used),
        seconds={name: len(scored.used) * seconds for name, seconds in scored.seconds.items()},
        tables=tables.names,
    )


def _headlines(dataset: str, tables: Tables, targets: dict[Target, Floats], asked: Target | None) -> list[Target]:
    """Return the column of the leaderboard, and the others that get everything computed."""
    usual = [("digits", tables.headline), *((name, HEADLINE_METRIC) for name in dict.fromkeys([dataset, "cifar10"]))]
    usual = [target for target in usual if target in targets]
    first = asked or next((target for target in [*usual, *targets] if target[0] == dataset), None)
    if first is None:
        datasets = tuple(dict.fromkeys(target[0] for target in targets))
        raise MissingResultError(
            f"no table of accuracies has {dataset}, which the scores are of", datasets, "data sets"
        )
    if first not in targets:
        raise UnknownNameError("target", " ".join(first), tuple(" ".join(target) for target in targets))
    return list(dict.fromkeys([first, *usual]))


# ------------------------------------------------------------------ the table of scores


def read_table(path: str | Path) -> Scores:
    """Read a table of scores; a cell stands for its class, whose representative is what was scored."""
    frame, settings = read_scores(path)
    keys = ["kernel", "attack", "score"]
    frame["index"] = cells.representatives()[frame["index"].to_numpy()].astype(np.int64)
    frame[keys] = frame[keys].astype(object).fillna("")
    frame = frame.drop_duplicates(["index", "seed", *keys])
    index, seeds = _complete(frame)
    frame = frame[frame["index"].isin(index) & frame["seed"].isin(seeds)]
    values = frame.pivot(index="index", columns=[*keys, "seed"], values="value")
    counts = frame.groupby("seed")["index"].nunique()
    names = sorted({Name(*column[:3]) for column in values.columns})
    seconds = frame.groupby(keys)["seconds"].mean()
    return Scores(
        dataset=canonical_name(settings.get("dataset")),
        index=values.index.to_numpy(np.int64),
        seeds=seeds,
        used=[position for position, seed in enumerate(seeds) if counts[seed] == len(index)],
        runs={name: values.reindex(columns=[(*name, seed) for seed in seeds]).to_numpy() for name in names},
        seconds={name: float(seconds[name]) for name in names},
    )


def _complete(frame: pd.DataFrame) -> tuple[list[int], list[int]]:
    """Return the cells that the most common seed has, and the seeds that enough of these have."""
    by_seed = {int(seed): set(part) for seed, part in frame.groupby("seed")["index"]}
    index = max(by_seed.values(), key=len, default=set())
    enough = min(FEWEST_CELLS, len(index))
    return sorted(index), [seed for seed, part in sorted(by_seed.items()) if len(part & index) >= enough]
