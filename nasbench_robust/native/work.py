"""A run under way in the native engine. It takes seconds, so nothing of it is kept when it is interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .. import provenance
from ..cells import Cell
from ..epochs import Epoch
from ..image_arrays import ImageArrays
from ..metrics import Metric
from ..runs import Outcome, RunInterruptedError, part_name
from ..settings import TrainingSettings
from .draws import Draws
from .evaluation import evaluate
from .library import build_name
from .training import NativeTrainer

__all__ = ["NativeWork"]


class NativeWork:
    """The trainer and what was measured so far; see `nasbench_robust.runs.Work`."""

    def __init__(self, cell: Cell, settings: TrainingSettings, images: ImageArrays, seed: int) -> None:
        self.trainer = NativeTrainer(cell, settings, images, seed)
        self.outcomes: dict[Metric, Outcome] = {}
        self.parts: dict[str, Outcome] = {}
        self.eval_seconds = 0.0
        self.test_images = len(images.test[1])
        self._cell, self._settings, self._images, self._seed = cell, settings, images, seed

    @property
    def curve(self) -> list[Epoch]:
        """The curve so far."""
        return self.trainer.curve

    @property
    def train_seconds(self) -> float:
        """Time spent in training."""
        return self.trainer.seconds

    def train(
        self,
        progress: Callable[[Epoch], None] | None,
        every: int,  # noqa: ARG002 - there are no checkpoints
        should_stop: Callable[[], bool],
    ) -> None:
        """Train for all epochs."""
        while not self.trainer.finished:
            epoch = self.trainer.epoch()
            if progress is not None:
                progress(epoch)
            self._stop_if(should_stop)

    def measure(self, should_stop: Callable[[], bool]) -> None:
        """Measure everything; every metric has draws of its own."""
        for metric in self._settings.metrics:
            start = time.perf_counter()
            draws = Draws(self._seed, "evaluation")
            self.outcomes[metric] = evaluate(self.trainer.network, self._images, metric, draws, on_part=self._keep_part)
            self.eval_seconds += time.perf_counter() - start
            self._stop_if(should_stop)

    def _keep_part(self, metric: Metric, part: str, survivors: Outcome) -> None:
        self.parts[part_name(metric, part)] = survivors

    def _stop_if(self, should_stop: Callable[[], bool]) -> None:
        if should_stop():
            raise RunInterruptedError(f"cell {self._cell.index}, seed {self._seed}: stopped on request")

    def provenance(self) -> dict[str, Any]:
        """Return where and with what the run is made."""
        return {
            "engine": "native",
            "peak_memory_mib": provenance.peak_memory_mib(),
            "device": provenance.processor(),
            "versions": provenance.versions(f"native engine for {build_name()}"),
        }
