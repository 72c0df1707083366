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
import resource
import subprocess
import sys
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
from .checkpoints import load_checkpoint, save_checkpoint
from .datasets import dataset
from .errors import InvalidValueError, NasbenchRobustError
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
from .training import Epoch, Trainer, TrainingDivergedError, make_generator

__all__ = [
    "Run",
    "RunInterruptedError",
    "is_done",
    "part_name",
    "release_info",
    "run_cell",
    "shard_name",
    "write_run",
]

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
        Which images of the metric's split were classified correctly; empty if the run failed.
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
        datasets={settings.dataset: DatasetInfo(facts.held_out, eps, settings.skeleton)},
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
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Run:
    """Train a cell, measure it on the held-out splits and return everything that is worth keeping.

    A cell is trained as its class's representative, the only member that the tables hold. A run whose loss is not
    finite becomes a row with a `failure` and without accuracies. A run that is taken up from its checkpoint gives the
    same row as one that was never interrupted.

    Parameters
    ----------
    cell, settings, images, seed
        As for `nasbench_robust.training.Trainer`.
    progress : callable, optional
        Called with every `Epoch` as it ends.
    checkpoint : path, optional
        Where the state is kept; a run that has a state there goes on from it.
    every : int
        Epochs between two checkpoints; after training there is one for every metric.
    should_stop : callable, optional
        Asked after every step and every metric; when it says yes, the state is kept and the run is interrupted.

    Raises
    ------
    RunInterruptedError
        If `should_stop` said yes.
    InvalidValueError
        If the checkpoint is one of another run, or if the settings measure on a validation split and the images have
        none.
    """
    representative = Cell.from_index(cell.representative)
    if representative != cell:
        log.info("cell %d is the same graph as cell %d, which is trained", cell.index, representative.index)
    work = _Work(representative, settings, images, seed, None if checkpoint is None else Path(checkpoint))
    try:
        work.train(progress, every, should_stop)
    except TrainingDivergedError as error:
        return Run({**work.row(), "failure": str(error)}, [], {})
    work.measure(should_stop)
    return Run(work.row(), work.trainer.curve, work.outcomes, work.parts)


class RunInterruptedError(NasbenchRobustError):
    """A run that was asked to stop; its state is in its checkpoint."""


class _Work:
    """A run under way: the trainer, what was measured so far, and the checkpoint of both."""

    def __init__(self, cell: Cell, settings: TrainingSettings, images: Images, seed: int, path: Path | None) -> None:
        self.trainer = Trainer(cell, settings, images, seed)
        self.outcomes: dict[Metric, np.ndarray[Any, np.dtype[np.bool_]]] = {}
        self.parts: dict[str, np.ndarray[Any, np.dtype[np.bool_]]] = {}
        self._eval_seconds = 0.0
        self._cell, self._settings, self._images, self._seed, self._path = cell, settings, images, seed, path
        self._key = [settings.hash, cell.index, seed]
        state = None if path is None else load_checkpoint(path, images.train_images.device)
        if state is not None:
            self._resume(state)

    def _resume(self, state: dict[str, Any]) -> None:
        if state.get("key") != self._key:
            raise InvalidValueError("checkpoint", str(self._path), f"a state of the run {self._key}")
        self.trainer.load_state_dict(state["training"])
        self._eval_seconds = state["eval_seconds"]
        for metric in self._settings.metrics:
            if metric.column in state["outcomes"]:
                self.outcomes[metric] = state["outcomes"][metric.column].cpu().numpy()
        self.parts = {name: survivors.cpu().numpy() for name, survivors in state["parts"].items()}

    def _keep(self) -> None:
        if self._path is not None:
            outcomes = {metric.column: torch.from_numpy(outcome) for metric, outcome in self.outcomes.items()}
            parts = {name: torch.from_numpy(survivors) for name, survivors in self.parts.items()}
            state = {"key": self._key, "training": self.trainer.state_dict(), "outcomes": outcomes, "parts": parts}
            save_checkpoint({**state, "eval_seconds": self._eval_seconds}, self._path)

    def _stop(self) -> None:
        self._keep()
        raise RunInterruptedError(f"cell {self._cell.index}, seed {self._seed}: stopped on request")

    def train(self, progress: Callable[[Epoch], None] | None, every: int, should_stop: Callable[[], bool]) -> None:
        """Take all steps that are left."""
        while not self.trainer.finished:
            epoch = self.trainer.step()
            if epoch is not None:
                if progress is not None:
                    progress(epoch)
                if epoch.epoch % every == 0 or self.trainer.finished:
                    self._keep()
            if should_stop():
                self._stop()

    def measure(self, should_stop: Callable[[], bool]) -> None:
        """Measure what is left; every metric has a generator of its own, so that an interruption changes nothing."""
        for metric in self._settings.metrics:
            if metric in self.outcomes:
                continue
            start = time.perf_counter()
            images, labels = self._images.held_out(metric.split)
            generator = make_generator(self._seed, "evaluation", images.device)
            found = evaluate(self.trainer.network, images, labels, [metric], generator, on_part=self._keep_part)
            self.outcomes[metric] = found[metric].cpu().numpy()
            self._eval_seconds += time.perf_counter() - start
            self._keep()
            if should_stop():
                self._stop()

    def _keep_part(self, metric: Metric, part: str, survivors: torch.Tensor) -> None:
        self.parts[part_name(metric, part)] = survivors.cpu().numpy()

    def row(self) -> dict[str, Any]:
        """Return the row of the runs table."""
        row = {
            "dataset": self._settings.dataset,
            "index": self._cell.index,
            "seed": self._seed,
            "seeds": 1,
            "test_images": len(self._images.test_labels),
            "settings": self._settings.hash,
            "train_seconds": self.trainer.seconds,
            **_provenance(self._images.test_images.device),
        }
        if self.outcomes:
            row["eval_seconds"] = self._eval_seconds
        for metric, outcome in self.outcomes.items():
            row[metric.count_column] = int(outcome.sum())
            row[metric.column] = int(outcome.sum()) / len(outcome)
        return row


