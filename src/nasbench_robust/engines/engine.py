"""What an engine is: a way of training a cell and measuring it. `catalogue` lists those that there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ..arrays import Booleans
from ..cells import Cell
from ..images import Images
from ..metrics import Metric
from ..settings import AdversarialSettings, TrainingSettings
from .curves import Epoch


class Trainer(Protocol):
    """Training of one network, step by step; it can be stopped after any step and taken up again without a trace.

    Attributes
    ----------
    images : Images
    seed : int
    curve : list of Epoch
        One entry per finished epoch.
    seconds : float
        Time spent in `step` so far, also before an interruption.
    """

    images: Any
    seed: int
    curve: list[Epoch]
    seconds: float

    @property
    def settings(self) -> AdversarialSettings:
        """How the network is trained."""

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""

    def step(self) -> Epoch | None:
        """Take one step; return the epoch if it was the last of one, raise `TrainingDivergedError` if it diverged."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on: arrays or tensors, and plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it; arrays stand where tensors were."""


class Engine(Protocol):
    """A way of making a run.

    Attributes
    ----------
    name : str
        As in the table of engines, and in the rows of its runs.
    """

    name: str

    def refuses(self, settings: TrainingSettings, device: str) -> str | None:
        """Return what could do this in its place, ``"torch for L2 pgd"``, or None if it can."""

    def affinity(self, settings: TrainingSettings, device: str, threads: int) -> int:
        """Return how well it does this: 2 better than others, 1 well, 0 only if asked for by name, -1 it is not here.

        ``"auto"`` takes the engine of the largest affinity among those that do not refuse.
        """

    def load(self, images: Images[Any], device: str) -> Images[Any]:
        """Return images as the trainer wants them: arrays, or tensors on the device."""

    def trainer(self, cell: Cell, settings: TrainingSettings, images: Images[Any], seed: int) -> Trainer:
        """Return the training of a cell at its beginning."""

    def measure(self, trainer: Trainer, metric: Metric, done: int) -> Iterator[Booleans]:
        """Measure the network of a trainer as it is now, after the first `done` images of the metric's split.

        Yields
        ------
        ndarray of bool, shape (k, m)
            Of the next m images those that are classified correctly; of an AutoAttack after each of its parts, else
            k = 1. A run can be stopped in between.
        """

    def provenance(self, trainer: Trainer) -> dict[str, Any]:
        """Return the columns of the runs table that say where and with what the run is made.

        ``versions`` names all that decides its numbers on this kind of device, by `provenance.versions`: a checkpoint
        with other ones is not taken up.
        """
