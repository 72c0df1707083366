"""One training run from a cell to a file on the disk: train, measure, write.

A folder of runs belongs to one set of settings, see `table.folders`. `nasbench_robust.load` reads such a folder.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Booleans, Record
from ..cells import Cell
from ..checks import seed as checked_seed
from ..engines import Epoch, Running, choose_engine, engine_named, provenance
from ..errors import InvalidValueError, TrainingDivergedError
from ..images import Images
from ..metrics import Metric
from ..settings import TrainingSettings
from ..table import (
    CURVE_COLUMNS,
    Outcome,
    StoredRun,
    committed_runs,
    has_run,
    run_path,
    settings_in,
    shard_name,
    write_run_file,
)
from .worklists import Unit

log = logging.getLogger(__name__)

_KNOWN: set[tuple[Path, str]] = set()  # folders, and the settings of their runs


@dataclass(frozen=True, eq=False, repr=False)
class Run(Record):
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
    outcomes: dict[Metric, Booleans]
    parts: dict[str, Booleans] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the run has no result."""
        return "failure" in self.row

    @property
    def accuracies(self) -> str:
        """All accuracies in one line."""
        return ", ".join(f"{metric.column} {self.row[metric.column]:.4f}" for metric in self.outcomes)


def run_cell(
    cell: Cell,
    settings: TrainingSettings,
    images: Images[Any],
    seed: int,
    *,
    engine: str = "torch",
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
    cell : Cell
        What to train.
    settings : TrainingSettings
        How.
    images : Images
        Of the settings' data set; tensors on a device are trained on there, arrays on the CPU.
    seed : int
        Decides all draws; an engine repeats itself, but two engines draw differently.
    engine : str
        One of `engines.ENGINES`, or ``"auto"``, see `engines.choose_engine`.
    progress : callable, optional
        Called with every `Epoch` as it ends.
    checkpoint : path, optional
        Where the state is kept; a run that has a state there goes on from it.
    every : int
        Epochs between two checkpoints; those of less than half a minute's work are left out, and within long epochs
        and metrics there are more.
    should_stop : callable, optional
        Asked after every step, every metric, and by engines that measure in parts after each of these; when it says
        yes, the state is kept and the run is interrupted.

    Raises
    ------
    RunInterruptedError
        If `should_stop` said yes.
    InvalidValueError
        If the checkpoint is one of another run or engine, if the settings measure on a validation split and the images
        have none, or if the native engine does not have an attack of the settings.
    UnknownNameError, MissingDataError
        If there is no engine of that name, or not in this installation.
    """
    seed = checked_seed("seed", seed)
    representative = Cell.from_index(cell.representative)
    if representative != cell:
        log.info("cell %d is the same graph as cell %d, which is trained", cell.index, representative.index)
    device = getattr(images.test.pixels, "device", None)  # arrays have none
    made_by = engine_named(choose_engine(engine, settings, str(device or "cpu")))
    trainer = made_by.trainer(representative, settings, made_by.load(images, str(device or "cpu")), seed)
    label, key = f"cell {representative.index}, seed {seed}", [settings.hash, representative.index, seed]
    running = Running(made_by, trainer, label, key, None if checkpoint is None else Path(checkpoint))
    try:
        running.train(progress, every, should_stop)
    except TrainingDivergedError as error:
        return Run({**_row(running, representative, settings, seed), "failure": str(error)}, [], {})
    running.measure(should_stop)
    return Run(_row(running, representative, settings, seed), trainer.curve, running.outcomes, running.parts)


def _row(running: Running, cell: Cell, settings: TrainingSettings, seed: int) -> dict[str, Any]:
    """Return the row of the runs table."""
    row = {
        "dataset": settings.dataset,
        "index": cell.index,
        "seed": seed,
        "seeds": 1,
        "test_images": running.test_images,
        "settings": settings.hash,
        "train_seconds": running.trainer.seconds,
        "train_cpu_seconds": running.train_cpu_seconds,
        **running.provenance(),
        "revision": provenance.revision(),
        "date": datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
    }
    if running.outcomes:
        row |= {"eval_seconds": running.eval_seconds, "eval_cpu_seconds": running.eval_cpu_seconds}
    for metric, outcome in running.outcomes.items():
        row[metric.count_column] = int(outcome.sum())
        row[metric.column] = int(outcome.sum()) / len(outcome)
    return row


def write_run(run: Run, settings: TrainingSettings, folder: str | os.PathLike[str]) -> Path:
    """Write a run to its file in a folder and return the file's path.

    A run that is there already stays: of two processes that made the same run, the first one counts.
    """
    folder, name = Path(folder), shard_name(settings, run.row["index"], run.row["seed"])
    path = run_path(folder, name)
    if run.failed:
        log.warning("cell %d, seed %d: %s", run.row["index"], run.row["seed"], run.row["failure"])
    if name in committed_runs(folder) or not write_run_file(_stored(run, settings), path):
        log.warning("%s is there already, made by another process, and stays", name)
    return path


def _stored(run: Run, settings: TrainingSettings) -> StoredRun:
    """Return a run as files hold it."""
    named = {**{metric.column: outcome for metric, outcome in run.outcomes.items()}, **run.parts}
    curve = [[getattr(epoch, name) for name in CURVE_COLUMNS] for epoch in run.curve]
    row = {name: value for name, value in run.row.items() if value is not None}
    return StoredRun(
        {"release": settings.dataset, "settings": settings.hash, **row},
        settings.to_dict(),
        np.array([epoch.epoch for epoch in run.curve], np.int64),
        np.array(curve, np.float64).reshape(-1, len(CURVE_COLUMNS)),
        settings.curve_split,
        [Outcome(name, len(mask), np.packbits(mask, bitorder="little").tobytes()) for name, mask in named.items()],
    )


@dataclass(frozen=True, eq=False, repr=False)
class CellJob(Record):
    """Runs of cells as a `nasbench_robust.runs.Job`; units are cells and seeds.

    Attributes
    ----------
    settings : TrainingSettings
    folder : Path
        Of the runs.
    images : Images
        As `run_cell` takes them.
    engine : str
    every : int
        As for `run_cell`.
    """

    settings: TrainingSettings
    folder: Path
    images: Images[Any]
    engine: str
    every: int = 1

    @property
    def epochs(self) -> int:
        """How many epochs a run has."""
        return self.settings.epochs

    def name(self, unit: Unit) -> str:
        """Return what the run's file is called."""
        return shard_name(self.settings, Cell.from_index(unit.index).representative, unit.seed)

    def label(self, unit: Unit) -> str:
        """Return what a run is called where it is reported."""
        return f"cell {unit.index}, seed {unit.seed}"

    def is_done(self, unit: Unit) -> bool:
        """Return whether the folder holds the run already; raise `InvalidValueError` if it has other settings."""
        return holds_run(self.folder, self.settings, self.name(unit))

    def run(
        self, unit: Unit, checkpoint: Path, progress: Callable[[Any], None], should_stop: Callable[[], bool]
    ) -> Run:
        """Make a run."""
        return run_cell(
            Cell.from_index(unit.index),
            self.settings,
            self.images,
            unit.seed,
            engine=self.engine,
            progress=progress,
            checkpoint=checkpoint,
            every=self.every,
            should_stop=should_stop,
        )

    def write(self, unit: Unit, run: Run) -> Path:
        """Write the run's file."""
        return write_run(run, self.settings, self.folder)

    def summary(self, run: Run) -> str:
        """Return what is reported of a run: its accuracies, or why it has none."""
        return str(run.row.get("failure") or run.accuracies)


def is_done(folder: str | os.PathLike[str], settings: TrainingSettings, cell: Cell, seed: int) -> bool:
    """Return whether the folder holds the run already.

    Raises
    ------
    InvalidValueError
        If the folder holds runs with other settings: they do not belong into one table.
    """
    return holds_run(folder, settings, shard_name(settings, cell.representative, seed))


def holds_run(folder: str | os.PathLike[str], settings: TrainingSettings, name: str) -> bool:
    """Return `is_done`, given what `shard_name` calls the run."""
    check_settings(folder, settings)
    return has_run(Path(folder), name)


def check_settings(folder: str | os.PathLike[str], settings: TrainingSettings) -> None:
    """Refuse a folder of runs of other settings; one that was looked into needs no second look."""
    folder, expected = Path(folder).absolute(), settings.hash
    if (folder, expected) in _KNOWN:
        return
    there = settings_in(folder)
    if there not in (None, expected):
        raise InvalidValueError(
            "folder", str(folder), f"a new folder, or one of runs with settings {expected}, not {there}"
        )
    if there is not None:
        _KNOWN.add((folder, expected))
