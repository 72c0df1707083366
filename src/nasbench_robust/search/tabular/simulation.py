"""Searching in a table: a simulator that answers and charges, one search, and many repeats of it."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import numpy as np

from ... import cells
from ...arrays import Floats, Integers
from ...cells import Cell
from ...checks import integer, kind
from ...errors import BudgetSpentError, InvalidValueError
from ...files import ONE_AT_A_TIME
from ...statistics import checked_generator
from .by_index import IndexSearch, class_of
from .problems import Budget, TableProblem, checked_budget
from .trajectories import Repeats, Trainings, Trajectory

PATIENCE = 1000  # free repeats in a row after which a search has nothing new to ask
MOST_AT_ONCE = 200_000  # queries of searches side by side: what they draw beforehand has to lie in memory
Value = float | tuple[float, ...]


class Searcher(Protocol):
    """What a search method has to offer: these two, and nothing else. Classes need not derive from it.

    A class attribute ``several`` says whether it takes several objectives; `run` then refuses a problem of the other
    kind before the search starts.
    """

    def ask(self) -> Any:
        """Return the next cell to train: a `Cell`, an index or a string; None ends the search.

        On a problem with ``fidelity="epoch"`` it may be ``(cell, epoch)``: how far to train it, or to go on with it.
        """

    def tell(self, cell: Cell, value: Any) -> None:
        """Take the accuracy of a cell: a float, or a tuple of floats where there are several objectives."""


class Simulator:
    """A problem under a budget: answers queries, charges them and remembers them.

    For methods that drive their own loop; the ask/tell methods of this package go through `run`.

    Parameters
    ----------
    problem : TableProblem
        What is searched.
    budget : Budget
        What may be spent.
    rng : numpy.random.Generator, optional
        Draws the runs of a problem with ``seed="random"``; needed there alone.

    Attributes
    ----------
    queries : int
        Charged queries so far.
    seconds : float
        Seconds charged so far; 0 where the budget counts none.
    epochs : int
        Epochs charged so far, of a problem with ``fidelity="epoch"``.

    Raises
    ------
    MissingResultError
        If the budget is in seconds and the problem knows none.
    InvalidValueError
        If single runs are to be drawn and there is no generator, or the budget is in epochs and the problem knows none.
    """

    def __init__(self, problem: TableProblem, budget: Budget, *, rng: np.random.Generator | None = None) -> None:
        self.problem: TableProblem = kind(TableProblem)("problem", problem)
        self.budget: Budget = checked_budget("budget", budget)
        if rng is not None or problem.runs is not None:
            checked_generator(rng)
        if budget.epochs is not None and problem.curve is None:
            raise InvalidValueError("budget", budget, "queries or seconds, or TableProblem(..., fidelity='epoch')")
        self.queries, self.seconds, self.epochs = 0, 0.0, 0
        self._farthest = math.inf if budget.epochs is None else budget.epochs
        self._curve = np.empty((cells.SIZE, 0)) if problem.curve is None else problem.curve
        self._trainings = Trainings()
        self._epochs: list[int] = []
        self._rng, self._answers = rng, problem.answers
        self._costs = [0.0] * cells.SIZE if budget.seconds is None else problem.seconds.tolist()
        self._most = math.inf if budget.queries is None else budget.queries
        self._longest = math.inf if budget.seconds is None else budget.seconds
        self._free: dict[int, Value] = {}  # by representative, where repeats are free
        self._cells: list[int] = []
        self._values: list[Value] = []

    @property
    def spent(self) -> bool:
        """Whether no charged query fits any more, whatever it costs."""
        is_out = self.queries >= self._most or self.seconds >= self._longest
        return is_out or self.epochs >= self._farthest

    def affords(self, cell: Cell, epoch: int | None = None) -> bool:
        """Return whether a query of the cell, up to the epoch if one is given, would fit into the budget."""
        index, epoch = self._checked(cell, epoch)
        if not epoch:
            return class_of()[index] in self._free or self._refusal(self._costs[index]) is None
        epochs, seconds = self._rest(index, epoch)
        return not epochs or self._refusal(seconds, epochs) is None

    def _checked(self, cell: Cell, epoch: int | None) -> tuple[int, int]:
        """Return the index of a cell and how far it is to be trained: 0 where the problem knows no epochs."""
        last = self._curve.shape[1]
        if not last and epoch is not None:
            raise InvalidValueError("epoch", epoch, "None, or TableProblem(..., fidelity='epoch')")
        return Cell.of(cell).index, last if epoch is None else integer(1, last)("epoch", epoch)

    def _refusal(self, seconds: float, epochs: int = 0) -> BudgetSpentError | None:
        """Return the error of a query of such a cost, or None if it fits."""
        if self.queries >= self._most:
            return BudgetSpentError("1 query", "0 queries")
        if self.epochs + epochs > self._farthest:
            return BudgetSpentError(f"{epochs} epochs", f"{self._farthest - self.epochs} epochs")
        if self.seconds + seconds > self._longest:  # an unknown cost, nan, goes through to who says what is missing
            return BudgetSpentError(f"{seconds:.6g} seconds", f"{self._longest - self.seconds:.6g} seconds")
        return None

    def __repr__(self) -> str:
        return f"<Simulator of {self.problem!r}: {self.queries} queries, {self.seconds:.6g} seconds of {self.budget!r}>"

    def query(self, cell: Cell, epoch: int | None = None) -> Value:
        """Return the accuracy of a cell, and charge for it; threads that search together are charged one by one.

        Parameters
        ----------
        cell : Cell, int or str
        epoch : int, optional
            On a problem with ``fidelity="epoch"``, how far it is trained, from 1; to the end by default. The
            farthest training of its class that is not there yet goes on, and the further epochs are charged; where
            there is none a new one begins, beside the others. Where repeats are free, so are epochs that one reached.

        Returns
        -------
        float or tuple of float
            One number for one objective, a tuple for several, in the order of the problem's metrics.

        Raises
        ------
        BudgetSpentError
            If the query does not fit; nothing is charged then.
        MissingResultError
            If the table has no result, or no cost, of the cell.
        """
        with ONE_AT_A_TIME:
            index, epoch = self._checked(cell, epoch)
            return self._continued(index, epoch) if epoch else self._charged(index)

    def _continued(self, index: int, epoch: int) -> float:
        """Train a cell up to an epoch and return its accuracy then."""
        value, (cost, seconds) = float(self._curve[index, epoch - 1]), self._rest(index, epoch)
        if not cost:
            return value
        if (refusal := self._refusal(seconds, cost)) is not None:
            raise refusal
        if value != value or seconds != seconds:
            self.problem.raise_missing(Cell.from_index(index))
        self.queries, self.epochs, self.seconds = self.queries + 1, self.epochs + cost, self.seconds + seconds
        self._trainings.go_on(class_of()[index], epoch)
        self._cells.append(index)
        self._values.append(value)
        self._epochs.append(epoch)
        return value

    def _rest(self, index: int, epoch: int) -> tuple[int, float]:
        """Return the epochs and the seconds that are charged for a cell up to an epoch: 0 where that is free."""
        known = class_of()[index]
        if not self.budget.charge_repeats and epoch <= self._trainings.farthest(known):
            return 0, 0.0
        epochs = self._trainings.cost(known, epoch)
        return epochs, epochs / self._curve.shape[1] * self._costs[index]

    def _charged(self, index: int) -> Value:
        if (known := class_of()[index]) in self._free:
            return self._free[known]
        cost = self._costs[index]
        if (refusal := self._refusal(cost)) is not None:
            raise refusal
        value = self._answers[index] if self.problem.runs is None else self._drawn(index, self.problem.runs)
        if value != value or cost != cost or value is None:  # nan, or None among several objectives
            self.problem.raise_missing(Cell.from_index(index))
        self.queries += 1
        self.seconds += cost
        self._cells.append(index)
        self._values.append(value)
        if not self.budget.charge_repeats:
            self._free[known] = value
        return value

    def trajectory(self) -> Trajectory:
        """Return everything that was queried so far."""
        with ONE_AT_A_TIME:
            index, values = np.array(self._cells, np.int64), np.array(self._values, np.float64)
            epoch = None if self.problem.curve is None else np.array(self._epochs, np.int64)
        values = values.reshape(len(index), self.problem.objectives)
        return Trajectory(self.problem, index, values, epoch)

    def _drawn(self, index: int, runs: Floats) -> Value:
        """Return the result of one of the cell's runs; all objectives are of the same run."""
        of_cell = runs[:, index]
        of_cell = of_cell[~np.isnan(of_cell).any(axis=1)]
        if not len(of_cell):
            self.problem.raise_missing(Cell.from_index(index))
        drawn = of_cell[checked_generator(self._rng).integers(len(of_cell))].tolist()
        return tuple(drawn) if len(drawn) > 1 else float(drawn[0])