def is_done(folder: str | os.PathLike[str], settings: TrainingSettings, cell: Cell, seed: int) -> bool:
    """Return whether the folder holds the run already.

    Raises
    ------
    InvalidValueError
        If the folder holds runs with other settings: they do not belong into one table.
    """
    runs = Path(folder) / "runs"
    mine = runs / shard_name(settings, cell.representative, seed)
    some = mine if mine.exists() else next(runs.glob("[!.]*.parquet"), None)
    if some is None:
        return False
    if Reader(some).info() != release_info(settings):
        raise InvalidValueError("folder", str(folder), f"a new folder, or one of runs with settings {settings.hash}")
    return some == mine


def write_run(run: Run, settings: TrainingSettings, folder: str | os.PathLike[str]) -> Path:
    """Write a run's shards, the row of the runs table last, and return its path.

    A row that is there already stays: of two processes that made the same run, the first one counts.
    """
    info = release_info(settings)
    folder = Path(folder)
    key = {"release": info.name, "dataset": settings.dataset, "index": run.row["index"], "seed": run.row["seed"]}
    shard = shard_name(settings, run.row["index"], run.row["seed"])
    if run.failed:
        log.warning("cell %d, seed %d: %s", run.row["index"], run.row["seed"], run.row["failure"])
    else:
        curve = [{**key, **asdict(epoch), "split": settings.curve_split} for epoch in run.curve]
        write_table(pa.Table.from_pylist(curve, CURVES_SCHEMA), folder / "curves" / shard)
        named = {**{metric.column: outcome for metric, outcome in run.outcomes.items()}, **run.parts}
        outcomes = [
            {**key, "metric": name, "images": len(outcome), "correct": _pack(outcome)}
            for name, outcome in named.items()
        ]
        write_table(pa.Table.from_pylist(outcomes, OUTCOMES_SCHEMA), folder / "outcomes" / shard)
    if not write_table(runs_table(info, [run.row]), folder / "runs" / shard, replace=False):
        log.warning("%s is there already, made by another process, and stays", shard)
    return folder / "runs" / shard


def shard_name(settings: TrainingSettings, index: int, seed: int) -> str:
    """Return the name of the file that a run has in each of the folders of a table."""
    return f"{settings.dataset}-{index:05d}-{seed}.parquet"


def _pack(outcome: np.ndarray[Any, np.dtype[np.bool_]]) -> bytes:
    """Return one bit per image, image 0 in the lowest bit of the first byte."""
    return np.packbits(outcome, bitorder="little").tobytes()


def _provenance(device: torch.device) -> dict[str, Any]:
    """Return where and with what a run is made."""
    return {
        "engine": "torch",
        "peak_memory_mib": _peak_memory_mib(device),
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


def _peak_memory_mib(device: torch.device) -> float:
    """Return the peak so far: of the device's memory on a GPU, of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere


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
