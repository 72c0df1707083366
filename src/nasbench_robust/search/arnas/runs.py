"""Training of what a search over several cells found: networks that no table holds, one JSON file per run.

An architecture is a `Genotype` of ARNAS's own space, trained by ARNAS's recipe, or `StagedCells`, cells of the
benchmark's space, not the same in all stages, trained by the benchmark's own protocol.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...arrays import Record
from ...cells import Cell
from ...datasets import dataset
from ...engines import Epoch, Running, engine_named, provenance
from ...engines.torch import NetworkTrainer, make_generator
from ...errors import InvalidValueError, TrainingDivergedError
from ...files import is_there, json_hash, write_bytes
from ...images import TensorImages
from ...metrics import stored_fields
from ...networks import StagedNetwork
from ...settings import AdversarialSettings, TrainingSettings, settings_for
from .networks import ArnasNetwork
from .settings import ArnasSettings, arnas_settings_for
from .space import ARNAS, Genotype, read_genotype


@dataclass(frozen=True)
class StagedCells:
    """A cell of the benchmark's space for every stage, at ARNAS's widths C, 2C and 2C.

    Attributes
    ----------
    cells : tuple of three Cell
        As ARNAS searches them the first two are equal, the Accurate cell, and the third is the Robust cell. Three
        equal ones are a homogeneous control.
    """

    cells: tuple[Cell, Cell, Cell]

    @classmethod
    def of(cls, accurate: Cell, robust: Cell | None = None) -> StagedCells:
        """Return the stages of a found pair of cells, or of one cell alone."""
        return cls((accurate, accurate, accurate if robust is None else robust))

    def to_dict(self) -> dict[str, Any]:
        """Return the cells as strings, and the widths as multiples of C."""
        return {"stages": [str(cell) for cell in self.cells], "widths": [1, 2, 2]}

    def network(self, settings: TrainingSettings, generator: torch.Generator) -> StagedNetwork:
        """Return the network with weights drawn from the generator."""
        images, channels = dataset(settings.dataset), settings.skeleton.channels
        options: dict[str, Any] = {"mean": images.mean, "std": images.std, "generator": generator}
        return StagedNetwork(self.cells, settings.skeleton, widths=(channels, 2 * channels, 2 * channels), **options)


Architecture = Genotype | StagedCells
Unit = tuple[Architecture, int]  # with a seed


def parse_architecture(text: str) -> Architecture:
    """Return the architecture that a text names.

    Parameters
    ----------
    text : str
        ``"arnas"``, the published genotype; the path of a JSON file with a genotype; or one or two cells of the
        benchmark's space, strings or indices separated by a comma: the first for stages 1 and 2, the second for stage
        3, one alone for all.
    """
    if text == "arnas":
        return ARNAS
    if text.endswith(".json"):
        return read_genotype(text)
    names = [name.strip() for name in text.split(",")]
    if len(names) > 2:
        raise InvalidValueError("genotype", text, "'arnas', a .json file, or one or two cells separated by a comma")
    return StagedCells.of(*map(Cell.from_text, names))


def default_settings(architecture: Architecture, name: str) -> AdversarialSettings:
    """Return the settings of an architecture's kind for a data set: ARNAS's recipe or the benchmark's protocol."""
    return arnas_settings_for(name) if isinstance(architecture, Genotype) else settings_for(name)