def run(
    problem: TableProblem, search: Searcher, budget: Budget, *, rng: np.random.Generator | None = None
) -> Trajectory:
    """Search once.

    Parameters
    ----------
    problem : TableProblem
        What is searched.
    search : Searcher
        A fresh search method; it is used up.
    budget : Budget
        What may be spent. The first query that does not fit ends the search, as does a method that returns None or,
        where repeats are free, that asks a thousand times in a row for classes it already knows.
    rng : numpy.random.Generator, optional
        As in `Simulator`.

    Returns
    -------
    Trajectory
        The charged queries, in order.

    Raises
    ------
    InvalidValueError
        If `search` is a class or has no ``ask`` and ``tell``, if the method does not take as many objectives as the
        problem has, or asks for epochs that it does not have.
    MissingResultError
        As for `Simulator`.
    """
    simulator = Simulator(problem, budget, rng=rng)
    if isinstance(search, type) or not (hasattr(search, "ask") and hasattr(search, "tell")):
        raise InvalidValueError("search", search, "a search method, which has ask and tell", "RandomSearch(rng)")
    if problem.objectives > 1 and not getattr(search, "several", True):
        expected = f"a method for {problem.objectives} objectives ({', '.join(problem.columns)})"
        raise InvalidValueError("search", type(search).__name__, expected, "NSGA2")
    if problem.curve is not None or getattr(search, "fidelity", None):
        return _run_by_epoch(simulator, search)
    asked: Any = search if _knows_indices(type(search)) else _Asked(search)
    ask, tell, idle = asked.ask_index, asked.tell_index, 0
    while not simulator.spent and idle < PATIENCE and (index := ask()) is not None:
        before = simulator.queries
        try:
            value = simulator._charged(index)
        except BudgetSpentError:
            break
        tell(index, value)
        idle = idle + 1 if simulator.queries == before else 0
    return simulator.trajectory()


