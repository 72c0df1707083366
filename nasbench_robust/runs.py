"""One training run from a cell to rows on the disk: train, measure, write, each run in shards of its own.

A folder of runs belongs to one set of settings and holds ``runs/``, ``curves/`` and ``outcomes/``, one Parquet file per
cell and seed in each. The file in ``runs/`` is written last: where it is, the run is complete. `nasbench_robust.load`
reads such a folder.
"""

from __future__ import annotations

import datetime
import logging
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from . import __version__
from .cells import Cell
from .datasets import dataset
from .errors import InvalidValueError
from .evaluation import evaluate
from .images import Images
from .metrics import Metric
from .settings import TrainingSettings
from .tables import (
    CURVES_SCHEMA,
    OUTCOMES_SCHEMA,
    DatasetInfo,
    Reader,
    ReleaseInfo,
    runs_table,
    write_table,
)
from .training import Epoch, TrainingDivergedError, make_generator, train

__all__ = ["Run", "is_done", "part_name", "release_info", "run_cell", "write_run"]

log = logging.getLogger(__name__)

_CITATION = """@software{nasbench_robust,
  title  = {nasbench-robust},
  author = {{The nasbench-robust developers}}
}"""


@dataclass(frozen=True)
class Run:
    """Everything that one training run leaves behind.

    Attributes
    ----------
    row : dict
        Of the runs table.
    curve : list of Epoch
        Empty if the run failed.
    outcomes : dict of Metric to ndarray of bool
        Which test images were classified correctly; empty if the run failed.
    parts : dict of str to ndarray of bool
        Which of them were so after each part of an AutoAttack, by the names of `part_name`.
    """

    row: dict[str, Any]
    curve: list[Epoch]
    outcomes: dict[Metric, np.ndarray[Any, np.dtype[np.bool_]]]
    parts: dict[str, np.ndarray[Any, np.dtype[np.bool_]]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the run has no result."""
        return "failure" in self.row


def part_name(metric: Metric, part: str) -> str:
    """Return what the outcomes after a part of an AutoAttack are called, ``autoattack_acc@8/255>apgd_t``.

    They are the images that withstood this part and those before it, which is not what the part alone would leave.
    """
    return f"{metric.column}>{part}"


def release_info(settings: TrainingSettings) -> ReleaseInfo:
    """Return the description of a table of runs with these settings."""
    facts = dataset(settings.dataset)
    eps = max((attack.eps for attack in settings.evaluation if attack.norm == "Linf"), default=settings.attack.eps)
    return ReleaseInfo(
        name=settings.dataset,
        version=f"settings-{settings.hash}",
        title=f"NAS-Bench-201 cells adversarially trained on {settings.dataset}",
        licence="unpublished",
        citation=_CITATION,
        source="nasbench-robust",
        datasets={settings.dataset: DatasetInfo({"test": facts.test_images}, eps, settings.skeleton)},
        metrics=settings.metrics,
        settings={settings.hash: settings.to_dict()},
    )


def run_cell(
    cell: Cell,
    settings: TrainingSettings,
    images: Images,
    seed: int,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> Run:
    """Train a cell, measure it on the test split and return everything that is worth keeping.

    A cell is trained as its class's representative, the only member that the tables hold. A run whose loss is not
    finite becomes a row with a `failure` and without accuracies.

    Parameters are those of `nasbench_robust.training.train`.
    """
    representative = Cell.from_index(cell.representative)
    if representative != cell:
        log.info("cell %d is the same graph as cell %d, which is trained", cell.index, representative.index)
    row: dict[str, Any] = {
        "dataset": settings.dataset,
        "index": representative.index,
        "seed": seed,
        "seeds": 1,
        "test_images": len(images.test_labels),
        "settings": settings.hash,
        **_provenance(images.test_images.device),
    }
    start = time.perf_counter()
    try:
        network, curve = train(representative, settings, images, seed, progress=progress)
    except TrainingDivergedError as error:
        return Run({**row, "train_seconds": time.perf_counter() - start, "failure": str(error)}, [], {})
    row["train_seconds"] = time.perf_counter() - start
    start = time.perf_counter()
    generator = make_generator(seed, "evaluation", images.test_images.device)
    parts: dict[str, np.ndarray[Any, np.dtype[np.bool_]]] = {}

    def keep(metric: Metric, part: str, survivors: torch.Tensor) -> None:
        parts[part_name(metric, part)] = survivors.cpu().numpy()

    correct = evaluate(network, images.test_images, images.test_labels, settings.metrics, generator, on_part=keep)
    row["eval_seconds"] = time.perf_counter() - start
    for metric, outcome in correct.items():
        row[metric.count_column] = int(outcome.sum())
        row[metric.column] = int(outcome.sum()) / len(outcome)
    return Run(row, curve, {metric: outcome.cpu().numpy() for metric, outcome in correct.items()}, parts)


def is_done(folder: str | os.PathLike[str], settings: TrainingSettings, cell: Cell, seed: int) -> bool:
    """Return whether the folder holds the run already.

    Raises
    ------
    InvalidValueError
        If the folder holds runs with other settings: they do not belong into one table.
    """
    runs = Path(folder) / "runs"
    if not runs.is_dir() or not any(runs.glob("*.parquet")):
        return False
    held = Reader(runs).info()
    if held != release_info(settings):
        raise InvalidValueError("folder", str(folder), f"a new folder, or one of runs with settings {settings.hash}")
    return (runs / _shard(settings, cell.representative, seed)).exists()


def write_run(run: Run, settings: TrainingSettings, folder: str | os.PathLike[str]) -> Path:
    """Write a run's shards, the row of the runs table last, and return its path."""
    info = release_info(settings)
    folder = Path(folder)
    key = {"release": info.name, "dataset": settings.dataset, "index": run.row["index"], "seed": run.row["seed"]}
    shard = _shard(settings, run.row["index"], run.row["seed"])
    if run.failed:
        log.warning("cell %d, seed %d: %s", run.row["index"], run.row["seed"], run.row["failure"])
    else:
        curve = [{**key, **asdict(epoch), "split": "test"} for epoch in run.curve]
        write_table(pa.Table.from_pylist(curve, CURVES_SCHEMA), folder / "curves" / shard)
        named = {**{metric.column: outcome for metric, outcome in run.outcomes.items()}, **run.parts}
        outcomes = [
            {**key, "metric": name, "images": len(outcome), "correct": _pack(outcome)}
            for name, outcome in named.items()
        ]
        write_table(pa.Table.from_pylist(outcomes, OUTCOMES_SCHEMA), folder / "outcomes" / shard)
    write_table(runs_table(info, [run.row]), folder / "runs" / shard)
    return folder / "runs" / shard


def _shard(settings: TrainingSettings, index: int, seed: int) -> str:
    return f"{settings.dataset}-{index:05d}-{seed}.parquet"


def _pack(outcome: np.ndarray[Any, np.dtype[np.bool_]]) -> bytes:
    """Return one bit per image, image 0 in the lowest bit of the first byte."""
    return np.packbits(outcome, bitorder="little").tobytes()


def _provenance(device: torch.device) -> dict[str, Any]:
    """Return where and with what a run is made."""
    return {
        "engine": "torch",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "versions": ", ".join(
            (
                f"nasbench-robust {__version__}",
                f"torch {torch.__version__} with {torch.get_num_threads()} thread(s)",
                f"python {platform.python_version()}",
            )
        ),
        "revision": _revision(),
        "date": datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
    }


def _processor() -> str:
    """Return the processor's model where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _revision() -> str | None:
    """Return the commit of a source checkout, with ``-dirty`` behind it if files were changed; None if installed."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