class ArnasTrainer(NetworkTrainer):
    """Training by ARNAS's recipe: the learning rate drops at milestones and long gradients are clipped.

    Parameters are those of `NetworkTrainer`, with `ArnasSettings`.
    """

    settings: ArnasSettings

    def __init__(self, network: torch.nn.Module, settings: ArnasSettings, images: TensorImages, seed: int) -> None:
        super().__init__(network, settings, images, seed)

        def clip(*_: object) -> None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_clip)

        self._optimiser.register_step_pre_hook(clip)

    def _make_schedule(self, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        decay, per_epoch = self.settings.decay, steps // self.settings.epochs
        return torch.optim.lr_scheduler.LambdaLR(self._optimiser, lambda step: decay(step // per_epoch))


def make_trainer(
    architecture: Architecture, settings: AdversarialSettings, images: TensorImages, seed: int
) -> NetworkTrainer:
    """Return the trainer of an architecture at its beginning; the seed decides the initial weights too.

    Raises
    ------
    InvalidValueError
        If the settings are not of the architecture's kind.
    """
    generator = make_generator(seed, "weights")
    if isinstance(architecture, Genotype) and isinstance(settings, ArnasSettings):
        size = {"channels": settings.channels, "layers": settings.layers}
        network = ArnasNetwork(architecture, settings.dataset, **size, generator=generator)
        return ArnasTrainer(network, settings, images, seed)
    if isinstance(architecture, StagedCells) and isinstance(settings, TrainingSettings):
        return NetworkTrainer(architecture.network(settings, generator), settings, images, seed)
    expected = "ArnasSettings for a Genotype, TrainingSettings for StagedCells"
    raise InvalidValueError("settings", type(settings).__name__, expected)


def run_name(architecture: Architecture, settings: AdversarialSettings, seed: int) -> str:
    """Return a name of the run that no other has, for its files: data set, hashes of both, seed."""
    return f"{settings.dataset}-{json_hash(architecture.to_dict())[:8]}-{settings.hash[:8]}-{seed}"


def run_architecture(
    architecture: Architecture,
    settings: AdversarialSettings,
    images: TensorImages,
    seed: int,
    *,
    progress: Callable[[Epoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train an architecture, measure it on the held-out splits and return the result as JSON can hold it.

    Parameters are those of `runs.run_cell`, as is what happens to interrupted and to diverged runs.

    Returns
    -------
    dict
        ``architecture``, ``parameters``, ``settings`` and their ``settings_hash``, ``seed``, ``curve`` (one dictionary
        per epoch), ``accuracies`` (metric, attack, split, correct images, images), seconds and provenance; a diverged
        run has ``failure`` and no curve and accuracies.
    """
    trainer = make_trainer(architecture, settings, images, seed)
    name = run_name(architecture, settings, seed)
    running = Running(engine_named("torch"), trainer, name, [name], None if checkpoint is None else Path(checkpoint))
    try:
        running.train(progress, every, should_stop)
        running.measure(should_stop)
        ending = _measured(running)
    except TrainingDivergedError as error:
        ending = {"failure": str(error)}
    return {
        "architecture": architecture.to_dict(),
        "parameters": sum(parameter.numel() for parameter in trainer.network.parameters()),
        "seed": seed,
        "settings": settings.to_dict(),
        "settings_hash": settings.hash,
        **ending,
        "train_seconds": trainer.seconds,
        "eval_seconds": running.eval_seconds,
        "train_cpu_seconds": running.train_cpu_seconds,
        "eval_cpu_seconds": running.eval_cpu_seconds,
        **running.provenance(),
        "revision": provenance.revision(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def _measured(running: Running) -> dict[str, Any]:
    """Return curve and accuracies as JSON can hold them."""
    accuracies = [
        {
            "metric": metric.column,
            "split": metric.split,
            "attack": metric.attack and asdict(metric.attack, dict_factory=stored_fields),
            "correct": int(outcome.sum()),
            "images": len(outcome),
        }
        for metric, outcome in running.outcomes.items()
    ]
    return {"curve": [asdict(epoch) for epoch in running.trainer.curve], "accuracies": accuracies}


def write_result(result: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a result as JSON; the file appears whole or not at all."""
    write_bytes((json.dumps(result, indent=1, allow_nan=False) + "\n").encode(), Path(path))


@dataclass(frozen=True, eq=False, repr=False)
class GenotypeJob(Record):
    """Runs of architectures as a `nasbench_robust.runs.Job`; units are pairs of an architecture and a seed.

    Attributes
    ----------
    settings : dict of Architecture to AdversarialSettings
        How each of them is trained.
    folder : Path
        Of the results.
    images : Images
        On the device that is to be used.
    """

    settings: dict[Architecture, AdversarialSettings]
    folder: Path
    images: TensorImages

    @property
    def epochs(self) -> int:
        """The most epochs of a run."""
        return max(settings.epochs for settings in self.settings.values())

    def name(self, unit: Unit) -> str:
        """Return the name of the run's file, without its ending."""
        return run_name(unit[0], self.settings[unit[0]], unit[1])

    def label(self, unit: Unit) -> str:
        """Return what a run is called where it is reported."""
        return self.name(unit)

    def is_done(self, unit: Unit) -> bool:
        """Return whether the folder holds the run already."""
        return is_there(self.folder / f"{self.name(unit)}.json")

    def run(
        self, unit: Unit, checkpoint: Path, progress: Callable[[Epoch], None], should_stop: Callable[[], bool]
    ) -> dict[str, Any]:
        """Make a run."""
        architecture, seed = unit
        options: dict[str, Any] = {"progress": progress, "checkpoint": checkpoint, "should_stop": should_stop}
        return run_architecture(architecture, self.settings[architecture], self.images, seed, **options)

    def write(self, unit: Unit, result: dict[str, Any]) -> Path:
        """Write the result as JSON."""
        path = self.folder / f"{self.name(unit)}.json"
        write_result(result, path)
        return path

    def summary(self, result: dict[str, Any]) -> str:
        """Return what is reported of a run: its size and accuracies, or why it has none."""
        if "failure" in result:
            return str(result["failure"])
        measured = [f"{entry['metric']} {entry['correct'] / entry['images']:.4f}" for entry in result["accuracies"]]
        return ", ".join([f"{result['parameters']} parameters", *measured])
