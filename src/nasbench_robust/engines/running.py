"""A run under way, in any engine: its trainer, what was measured so far, and the checkpoint of both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Booleans
from ..attacks import warn_of_accuracies
from ..errors import RunInterruptedError
from ..metrics import PARTS, Metric
from . import provenance
from .checkpoints import Checkpoint
from .curves import Epoch
from .engine import Engine, Trainer
from .watch import Step, stop_if_asked, tell, watching

# Seconds: less work than this is kept only when the run is to stop, since digits would write more than they compute.
SPARING = 30.0
# Seconds: more work than this is kept in the middle of an epoch too, which takes half an hour for a large cell.
GENEROUS = 300.0
_SECONDS = ("eval_seconds", "train_cpu_seconds", "eval_cpu_seconds")  # kept here; the trainer keeps its own


class Running:
    """A run under way: the trainer, what was measured so far, and the checkpoint of both.

    Parameters
    ----------
    engine : Engine
        Measures what the trainer trains.
    trainer : Trainer
        At its beginning.
    label : str
        What the run is called where it is stopped.
    key : list
        What tells the run from others, beside its engine, of plain values; a checkpoint with another key is refused.
    path : path or None
        The checkpoint, if there is to be one; a state that is there is taken up if the same maker made it.

    Attributes
    ----------
    outcomes : dict of Metric to ndarray of bool
        Which images of the metric's split were classified correctly.
    parts : dict of str to ndarray of bool
        Which of them were so after each part of an AutoAttack, by the names of `part_name`.
    eval_seconds : float
        Time spent in measuring, also before an interruption.
    train_cpu_seconds, eval_cpu_seconds : float
        Seconds of processors that the process, all of its threads, spent in steps and in measuring; the same.
    """

    def __init__(self, engine: Engine, trainer: Trainer, label: str, key: list[Any], path: Path | None) -> None:
        self.trainer = trainer
        self.outcomes: dict[Metric, Booleans] = {}
        self.parts: dict[str, Booleans] = {}
        self.eval_seconds = self.train_cpu_seconds = self.eval_cpu_seconds = 0.0
        self._engine, self._label = engine, label
        self._ended: list[Booleans] = []  # survivors by part of the metrics that are done, in the settings' order
        self._measured: list[Booleans] = []  # by the metric that is under way, of the first images of its split
        provenance.forget_peak_memory(trainer.images)
        versions = str(self.provenance().get("versions", ""))
        self._checkpoint = Checkpoint(path, "run", [engine.name, *key], versions, trainer.images)
        self._checkpoint.resume(trainer, self._take_up)
        self._kept = time.monotonic()

    @property
    def test_images(self) -> int:
        """Size of the test split."""
        return len(self.trainer.images.test)

    def _take_up(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(state["training"])
        seconds = [float(state[name]) for name in _SECONDS]
        ended, measured = state["ended"], state["measured"]
        metrics = self.trainer.settings.metrics
        for metric, survivors in zip(metrics, [*ended, measured], strict=False):
            rows = len(PARTS) if metric.name == "autoattack_acc" else 1
            shape, whole = (rows, len(self.trainer.images.held_out(metric.split))), survivors is not measured
            fits = survivors.shape == shape or not (whole or survivors.shape[1] > shape[1])
            if survivors.dtype != bool or not fits or (survivors.size and len(survivors) != rows):
                raise ValueError(f"outcomes of the shape {survivors.shape} for {metric.column}, not {shape}")
        rest = [measured] if measured.size else []
        for metric, survivors in zip(metrics, ended, strict=False):
            self._end_metric(metric, survivors)
        self._measured = rest
        self.eval_seconds, self.train_cpu_seconds, self.eval_cpu_seconds = seconds

    def _keep(self) -> None:
        if self._checkpoint.path is None:
            return
        measured = np.concatenate(self._measured, axis=1) if self._measured else np.zeros((1, 0), bool)
        state = {"training": self.trainer.state_dict(), "ended": self._ended, "measured": measured}
        self._checkpoint.save({**state, **{name: getattr(self, name) for name in _SECONDS}})
        self._kept = time.monotonic()

    def _keep_after(self, seconds: float) -> None:
        if time.monotonic() - self._kept >= seconds:
            self._keep()

    @contextlib.contextmanager
    def _watching(self, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Keep long work from time to time, and what there is when the run is to stop; both are asked in the middle."""

        def ask() -> bool:
            self._keep_after(GENEROUS)
            return should_stop()

        try:
            with watching(ask):
                yield
        except RunInterruptedError:
            self._keep()
            raise RunInterruptedError(f"{self._label}: stopped on request") from None

    def train(self, progress: Callable[[Epoch], None] | None, every: int, should_stop: Callable[[], bool]) -> None:
        """Take all steps that are left."""
        steps, done = -(-len(self.trainer.images.train) // self.trainer.settings.batch_size), 0
        with self._watching(should_stop):
            while not self.trainer.finished:
                epoch, done = self._step(), done + 1
                tell(Step(f"epoch {len(self.trainer.curve) + (epoch is None)}", done, max(steps, done)))
                if epoch is not None:
                    done = 0
                    if progress is not None:
                        progress(epoch)
                    if epoch.epoch % every == 0 or self.trainer.finished:
                        self._keep_after(SPARING)
                stop_if_asked()

    def _step(self) -> Epoch | None:
        start = time.process_time()
        try:
            return self.trainer.step()
        finally:
            self.train_cpu_seconds += time.process_time() - start

    def measure(self, should_stop: Callable[[], bool]) -> None:
        """Measure what is left; every metric has draws of its own, so that an interruption changes nothing."""
        with self._watching(should_stop):
            for metric in self.trainer.settings.metrics:
                if metric in self.outcomes:
                    continue
                self._measure_rest(metric)
                self._end_metric(metric, np.concatenate(self._measured, axis=1))
        warn_of_accuracies({metric: float(mask.mean()) for metric, mask in self.outcomes.items()})

    def _measure_rest(self, metric: Metric) -> None:
        """Measure the images of a metric's split that are left."""
        done, images = sum(part.shape[1] for part in self._measured), len(self.trainer.images.held_out(metric.split))
        if done == images:
            return
        start = time.perf_counter(), time.process_time()
        try:
            for correct in self._engine.measure(self.trainer, metric, done):
                self._measured.append(correct)
                done += correct.shape[1]
                self._count(*start)
                tell(Step(metric.column, done, images))
                self._keep_after(SPARING)
                start = time.perf_counter(), time.process_time()
                stop_if_asked()
        except RunInterruptedError:
            self._count(*start)
            raise

    def _count(self, start: float, cpu_start: float) -> None:
        self.eval_seconds += time.perf_counter() - start
        self.eval_cpu_seconds += time.process_time() - cpu_start

    def _end_metric(self, metric: Metric, survivors: Booleans) -> None:
        """Take the survivors after each part of a metric, one row for those that have no parts."""
        self._ended.append(survivors)
        self.outcomes[metric] = survivors[-1]
        if len(survivors) > 1:
            self.parts |= {part_name(metric, part): row for part, row in zip(PARTS, survivors, strict=True)}
        self._measured = []

    def provenance(self) -> dict[str, Any]:
        """Return the columns of the runs table that say where and with what the run is made."""
        return {"engine": self._engine.name, **self._engine.provenance(self.trainer)}


def part_name(metric: Metric, part: str) -> str:
    """Return what the outcomes after a part of an AutoAttack are called, ``autoattack_acc@8/255>apgd_t``.

    They are the images that withstood this part and those before it, which is not what the part alone would leave.
    """
    return f"{metric.column}>{part}"
