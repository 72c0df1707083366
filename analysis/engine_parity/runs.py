"""The runs: twelve fixed cells with the digits settings by either engine, made by generation/run_local.py and read."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from nasbench_robust.errors import MissingResultError
from nasbench_robust.files import write_bytes
from nasbench_robust.runs import release_info
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.table import open_table
from program import generate
from tables import Floats

CELLS = {  # representatives, most convolutions first
    1462: "3x3 on all edges",
    9930: "3x3 and a skip",
    11351: "3x3 and skips",
    818: "chain of 3x3",
    4317: "1x1 on all edges",
    7602: "3x3, 1x1, skip, pool",
    10560: "3x3, 1x1, pool, skip",
    14: "one 3x3, dead ends",
    263: "1x1 after an unreached node",
    10589: "one 1x1, pool, skip, none",
    7581: "pool on all edges",
    1835: "skip on all edges",
}
Accuracies = dict[tuple[str, str, int], Floats]  # by engine, metric and cell, one per seed, nan where there is no run


@dataclass(frozen=True)
class Plan:
    """Which runs there are to be."""

    folder: Path
    seeds: dict[str, int]  # by engine, how many
    cells: Sequence[int]
    settings: TrainingSettings

    @property
    def metrics(self) -> list[str]:
        """What is compared: all that is measured on test images."""
        return [metric.column for metric in self.settings.metrics if metric.split == "test"]


def parity_settings(epochs: int | None, channels: int | None = None) -> TrainingSettings:
    """Return the digits settings without AutoAttack, for networks of other width."""
    settings = settings_for("digits")
    attacks = tuple(attack for attack in settings.evaluation if attack.name != "autoattack")
    skeleton = replace(settings.skeleton, channels=channels or settings.skeleton.channels)
    return replace(settings, evaluation=attacks, epochs=epochs or settings.epochs, skeleton=skeleton)


def make_runs(plan: Plan, workers: int) -> int:
    """Make what is missing with both engines, one after the other; return an exit code."""
    settings = plan.folder / "settings.json"
    write_bytes(json.dumps(plan.settings.to_dict(), indent=1).encode(), settings)
    cells = ",".join(map(str, plan.cells))
    for engine, seeds in plan.seeds.items():
        print(f"{engine} engine", file=sys.stderr, flush=True)
        options = ["--out", plan.folder / engine, "--engine", engine, "--settings", settings, "--workers", workers]
        if code := generate("run_local.py", *options, "--cells", cells, "--seeds", *range(seeds)):
            return code
    return 0


def read_runs(plan: Plan) -> Accuracies:
    """Return the accuracies of all planned runs that are there."""
    accuracies: Accuracies = {}
    for engine, seeds in plan.seeds.items():
        reader = open_table(plan.folder / engine)
        if reader.info() != release_info(plan.settings):
            raise MissingResultError(f"{plan.folder} holds runs with other settings; name another folder by --runs")
        rows = reader.read(["index", "seed", *plan.metrics]).to_pandas().set_index(["index", "seed"])
        for metric in plan.metrics:
            for cell in plan.cells:
                wanted = pd.MultiIndex.from_product([[cell], range(seeds)])
                accuracies[engine, metric, cell] = rows[metric].reindex(wanted).to_numpy(np.float64)
    return accuracies
