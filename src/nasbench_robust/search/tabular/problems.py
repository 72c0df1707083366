"""A table as a search problem: what a query answers, what it costs, and how much may be spent.

Accuracies and costs stand in arrays by cell index, so that a simulated query is a look-up, not a training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from ... import cells
from ...arrays import Floats
from ...cells import Cell
from ...errors import InvalidValueError, MissingResultError
from ...metrics import UNATTACKED, Metric, parse_long_name
from ...table import Benchmark, mean_by_index
from .pareto import running_hypervolume

RANDOM = "random"


@dataclass(frozen=True)
class Budget:
    """How much a search may spend; with both limits, whichever is reached first ends it.

    A query is made only if it fits: neither limit is ever exceeded.

    Attributes
    ----------
    queries : int or None
        Number of charged queries.
    seconds : float or None
        Training time: each charged query costs what the table recorded for training its cell once (the mean over
        seeds), or what the problem says.
    charge_repeats : bool
        Whether asking again for a cell of a class that was already queried is charged. True, the default, is what
        NATS-Bench's ``simulate_train_eval`` and NASLib do: a method that asks twice trains twice. False is a method
        with a memory: the first answer is given again for nothing, and leaves no trace in the trajectory.

    Raises
    ------
    InvalidValueError
        If there is no limit, or one that is not positive.
    """

    queries: int | None = None
    seconds: float | None = None
    charge_repeats: bool = True

    def __post_init__(self) -> None:
        if self.queries is None and self.seconds is None:
            raise InvalidValueError("budget", self, "a limit of queries, of seconds, or both", "Budget(queries=150)")
        whole = isinstance(self.queries, (int, np.integer)) and not isinstance(self.queries, bool)
        if self.queries is not None and not (whole and self.queries > 0):
            raise InvalidValueError("queries", self.queries, "a positive integer or None", "150")
        if self.seconds is not None:
            checked_seconds(self.seconds)


class TableProblem:
    """Find the cell with the best accuracy, or with the best trade-offs between several, in a table.

    Parameters
    ----------
    bench : Benchmark
        The table.
    metrics : str or sequence of str
        What to maximise, names as in `Benchmark.query`: one, or several for a multi-objective search.
    dataset : str, optional
        As in `Benchmark.query`.
    eps : float or str, optional
        Budget of every attacked metric that does not name its own; the data set's default otherwise.
    split : str
        Images that the search sees. ``"validation"`` by default, so that test images stay for the judgement; a release
        without a held-out split must be searched on ``"test"``, knowingly.
    seed : int or str, optional
        What a query returns: None, the default, the mean over the seeds there are; an integer, that run; ``"random"``,
        each time one of the cell's runs, drawn anew, as if it were trained then.
    seconds : float, optional
        Cost of a query in seconds; by default the training time that the table recorded for the cell, where it did.

    Attributes
    ----------
    dataset : str
        Canonical name.
    metrics : tuple of Metric
        What is maximised.
    columns : tuple of str
        Their long names.

    Raises
    ------
    MissingResultError
        If the release has no such metric, split or seed; it says what there is.
    InvalidValueError
        If there is no metric, or the same one twice.
    """

    def __init__(
        self,
        bench: Benchmark,
        metrics: str | Sequence[str],
        dataset: str | None = None,
        *,
        eps: float | str | None = None,
        split: str = "validation",
        seed: int | str | None = None,
        seconds: float | None = None,
    ) -> None:
        if isinstance(seed, str) and seed != RANDOM:
            raise InvalidValueError("seed", seed, "an integer, None for the mean over seeds, or 'random'", repr(RANDOM))
        self._store = bench._store  # its arrays, behind the same names and errors as the query API
        self.bench, self.split, self.seed = bench, split, seed
        self.dataset = self._store.dataset(dataset)
        names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        self.metrics: tuple[Metric, ...] = tuple(self._metric(name, eps, split) for name in names)
        self.columns = tuple(metric.column for metric in self.metrics)
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise InvalidValueError("metrics", metrics, "one metric, or several different ones", "'pgd_acc'")
        self.values = np.stack([self._array(metric) for metric in self.metrics], axis=1)
        self.runs = self._single_runs() if seed == RANDOM else None
        self._seconds = self._recorded_seconds() if seconds is None else np.full(cells.SIZE, checked_seconds(seconds))

    # ------------------------------------------------------------------ what the search sees

    @property
    def objectives(self) -> int:
        """Number of metrics that are maximised."""
        return len(self.metrics)

    @property
    def has_seconds(self) -> bool:
        """Whether it is known what queries cost in seconds."""
        return self._seconds is not None

    @property
    def seconds(self) -> Floats:
        """Cost of a query by cell index, shape (15625,), nan where it is not known.

        Raises
        ------
        MissingResultError
            If the release records no training time and the problem was given none.
        """
        if self._seconds is None:
            what = f"{self.bench.name} records no training time on {self.dataset}"
            hint = "say what a query costs, TableProblem(..., seconds=6600), or give a budget of queries"
            raise MissingResultError(what, hint=hint)
        return self._seconds

    @cached_property
    def answers(self) -> list[Any]:
        """What a query returns, by cell index: a float or, for several objectives, a tuple; nan or None: no result."""
        if self.objectives == 1:
            answers: list[Any] = self.values[:, 0].tolist()
            return answers
        return [None if any(map(math.isnan, row)) else tuple(row) for row in self.values.tolist()]

    def raise_missing(self, cell: Cell) -> NoReturn:
        """Say that the table has no answer for a cell."""
        for metric, value in zip(self.metrics, self.values[cell.index], strict=True):
            if math.isnan(value):
                seed = self.seed if isinstance(self.seed, int) else None
                self._store.raise_missing(cell, self.dataset, metric, seed)
        raise MissingResultError(f"{self.bench.name} records no training time for cell {cell.representative}")

    # ------------------------------------------------------------------ what it is judged by

    def judge(self, metric: str, *, eps: float | str | None = None, split: str = "test") -> Floats:
        """Return an accuracy by cell index, shape (15625,), mean over seeds, nan where there is none."""
        return self._store.array(self.dataset, self._metric(metric, eps, split), None)

    @property
    def judges(self) -> tuple[str, ...]:
        """Long names of the searched metrics on the test split, where the release has them."""
        measured = {metric.column: metric for metric in self._store.measured(self.dataset)}
        wanted = (column.partition("#")[0] for column in self.columns)
        return tuple(column for column in wanted if column in measured)

    @cached_property
    def means(self) -> Floats:
        """Mean accuracies over seeds by cell index, shape (15625, objectives), whatever single runs are queried."""
        return np.stack([self._store.array(self.dataset, metric, None) for metric in self.metrics], axis=1)

    @cached_property
    def optimum(self) -> float:
        """The best mean accuracy of any cell; for several objectives, the hypervolume of all cells above 0."""
        known = self.means[~np.isnan(self.means).any(axis=1)]
        if self.objectives == 1:
            return float(known.max())
        best_first = known[known.sum(axis=1).argsort()[::-1]]  # the front is found early, and most cells add nothing
        return float(running_hypervolume(best_first)[-1])

    def __repr__(self) -> str:
        return f"<TableProblem {self.bench.name}, {self.dataset}: {', '.join(self.columns)}>"

    # ------------------------------------------------------------------ reading the table

    def _metric(self, name: str, eps: float | str | None, split: str) -> Metric:
        short, named, _ = parse_long_name(name.partition("#")[0]) if isinstance(name, str) and name else ("", None, "")
        own = None if short in UNATTACKED or named is not None else eps
        try:
            return self._store.metric(self.dataset, name, own, split)
        except MissingResultError as error:
            held_out = any(metric.split == "validation" for metric in self._store.measured(self.dataset))
            if split == "validation" and not held_out:
                raise MissingResultError(
                    error.what,
                    hint=f"{self.bench.name} has no held-out split: split='test' selects on test images, knowingly",
                ) from None
            raise

    def _array(self, metric: Metric) -> Floats:
        if self.seed is None or self.seed == RANDOM:
            return self._store.array(self.dataset, metric, None)
        return self._store.array(*self._store.resolve(self.dataset, metric.column, None, self.seed, None))

    def _recorded_seconds(self) -> Floats | None:
        """Return the training time of every cell, the mean over its runs, or None where there is none."""
        seconds = self._store.floats(self.dataset, "train_seconds")
        given = ~np.isnan(seconds)
        if not given.any():
            return None
        index = self._store.integers(self.dataset, "index")[given]
        return mean_by_index(index, seconds[given])[0][cells.representatives()]

    def _single_runs(self) -> Floats:
        """Return the accuracies of single runs, shape (seeds, 15625, objectives), nan where one is missing."""
        ran = [set(self._store.rows(self.dataset, metric).seed.tolist()) - {-1} for metric in self.metrics]
        seeds = sorted(set.intersection(*ran))
        if not seeds:
            what = f"{self.bench.name} gives no single seeds for {', '.join(self.columns)} on {self.dataset}"
            raise MissingResultError(what, hint="seed=None returns the means that it has")
        runs = [[self._store.array(self.dataset, metric, seed) for metric in self.metrics] for seed in seeds]
        return np.moveaxis(np.array(runs), 1, 2)


def checked_seconds(seconds: float) -> float:
    """Return seconds as a float if they are a positive number."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float, np.integer, np.floating)):
        raise InvalidValueError("seconds", seconds, "a positive number or None")
    if not 0 < seconds < math.inf:
        raise InvalidValueError("seconds", seconds, "a positive number or None")
    return float(seconds)
