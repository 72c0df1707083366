"""A run under way in torch: the trainer, what was measured so far, and the checkpoint of both."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from . import provenance
from .cells import Cell
from .checkpoints import load_checkpoint, save_checkpoint
from .epochs import Epoch
from .errors import InvalidValueError
from .evaluation import evaluate
from .images import Images
from .metrics import Metric
from .runs import Outcome, RunInterruptedError, part_name
from .settings import TrainingSettings
from .training import Trainer, make_generator

__all__ = ["TorchWork"]

PATHS = {"torch": "plain", "torch-fast": "fast", "torch-fast-bf16": "fast-bf16"}  # by engine


class TorchWork:
    """A run under way: the trainer, what was measured so far, and the checkpoint of both."""

    def __init__(
        self, cell: Cell, settings: TrainingSettings, images: Images, seed: int, path: Path | None, engine: str
    ) -> None:
        self.trainer = Trainer(cell, settings, images, seed, path=PATHS[engine])
        self.outcomes: dict[Metric, Outcome] = {}
        self.parts: dict[str, Outcome] = {}
        self.eval_seconds = 0.0
        self.test_images = len(images.test_labels)
        self._cell, self._settings, self._images, self._seed, self._path = cell, settings, images, seed, path
        self._engine, self._key = engine, [settings.hash, cell.index, seed, engine]
        state = None if path is None else load_checkpoint(path, images.train_images.device)
        if state is not None:
            self._resume(state)

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
            found = f"a state of the run {self._key}, not of {state.get('key')}"
            raise InvalidValueError("checkpoint", str(self._path), found)
        self.trainer.load_state_dict(state["training"])
        self.eval_seconds = state["eval_seconds"]
        for metric in self._settings.metrics:
            if metric.column in state["outcomes"]:
                self.outcomes[metric] = state["outcomes"][metric.column].cpu().numpy()
        self.parts = {name: survivors.cpu().numpy() for name, survivors in state["parts"].items()}

    def _keep(self) -> None:
        if self._path is not None:
            outcomes = {metric.column: torch.from_numpy(outcome) for metric, outcome in self.outcomes.items()}
            parts = {name: torch.from_numpy(survivors) for name, survivors in self.parts.items()}
            state = {"key": self._key, "training": self.trainer.state_dict(), "outcomes": outcomes, "parts": parts}
            save_checkpoint({**state, "eval_seconds": self.eval_seconds}, self._path)

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
            found = evaluate(self.trainer.measured(), images, labels, [metric], generator, on_part=self._keep_part)
            self.outcomes[metric] = found[metric].cpu().numpy()
            self.eval_seconds += time.perf_counter() - start
            self._keep()
            if should_stop():
                self._stop()

    def _keep_part(self, metric: Metric, part: str, survivors: torch.Tensor) -> None:
        self.parts[part_name(metric, part)] = survivors.cpu().numpy()

    def provenance(self) -> dict[str, Any]:
        """Return where and with what the run is made."""
        device = self._images.test_images.device
        on_gpu = device.type == "cuda"
        return {
            "engine": self._engine,
            "peak_memory_mib": (
                torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else provenance.peak_memory_mib()
            ),
            "device": torch.cuda.get_device_name(device) if on_gpu else provenance.processor(),
            "versions": provenance.versions(f"torch {torch.__version__} with {torch.get_num_threads()} thread(s)"),
        }
