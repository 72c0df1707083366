"""The query of NASLib and of zero-cost suites over a robust table: ``query(metric, dataset, epoch)`` of one cell."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import Cell
from ..checks import integer, kind
from ..errors import MissingResultError, UnknownNameError
from .benchmark import Benchmark

# Names of NASLib's metrics: what of a curve each is, or None for what the table has at the end.
_METRICS = {
    "train_accuracy": "train_acc",
    "train_loss": "train_loss",
    "val_accuracy": None,
    "test_accuracy": None,
    "train_time": None,
    "params": None,
    "flops": None,
}


class NASLibCell:
    """A cell that answers as graphs of NASLib do, ``graph.query(metric, dataset, epoch=...)``.

    Parameters
    ----------
    bench : Benchmark
    arch : Cell, int or str
        As in `Benchmark.query`.
    accuracy : str
        The accuracy that takes the place of test and validation accuracy, ``"pgd_acc"`` for example.

    Examples
    --------
    >>> NASLibCell(bench, 9930, "pgd_acc").query("val_accuracy", epoch=4)  # doctest: +SKIP
    """

    def __init__(self, bench: Benchmark, arch: Cell | int | str, accuracy: str) -> None:
        self.bench: Benchmark = kind(Benchmark)("bench", bench)
        self.cell, self.accuracy = Cell.of(arch), accuracy
        for dataset in bench.datasets:
            bench.query_many([], dataset, accuracy)  # an unknown metric is an error here

    def __repr__(self) -> str:
        return f"NASLibCell({self.bench!r}, {self.cell.index}, {self.accuracy!r})"

    def query(
        self,
        metric: Any,
        dataset: str | None = None,
        epoch: int = -1,
        *,
        full_lc: bool = False,
        path: object = None,
        dataset_api: object = None,
    ) -> Any:
        """Return a number in NASLib's units: accuracies in percent, times in seconds, sizes in millions.

        Parameters
        ----------
        metric : str or an enum with such a name
            ``val_accuracy``, ``test_accuracy``, ``train_accuracy``, ``train_loss``, ``train_time``, ``params``,
            ``flops``; the enum of NASLib is taken as it is. Losses and training accuracy are those of attacked images.
        dataset : str, optional
            As in `Benchmark.query`.
        epoch : int
            From 0, as in NASLib; -1 is the end: what the table has, not the last point of the curve.
        full_lc : bool
            Whether to return the whole curve, a list.
        path, dataset_api
            Accepted for compatibility; `bench` is the data.

        Raises
        ------
        UnknownNameError
            If there is no such metric.
        MissingResultError
            If the release has no such split or no curves.
        """
        name = str(getattr(metric, "name", metric)).lower()
        if name not in _METRICS:
            raise UnknownNameError("metric", metric, tuple(_METRICS))
        if name in ("params", "flops"):
            skeleton = self.bench.info.datasets[self.bench._store.dataset(dataset)].skeleton
            size = self.cell.parameters(skeleton) if name == "params" else self.cell.flops(skeleton)
            return size / 1e6
        ends = integer(-1)("epoch", epoch) < 0 and not full_lc
        if ends and name.endswith(("val_accuracy", "test_accuracy")):
            split = "test" if name == "test_accuracy" else "validation"
            return 100 * self.bench.query(self.cell, dataset, self.accuracy, split=split)
        if ends and name == "train_time":
            return self.bench.train_seconds(self.cell, dataset)
        curve = self._curve(name, dataset)
        if full_lc:
            return curve
        return curve[-1] if epoch < 0 else curve[integer(0, len(curve) - 1)("epoch", epoch)]

    def _curve(self, name: str, dataset: str | None) -> list[float]:
        """Return a metric epoch by epoch, in its unit."""
        frame = self.bench.curve(self.cell, dataset)
        if name == "train_time":
            whole = self.bench.train_seconds(self.cell, dataset)
            return list(whole * np.arange(1, len(frame) + 1) / len(frame))
        if _METRICS[name] is not None:
            scale = 100 if name == "train_accuracy" else 1
            return list((scale * frame[_METRICS[name]]).tolist())
        split = {"validation": "val", "test": "test"}[frame.attrs["split"]]
        if not name.startswith(split):
            raise MissingResultError(f"curves of {self.bench.name} are measured on {frame.attrs['split']} images alone")
        values = self.bench.curve_values(dataset, self.accuracy)[self.cell.index]
        return list((100 * values[: len(frame)]).tolist())
