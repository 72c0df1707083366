"""A run under way in torch: the trainer, what was measured so far, and the checkpoint of both."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...arrays import Booleans
from ...errors import InvalidValueError, RunInterruptedError
from ...metrics import Metric
from ...runs import part_name
from .. import provenance
from ..checkpoints import load_checkpoint, save_checkpoint
from ..curves import Epoch
from .evaluation import evaluate
from .training import NetworkTrainer, make_generator

PATHS = {  # by engine
    "torch": "plain",
    "torch-fast": "fast",
    "torch-fast-bf16": "fast-bf16",
    "torch-fast-graph": "fast",
    "torch-fast-bf16-graph": "fast-bf16",
}


class TorchWork:
    """A run under way: the trainer, what was measured so far, and the checkpoint of both.

    Parameters
    ----------
    trainer : NetworkTrainer
        At its beginning.
    label : str
        What the run is called where it is stopped.
    key : list
        What tells the run from others, of plain values; a checkpoint with another key is refused.
    path : path or None
        The checkpoint, if there is to be one; a state that is there is taken up.
    engine : str
        What the run says that made it, one of `PATHS`.
    """

    def __init__(
        self, trainer: NetworkTrainer, label: str, key: list[Any], path: Path | None, engine: str = "torch"
    ) -> None:
        self.trainer = trainer
        self.outcomes: dict[Metric, Booleans] = {}
        self.parts: dict[str, Booleans] = {}
        self.eval_seconds = 0.0
        self._settings, self._images, self._seed = trainer.settings, trainer.images, trainer.seed
        self._label, self._key, self._path, self._engine = label, key, path, engine
        self.test_images = len(self._images.test.labels)
        state = None if path is None else load_checkpoint(path, self._images.train.pixels.device)
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
        for metric, outcome in zip(self._settings.metrics, state["outcomes"], strict=False):
            self.outcomes[metric] = outcome.cpu().numpy()
        self.parts = {name: survivors.cpu().numpy() for name, survivors in state["parts"].items()}

    def _keep(self) -> None:
        if self._path is not None:
            outcomes = [torch.from_numpy(outcome) for outcome in self.outcomes.values()]  # in the settings' order
            parts = {name: torch.from_numpy(survivors) for name, survivors in self.parts.items()}
            state = {"key": self._key, "training": self.trainer.state_dict(), "outcomes": outcomes, "parts": parts}
            save_checkpoint({**state, "eval_seconds": self.eval_seconds}, self._path)

    def _stop(self) -> None:
        self._keep()
        raise RunInterruptedError(f"{self._label}: stopped on request")

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
            found = evaluate(
                self.trainer.measured(),
                images,
                labels,
                [metric],
                generator,
                batch_size=self._settings.evaluation_batch,
                on_part=self._keep_part,
            )
            self.outcomes[metric] = found[metric].cpu().numpy()
            self.eval_seconds += time.perf_counter() - start
            self._keep()
            if should_stop():
                self._stop()

    def _keep_part(self, metric: Metric, part: str, survivors: torch.Tensor) -> None:
        self.parts[part_name(metric, part)] = survivors.cpu().numpy()

    def provenance(self) -> dict[str, Any]:
        """Return where and with what the run is made."""
        device = self._images.test.pixels.device
        on_gpu = device.type == "cuda"
        return {
            "engine": self._engine,
            "peak_memory_mib": (
                torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else provenance.peak_memory_mib()
            ),
            "device": torch.cuda.get_device_name(device) if on_gpu else provenance.processor(),
            "versions": provenance.versions(f"torch {torch.__version__} with {torch.get_num_threads()} thread(s)"),
        }
