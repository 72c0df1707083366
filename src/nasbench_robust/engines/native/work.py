"""A run under way in the native engine: the trainer, what was measured so far, and the checkpoint of both. No torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Booleans
from ...cells import Cell
from ...errors import InvalidValueError, RunInterruptedError
from ...images import ArrayImages
from ...metrics import PARTS, Metric
from ...native import build_name
from ...runs import part_name
from ...settings import TrainingSettings
from .. import provenance
from ..checkpoints import load_archive, save_archive
from ..curves import Epoch
from ..draws import Draws
from .evaluation import measure
from .training import NativeTrainer

# Seconds: less work than this is kept only when the run is to stop, since digits would write more than they compute.
SPARING = 30.0
# Seconds: more work than this is kept in the middle of an epoch too, which takes half an hour for a large cell.
GENEROUS = 300.0


class NativeWork:
    """The trainer and what was measured so far; see `nasbench_robust.runs.Work`."""

    def __init__(
        self, cell: Cell, settings: TrainingSettings, images: ArrayImages, seed: int, path: Path | None
    ) -> None:
        self.trainer = NativeTrainer(cell, settings, images, seed)
        self.outcomes: dict[Metric, Booleans] = {}
        self.parts: dict[str, Booleans] = {}
        self.eval_seconds = 0.0
        self.test_images = len(images.test)
        self._cell, self._settings, self._images, self._seed, self._path = cell, settings, images, seed, path
        self._key = ["native", settings.hash, cell.index, seed]
        self._measured: list[Booleans] = []  # by the metric that is under way, of the first images of its split
        state = None if path is None else load_archive(path)
        if state is not None:
            self._resume(state)
        self._kept = time.monotonic()

    @property
    def curve(self) -> list[Epoch]:
        """The curve so far."""
        return self.trainer.curve

    @property
    def train_seconds(self) -> float:
        """Time spent in training."""
        return self.trainer.seconds

    def _resume(self, state: dict[str, Any]) -> None:
        if state.get("key") != self._key:
            raise InvalidValueError("checkpoint", str(self._path), f"a state of the run {self._key}")
        self.trainer.load_state_dict(state)
        self.eval_seconds = state["eval_seconds"]
        for metric in self._settings.metrics:
            if metric.column in state:
                self._end_metric(metric, state[metric.column])
        if state["measured"].size:
            self._measured = [state["measured"]]

    def _keep(self) -> None:
        if self._path is None:
            return
        state = {**self.trainer.state_dict(), "key": self._key, "eval_seconds": self.eval_seconds}
        state["measured"] = np.concatenate(self._measured, axis=1) if self._measured else np.zeros((1, 0), bool)
        for metric, outcome in self.outcomes.items():
            names = [part_name(metric, part) for part in PARTS]
            state[metric.column] = np.array([self.parts[name] for name in names if name in self.parts] or [outcome])
        save_archive(state, self._path)
        self._kept = time.monotonic()

    def _keep_after(self, seconds: float) -> None:
        if time.monotonic() - self._kept >= seconds:
            self._keep()

    def _stop_if(self, should_stop: Callable[[], bool]) -> None:
        if should_stop():
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
                    self._keep_after(SPARING)
            self._keep_after(GENEROUS)
            self._stop_if(should_stop)

    def measure(self, should_stop: Callable[[], bool]) -> None:
        """Measure what is left; every metric has draws of its own, so that an interruption changes nothing."""
        for metric in self._settings.metrics:
            if metric in self.outcomes:
                continue
            draws, done = Draws(self._seed, "evaluation"), sum(found.shape[1] for found in self._measured)
            parts = measure(self.trainer.network, self._images, metric, draws, done)
            start = time.perf_counter()
            for found in parts:
                self._measured.append(found)
                self.eval_seconds += time.perf_counter() - start
                self._keep_after(SPARING)
                self._stop_if(should_stop)
                start = time.perf_counter()
            self._end_metric(metric, np.concatenate(self._measured, axis=1))

    def _end_metric(self, metric: Metric, survivors: Booleans) -> None:
        """Take the survivors after each part of a metric, one row for those that have no parts."""
        self.outcomes[metric] = survivors[-1]
        if len(survivors) > 1:
            self.parts |= {part_name(metric, part): row for part, row in zip(PARTS, survivors, strict=True)}
        self._measured = []

    def provenance(self) -> dict[str, Any]:
        """Return where and with what the run is made."""
        return {
            "engine": "native",
            "peak_memory_mib": provenance.peak_memory_mib(),
            "device": provenance.processor(),
            "versions": provenance.versions(f"native engine for {build_name()}"),
        }