def _run_by_epoch(simulator: Simulator, search: Searcher) -> Trajectory:
    """Search as `run` does where a cell may be trained for some epochs."""
    idle = 0
    while not simulator.spent and idle < PATIENCE and (asked := search.ask()) is not None:
        arch, epoch = asked if isinstance(asked, tuple) else (asked, None)
        before = simulator.queries
        try:
            value = simulator.query(arch, epoch)
        except BudgetSpentError:
            break
        search.tell(Cell.of(arch), value)
        idle = idle + 1 if simulator.queries == before else 0
    return simulator.trajectory()


class _Asked(IndexSearch):
    """A search that is asked for cells, however it names them."""

    def __init__(self, search: Searcher) -> None:
        self._search = search

    def ask_index(self) -> int | None:
        asked = self._search.ask()
        return None if asked is None else Cell.of(asked).index

    def tell_index(self, index: int, value: Any) -> None:
        self._search.tell(Cell.from_index(index), value)


def _knows_indices(kind: type) -> bool:
    """Return whether a class is one that thinks in indices, and not one derived from it with other questions."""
    return issubclass(kind, IndexSearch) and kind.ask is IndexSearch.ask and kind.tell is IndexSearch.tell


def repeat(
    problem: TableProblem,
    make: Callable[[np.random.Generator], Searcher],
    budget: Budget,
    *,
    repeats: int = 100,
    seed: int = 0,
    n_jobs: int = 1,
) -> Repeats:
    """Search many times, with a generator of its own each time.

    Parameters
    ----------
    problem, budget
        As in `run`.
    make : callable
        Returns a fresh search method from a generator: a class of this package, or ``functools.partial`` of one.
    repeats : int
        How many searches.
    seed : int
        Repeat i is ``rng = numpy.random.default_rng([seed, i])``, ``run(problem, make(rng), budget, rng=rng)``, to the
        last bit: a longer series begins with a shorter one.
    n_jobs : int
        Processes that search at once; the numbers are the same for every one. More than 1 needs a `make` that can be
        pickled, as classes, functions of modules and ``functools.partial`` of them can.

    Returns
    -------
    Repeats
        All trajectories.

    Raises
    ------
    InvalidValueError
        If `repeats` or `seed` is not a number of its kind, or `make` makes no search method.
    """
    problem, budget = kind(TableProblem)("problem", problem), checked_budget("budget", budget)
    if not callable(make):
        expected = "what makes a search method from a generator, such as a class or functools.partial of one"
        raise InvalidValueError("make", make, expected, "RandomSearch")
    seed, numbers = integer(0)("seed", seed), range(integer(1)("repeats", repeats))
    settings = {"method": _described(make), "budget": asdict(budget), "seed": seed, "charged": problem.charged}
    if integer(1)("n_jobs", n_jobs) == 1:
        size = max(1, MOST_AT_ONCE // (budget.queries or MOST_AT_ONCE))
        groups = (numbers[start : start + size] for start in numbers[::size])
        return Repeats(
            tuple(one for group in groups for one in _searched(problem, make, budget, seed, group)), settings
        )
    try:
        work = pickle.dumps((problem, make, budget, seed))
    except Exception as error:  # whatever a foreign object raises
        reason = f"a function that can be pickled, for n_jobs > 1 ({error})"
        raise InvalidValueError("make", make, reason) from None
    with ProcessPoolExecutor(min(n_jobs, len(numbers)), initializer=_take, initargs=(work,)) as pool:
        parts = pool.map(_search_there, numbers, chunksize=-(-len(numbers) // (4 * n_jobs)))
        return Repeats(tuple(Trajectory(problem, *arrays) for arrays in parts), settings)


def _described(make: Any) -> str:
    """Return what makes a search in words: ``RandomSearch``, ``LocalSearch(initial=1)``."""
    if isinstance(make, partial):
        words = [*map(repr, make.args), *(f"{name}={value!r}" for name, value in make.keywords.items())]
        return f"{_described(make.func)}({', '.join(words)})"
    return str(getattr(make, "__qualname__", type(make).__qualname__))


def _searched(problem: TableProblem, make: Any, budget: Budget, seed: int, numbers: range) -> list[Trajectory]:
    """Search side by side where the class can do that and a query is a look-up, else one after the other."""
    rngs = [np.random.default_rng([seed, number]) for number in numbers]
    kind: Any = make.func if isinstance(make, partial) and not make.args else make
    can = isinstance(kind, type) and _knows_indices(kind) and "at_once" in vars(kind)
    is_plain = (
        budget.seconds is None
        and problem.curve is None
        and budget.charge_repeats
        and (budget.queries or 0) <= MOST_AT_ONCE
    )
    if not (can and is_plain and problem.runs is None and problem.objectives == 1) or np.isnan(problem.values).any():
        return [run(problem, make(rng), budget, rng=rng) for rng in rngs]
    settings, values = make.keywords if isinstance(make, partial) else {}, problem.values
    return [
        Trajectory(problem, index, values[index])
        for index in kind.at_once(rngs, values[:, 0], budget.queries, **settings)
    ]


_work: list[Any] = []  # of a process of `repeat`: problem, make, budget and seed, sent once


def _take(work: bytes) -> None:
    _work[:] = pickle.loads(work)  # noqa: S301 (of the process that started this one)


def _search_there(number: int) -> tuple[Integers, Floats, Integers | None]:
    problem, make, budget, seed = _work
    (trajectory,) = _searched(problem, make, budget, seed, range(number, number + 1))
    return trajectory.index, trajectory.values, trajectory.epoch
