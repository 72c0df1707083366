"""One training run from a cell to rows on the disk: train, measure, write, each run in shards of its own.

A folder of runs belongs to one set of settings and holds ``runs/``, ``curves/`` and ``outcomes/``, one Parquet file per
cell and seed in each. The file in ``runs/`` is written last: where it is, the run is complete. `nasbench_robust.load`
reads such a folder.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ..arrays import Booleans
from ..cells import Cell
from ..datasets import dataset
from ..engines import Epoch, provenance
from ..errors import InvalidValueError, MissingDataError, TrainingDivergedError, UnknownNameError
from ..metrics import Metric
from ..settings import TrainingSettings
from ..table import CURVES_SCHEMA, OUTCOMES_SCHEMA, DatasetInfo, Reader, ReleaseInfo, runs_table, write_table

log = logging.getLogger(__name__)

GRAPHED = ("torch-fast-graph", "torch-fast-bf16-graph")
ENGINES = ("auto", "native", "torch", "torch-fast", "torch-fast-bf16", *GRAPHED)
# Pixels along a side of the images that "auto" gives to the native engine: up to there it was compared with torch, and
# is faster on one core. It uses one; beyond the second size, torch may make more of several.
NATIVE_SIZE, NATIVE_SIZE_OF_THREADS = 32, 8
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
    outcomes: dict[Metric, Booleans]
    parts: dict[str, Booleans] = field(default_factory=dict)

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


class Work(Protocol):
    """A run under way in one of the engines: `work.TorchWork` or `native.work.NativeWork`.

    Attributes
    ----------
    curve, outcomes, parts
        As in `Run`, as far as it went.
    train_seconds, eval_seconds : float
        Time spent, also before an interruption.
    test_images : int
        Size of the test split.
    """

    outcomes: dict[Metric, Booleans]
    parts: dict[str, Booleans]
    eval_seconds: float
    test_images: int

    @property
    def curve(self) -> list[Epoch]:
        """The curve so far."""

    @property
    def train_seconds(self) -> float:
        """Time spent in training."""

    def train(self, progress: Callable[[Epoch], None] | None, every: int, should_stop: Callable[[], bool]) -> None:
        """Train for all epochs that are left."""

    def measure(self, should_stop: Callable[[], bool]) -> None:
        """Measure what is left."""

    def provenance(self) -> dict[str, Any]:
        """Return the columns of the runs table that say where and with what the run is made."""


def choose_engine(name: str, settings: TrainingSettings, device: str = "cpu", threads: int = 1) -> str:
    """Return the engine for a run: one of `ENGINES` but ``"auto"``.

    Parameters
    ----------
    name : str
        One of `ENGINES`. ``"auto"`` is native on a CPU where the package was built with it, for images of up to 32x32,
        or 8x8 where torch could use several threads; else torch-fast, which gives what torch gives up to rounding.
    settings : TrainingSettings
        How cells are to be trained.
    device : str
        Where.
    threads : int
        How many torch could use. The native engine uses one.

    Raises
    ------
    UnknownNameError, InvalidValueError, MissingDataError
        If there is no engine of that name, or the native one cannot do this or is not there.
    """
    from ..engines.native import runs_attack
    from ..native import is_available

    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    attacks = (settings.attack, *settings.evaluation)
    foreign = [f"{attack.norm} {attack.name}" for attack in attacks if not runs_attack(attack)]
    if name == "auto":
        small = settings.skeleton.image_size <= (NATIVE_SIZE if threads == 1 else NATIVE_SIZE_OF_THREADS)
        return "native" if small and device == "cpu" and not foreign and is_available() else "torch-fast"
    if name == "native" and (foreign or device != "cpu"):
        raise InvalidValueError("engine", name, f"torch for {', '.join(foreign) or device}", "torch")
    if name in GRAPHED and not device.startswith("cuda"):
        raise InvalidValueError("engine", name, f"torch-fast for {device}", "torch-fast")
    if name == "native" and not is_available():
        remedy = "install a C++ compiler and nasbench-robust again, or use torch"
        raise MissingDataError("this installation has no native engine", remedy)
    return name


def run_cell(
    cell: Cell,
    settings: TrainingSettings,
    images: Any,
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
    images : Images or ArrayImages
        Of the settings' data set: tensors on the device that is to be used for torch, arrays for the native engine.
    seed : int
        Decides all draws; an engine repeats itself, but two engines draw differently.
    engine : str
        ``"torch"``, any network anywhere; ``"torch-fast"`` and ``"torch-fast-bf16"``, the same by the paths ``"fast"``
        and ``"fast-bf16"`` of `paths`; ``"torch-fast-graph"`` and ``"torch-fast-bf16-graph"``, these as one CUDA graph
        a step, see `graphs`; or ``"native"``, small ones on a CPU and many times faster.
    progress : callable, optional
        Called with every `Epoch` as it ends.
    checkpoint : path, optional
        Where the state is kept; a run that has a state there goes on from it. That of the other engine is set
        aside.
    every : int
        Epochs between two checkpoints; after training there is one for every metric. The native engine leaves out
        those of less than half a minute's work.
    should_stop : callable, optional
        Asked after every step and every metric, by the native engine also in the middle of a metric; when it says yes,
        the state is kept and the run is interrupted.

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
    representative = Cell.from_index(cell.representative)
    if representative != cell:
        log.info("cell %d is the same graph as cell %d, which is trained", cell.index, representative.index)
    work = _begin(engine, representative, settings, images, seed, checkpoint)
    try:
        work.train(progress, every, should_stop)
    except TrainingDivergedError as error:
        return Run({**_row(work, representative, settings, seed), "failure": str(error)}, [], {})
    work.measure(should_stop)
    return Run(_row(work, representative, settings, seed), work.curve, work.outcomes, work.parts)


def _begin(
    engine: str,
    cell: Cell,
    settings: TrainingSettings,
    images: Any,
    seed: int,
    checkpoint: str | os.PathLike[str] | None,
) -> Work:
    if engine not in ENGINES[1:]:
        raise UnknownNameError("engine of a run", engine, ENGINES[1:])
    path = None if checkpoint is None else Path(checkpoint)
    device = "cpu" if engine == "native" else images.train.pixels.device.type
    if choose_engine(engine, settings, device) == "native":
        from ..engines.native import NativeWork

        return NativeWork(cell, settings, images, seed, path)
    from ..engines.torch import PATHS, GraphedTrainer, TorchWork, Trainer

    label, key = f"cell {cell.index}, seed {seed}", [settings.hash, cell.index, seed, engine]
    make_trainer = GraphedTrainer if engine in GRAPHED else Trainer
    trainer = make_trainer(cell, settings, images, seed, path=PATHS[engine])
    return TorchWork(trainer, label, key, path, engine)


def _row(work: Work, cell: Cell, settings: TrainingSettings, seed: int) -> dict[str, Any]:
    """Return the row of the runs table."""
    row = {
        "dataset": settings.dataset,
        "index": cell.index,
        "seed": seed,
        "seeds": 1,
        "test_images": work.test_images,
        "settings": settings.hash,
        "train_seconds": work.train_seconds,
        **work.provenance(),
        "revision": provenance.revision(),
        "date": datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
    }
    if work.outcomes:
        row["eval_seconds"] = work.eval_seconds
    for metric, outcome in work.outcomes.items():
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
    some = mine if mine.exists() else _any_shard(runs)
    if some is None:
        return False
    if Reader(some).info() != release_info(settings):
        raise InvalidValueError("folder", str(folder), f"a new folder, or one of runs with settings {settings.hash}")
    return some == mine


def _any_shard(runs: Path) -> Path | None:
    """Return one shard of a folder that may hold many thousands: the first that the system lists."""
    if not runs.is_dir():
        return None
    with os.scandir(runs) as entries:
        names = (entry.name for entry in entries)
        found = next((name for name in names if name.endswith(".parquet") and not name.startswith(".")), None)
    return None if found is None else runs / found


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


class OfDataset(Protocol):
    """Settings of training or of scores."""

    @property
    def dataset(self) -> str:
        """Canonical name of the data set."""


def shard_name(settings: OfDataset, index: int, seed: int) -> str:
    """Return the name of the file that a cell and seed have in each of the folders of a table."""
    return shard_file(settings.dataset, index, seed)


def shard_file(dataset: str, index: int, seed: int) -> str:
    """Return `shard_name`, given the name of the data set."""
    return f"{dataset}-{index:05d}-{seed}.parquet"


def _pack(outcome: Booleans) -> bytes:
    """Return one bit per image, image 0 in the lowest bit of the first byte."""
    return np.packbits(outcome, bitorder="little").tobytes()
