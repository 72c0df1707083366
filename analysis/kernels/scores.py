"""Scores of untrained cells beside the accuracies of trained ones: what the programs about kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nasbench_robust import cells
from nasbench_robust.errors import MissingResultError, UnknownNameError
from score_tables import PARAMETERS, Name, read_table
from tables import FEWEST_CELLS, Floats, Mask, Tables, Target, read_tables

HEADLINE_METRIC = "pgd_acc@8/255"


@dataclass(frozen=True)
class Data:
    """Scores and accuracies of the cells that all tables have; scores turned so that higher is better."""

    dataset: str
    bn: str
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
        bn=scored.bn,
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
