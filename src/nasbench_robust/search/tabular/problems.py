"""A table as a search problem: what a query answers, what it costs, and how much may be spent.

Accuracies and costs stand in arrays by cell index, so that a simulated query is a look-up, not a training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np

from ... import cells
from ...arrays import Floats, Record, read_only
from ...cells import Cell
from ...checks import flag, integer, kind, number
from ...errors import InvalidValueError, MissingResultError, UnknownNameError
from ...metrics import UNATTACKED, Metric, parse_long_name
from ...table import Benchmark, Result, charged_by
from .pareto import running_hypervolume

RANDOM = "random"
EPOCH = "epoch"


@dataclass(frozen=True)
class Budget:
    """How much a search may spend; with several limits, whichever is reached first ends it.

    A query is made only if it fits: no limit is ever exceeded.

    Attributes
    ----------
    queries : int or None
        Number of charged queries.
    seconds : float or None
        Training time: each charged query costs what the table recorded for training its cell once (the mean over
        seeds, of processors where the release has them), or what the problem says.
    epochs : int or None
        Epochs of training, of a problem with ``fidelity="epoch"``: a question costs those that the farthest training
        of the class that is not there yet still misses, or all of a new one. Seconds are charged in proportion.
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
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.queries is self.seconds is self.epochs is None:
            raise InvalidValueError("budget", self, "a limit of queries, seconds or epochs", "Budget(queries=150)")
        if self.epochs is not None:
            integer(1)("epochs", self.epochs)
        if self.queries is not None:
            integer(1)("queries", self.queries)
        if self.seconds is not None:
            number(above=True)("seconds", self.seconds)
        flag("charge_repeats", self.charge_repeats)


checked_budget = kind(Budget, "Budget(queries=150)")


