"""Tables of scores of untrained cells: how they are read, what a score is called, and which way up it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from nasbench_robust import cells
from nasbench_robust.datasets import canonical_name
from nasbench_robust.ntk import SCORES
from nasbench_robust.proxies import PROXIES
from nasbench_robust.scores import read_scores
from tables import FEWEST_CELLS, Floats

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
    bn: str  # what batch normalisation is for the kernels
    index: npt.NDArray[np.int64]
    seeds: list[int]  # those that at least FEWEST_CELLS of the cells have
    used: list[int]  # positions of those that all cells have: a cell's score is the mean over them
    runs: dict[Name, Floats]  # shape (cells, seeds)
    seconds: dict[Name, float]  # of one seed, mean over cells


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
        bn=settings.get("bn", "batch_frozen"),
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