class TableProblem(Record):
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
        without a held-out split must be searched on ``"test"``, knowingly. A metric that names another one is an error.
    seed : int or str, optional
        What a query returns: None, the default, the mean over the seeds there are; an integer, that run; ``"random"``,
        each time one of the cell's runs, drawn anew, as if it were trained then.
    seconds : float, optional
        Cost of a query in seconds; by default the training time that the table recorded for the cell, where it did: of
        processors where it has those, else by the clock.
    fidelity : str, optional
        ``"epoch"``: a search may ask for a cell after fewer epochs, ``(cell, epoch)``, and go on from there later. All
        answers then come from the curves, `Benchmark.curve`: of ``clean_acc``, or of ``pgd_acc`` under the PGD of the
        training settings. What is found is judged by the table as ever.

    Attributes
    ----------
    dataset : str
        Canonical name.
    metrics : tuple of Metric
        What is maximised.
    columns : tuple of str
        Their long names.
    split, seed, cost
        As they were given, `cost` as ``seconds``.
    fidelity : str or None
    curve : ndarray of float64, shape (15625, epochs), or None
        With a fidelity, what a query returns, by cell index and epoch.
    charged : str or None
        The column of the table that queries are charged by, ``"train_cpu_seconds"`` or ``"train_seconds"``; None where
        `seconds` says what they cost, or nothing does.

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
        fidelity: str | None = None,
    ) -> None:
        if isinstance(seed, str) and seed != RANDOM:
            raise InvalidValueError("seed", seed, "an integer, None for the mean over seeds, or 'random'", repr(RANDOM))
        self.bench: Benchmark = kind(Benchmark)("bench", bench)
        self.split, self.seed, self.cost = split, seed, seconds
        self._seeds = {metric.column: seeds for metric, seeds in bench.measured(dataset).items()}
        names = (metrics,) if isinstance(metrics, str) else tuple(metrics) if isinstance(metrics, Iterable) else ()
        answers = [self._any_answer(_question(bench, dataset, name, eps, split)) for name in names]
        self.metrics = tuple(Metric(one.metric.partition("@")[0], one.attack, one.split) for one in answers)
        self.columns = tuple(metric.column for metric in self.metrics)
        if not self.columns or len(set(self.columns)) < len(self.columns):
            raise InvalidValueError("metrics", metrics, "one metric, or several different ones", "'pgd_acc'")
        self.dataset = answers[0].dataset
        self._seed = None if isinstance(seed, str) else seed
        self.values = self._table(self._seed)
        self.runs = self._single_runs() if seed == RANDOM else None
        if fidelity not in (None, EPOCH):
            raise UnknownNameError("fidelity", fidelity, (EPOCH,))
        self.fidelity = fidelity
        self.curve = None if fidelity is None else self._curve()
        self.charged = charged_by(bench, dataset) if seconds is None else None
        if seconds is None:
            self._seconds = None if self.charged is None else bench.values(dataset, self.charged)
        else:
            self._seconds = read_only(np.full(cells.SIZE, number(above=True)("seconds", seconds)))

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
    def answers(self) -> tuple[Any, ...]:
        """What a query returns, by cell index: a float or, for several objectives, a tuple; nan or None: no result."""
        if self.objectives == 1:
            return tuple(self.values[:, 0].tolist())
        return tuple(None if any(map(math.isnan, row)) else tuple(row) for row in self.values.tolist())

    def raise_missing(self, cell: Cell) -> NoReturn:
        """Say that the table has no answer for a cell."""
        for column in self.columns:
            self.bench.query(cell, self.dataset, column, seed=self._seed)
        raise MissingResultError(f"{self.bench.name} records no training time for cell {cell.representative}")

    # ------------------------------------------------------------------ what it is judged by

    def judge(self, metric: str, *, eps: float | str | None = None, split: str | None = None) -> Floats:
        """Return an accuracy by cell index, shape (15625,), mean over seeds, nan where there is none."""
        return self._values(_question(self.bench, self.dataset, metric, eps, split))

    @property
    def judges(self) -> tuple[str, ...]:
        """Long names of the searched metrics on the test split, where the release has them."""
        wanted = (column.partition("#")[0] for column in self.columns)
        return tuple(column for column in wanted if column in self._seeds)

    @cached_property
    def means(self) -> Floats:
        """Mean accuracies over seeds by cell index, shape (15625, objectives), whatever single runs are queried."""
        return self._table(None)

    @cached_property
    def optimum(self) -> float:
        """The best mean accuracy of any cell; for several objectives, the hypervolume of all cells above 0."""
        complete = self.means[~np.isnan(self.means).any(axis=1)]
        if self.objectives == 1:
            return float(complete.max())
        best_first = complete[complete.sum(axis=1).argsort()[::-1]]  # the front comes early, and most cells add nothing
        return float(running_hypervolume(best_first)[-1])

    def __repr__(self) -> str:
        return f"<TableProblem {self.bench.name}, {self.dataset}: {', '.join(self.columns)}>"

    def settings(self) -> dict[str, Any]:
        """Return the arguments that make this problem again, but for the table, as JSON can hold them."""
        seed = self.seed if self.seed in (None, RANDOM) else int(self.seed)
        cost = None if self.cost is None else float(self.cost)
        settings = {"metrics": list(self.columns), "dataset": self.dataset, "split": self.split}
        fidelity = {} if self.fidelity is None else {"fidelity": self.fidelity}
        return {**settings, "seed": seed, "seconds": cost, **fidelity}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TableProblem):
            return NotImplemented
        return self.settings() == other.settings() and self.bench == other.bench

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((TableProblem, self.dataset, self.columns))

    # ------------------------------------------------------------------ reading the table

    def _values(self, question: dict[str, Any]) -> Floats:
        try:
            return self.bench.values(**question)
        except MissingResultError as error:
            if question["split"] != "validation" or not self._is_measured({**question, "split": "test"}):
                raise
            held_out = any("#validation" in column for column in self._seeds)
            reason = "" if held_out else f"{self.bench.name} has no held-out split: "
            hint = f"{reason}split='test' selects on test images, knowingly"
            raise MissingResultError(error.what, hint=hint) from None

    def _is_measured(self, question: dict[str, Any]) -> bool:
        try:
            self.bench.values(**question)
        except (MissingResultError, InvalidValueError):  # the second of a name with a split of its own
            return False
        return True

    def _any_answer(self, question: dict[str, Any]) -> Result:
        """Return an answer to a question about some cell; it says which data set and metric are meant."""
        return self.bench.lookup(int((~np.isnan(self._values(question))).argmax()), **question)

    def _table(self, seed: int | None) -> Floats:
        """Return the accuracies of one seed, or the means, shape (15625, objectives)."""
        columns = [self.bench.values(self.dataset, column, seed=seed) for column in self.columns]
        return read_only(np.stack(columns, axis=1))

    def _curve(self) -> Floats:
        """Return the curves of the metric, shape (15625, epochs)."""
        names = [metric.name for metric in self.metrics]
        if names not in (["clean_acc"], ["pgd_acc"]):
            expected = "'clean_acc' or 'pgd_acc', of which there are curves"
            raise InvalidValueError("metrics", ", ".join(names), expected, "'pgd_acc'")
        if self.seed == RANDOM:
            raise InvalidValueError("seed", self.seed, "None or an integer where fidelity is 'epoch': one run goes on")
        values = self.bench.curve_values(self.dataset, self.columns[0].partition("#")[0], seed=self._seed)
        measured = self.bench.curve(int((~np.isnan(values[:, 0])).argmax()), self.dataset).attrs["split"]
        if measured != self.metrics[0].split:
            raise InvalidValueError("split", self.metrics[0].split, f"{measured!r}, on which curves are measured")
        return values

    def _single_runs(self) -> Floats:
        """Return the accuracies of single runs, shape (seeds, 15625, objectives), nan where one is missing."""
        seeds = sorted(set.intersection(*(set(self._seeds[column]) for column in self.columns)))
        if not seeds:
            what = f"{self.bench.name} gives no single seeds for {', '.join(self.columns)} on {self.dataset}"
            raise MissingResultError(what, hint="seed=None returns the means that it has")
        return read_only(np.array([self._table(seed) for seed in seeds]))


def _question(
    bench: Benchmark, dataset: str | None, metric: str, eps: float | str | None, split: str | None
) -> dict[str, Any]:
    """Return the arguments of a query; a metric that has no attack, or names its own budget, takes no other."""
    short, own = "", None
    if isinstance(metric, str) and metric:
        short, own, _ = parse_long_name(metric.partition("#")[0], (one.name for one in bench.info.metrics))
    takes_eps = short not in UNATTACKED and own is None
    return {"dataset": dataset, "metric": metric, "eps": eps if takes_eps else None, "split": split}
