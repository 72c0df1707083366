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
from .problems import Budget, TableProblem
from .trajectories import Repeats, Trajectory

PATIENCE = 1000  # free repeats in a row after which a search has nothing new to ask
Value = float | tuple[float, ...]


class Searcher(Protocol):
    """What a search method has to offer: these two, and nothing else. Classes need not derive from it.

    A class attribute ``several`` says whether it takes several objectives; `run` then refuses a problem of the other
    kind before the search starts.
    """

    def ask(self) -> Any:
        """Return the next cell to train: a `Cell`, an index or a string; None ends the search."""

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
        Seconds charged so far; 0 where the budget counts queries alone.

    Raises
    ------
    MissingResultError
        If the budget is in seconds and the problem knows none.
    InvalidValueError
        If single runs are to be drawn and there is no generator.
    """

    def __init__(self, problem: TableProblem, budget: Budget, *, rng: np.random.Generator | None = None) -> None:
        self.problem: TableProblem = kind(TableProblem)("problem", problem)
        self.budget: Budget = kind(Budget)("budget", budget)
        if rng is not None or problem.runs is not None:
            checked_generator(rng)
        self.queries, self.seconds = 0, 0.0
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
        return self.queries >= self._most or self.seconds >= self._longest

    def affords(self, cell: Cell) -> bool:
        """Return whether a query of the cell would fit into the budget."""
        if cell.representative in self._free:
            return True
        # Written so that a cell of unknown cost is let through to `query`, which says what is missing.
        return self.queries < self._most and not self.seconds + self._costs[cell.index] > self._longest

    def __repr__(self) -> str:
        return f"<Simulator of {self.problem!r}: {self.queries} queries, {self.seconds:.6g} seconds of {self.budget!r}>"

    def query(self, cell: Cell) -> Value:
        """Return the accuracy of a cell, and charge for it; threads that search together are charged one by one.

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
            return self._charged(Cell.of(cell))

    def _charged(self, cell: Cell) -> Value:
        if cell.representative in self._free:
            return self._free[cell.representative]
        cost = self._costs[cell.index]
        if not self.affords(cell):
            if self.queries >= self._most:
                raise BudgetSpentError("1 query", "0 queries")
            raise BudgetSpentError(f"{cost:.6g} seconds", f"{self._longest - self.seconds:.6g} seconds")
        value = self._answers[cell.index] if self.problem.runs is None else self._drawn(cell, self.problem.runs)
        if value != value or cost != cost or value is None:  # nan, or None among several objectives
            self.problem.raise_missing(cell)
        self.queries += 1
        self.seconds += cost
        self._cells.append(cell.index)
        self._values.append(value)
        if not self.budget.charge_repeats:
            self._free[cell.representative] = value
        return value

    def trajectory(self) -> Trajectory:
        """Return everything that was queried so far."""
        with ONE_AT_A_TIME:
            index, values = np.array(self._cells, np.int64), np.array(self._values, np.float64)
        values = values.reshape(len(index), self.problem.objectives)
        return Trajectory(self.problem, index, values)

    def _drawn(self, cell: Cell, runs: Floats) -> Value:
        """Return the result of one of the cell's runs; all objectives are of the same run."""
        of_cell = runs[:, cell.index]
        of_cell = of_cell[~np.isnan(of_cell).any(axis=1)]
        if not len(of_cell):
            self.problem.raise_missing(cell)
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
        If the method does not take as many objectives as the problem has.
    MissingResultError
        As for `Simulator`.
    """
    if problem.objectives > 1 and not getattr(search, "several", True):
        expected = f"a method for {problem.objectives} objectives ({', '.join(problem.columns)})"
        raise InvalidValueError("search", type(search).__name__, expected, "NSGA2")
    simulator = Simulator(problem, budget, rng=rng)
    idle = 0
    while not simulator.spent and idle < PATIENCE and (asked := search.ask()) is not None:
        cell, before = Cell.of(asked), simulator.queries
        if not simulator.affords(cell):
            break
        search.tell(cell, simulator.query(cell))
        idle = idle + 1 if simulator.queries == before else 0
    return simulator.trajectory()


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
        If `repeats` or `seed` is not a number of its kind.
    """
    seed, numbers = integer(0)("seed", seed), range(integer(1)("repeats", repeats))
    settings = {"method": _described(make), "budget": asdict(budget), "seed": seed, "charged": problem.charged}
    if integer(1)("n_jobs", n_jobs) == 1:
        return Repeats(tuple(_searched(problem, make, budget, seed, number) for number in numbers), settings)
    try:
        work = pickle.dumps((problem, make, budget, seed))
    except Exception as error:  # whatever a foreign object raises
        reason = f"a function that can be pickled, for n_jobs > 1 ({error})"
        raise InvalidValueError("make", make, reason) from None
    with ProcessPoolExecutor(min(n_jobs, len(numbers)), initializer=_take, initargs=(work,)) as pool:
        parts = pool.map(_search_there, numbers, chunksize=-(-len(numbers) // (4 * n_jobs)))
        return Repeats(tuple(Trajectory(problem, index, values) for index, values in parts), settings)


def _described(make: Any) -> str:
    """Return what makes a search in words: ``RandomSearch``, ``LocalSearch(initial=1)``."""
    if isinstance(make, partial):
        words = [*map(repr, make.args), *(f"{name}={value!r}" for name, value in make.keywords.items())]
        return f"{_described(make.func)}({', '.join(words)})"
    return str(getattr(make, "__qualname__", type(make).__qualname__))


def _searched(problem: TableProblem, make: Any, budget: Budget, seed: int, number: int) -> Trajectory:
    rng = np.random.default_rng([seed, number])
    return run(problem, make(rng), budget, rng=rng)


_work: list[Any] = []  # of a process of `repeat`: problem, make, budget and seed, sent once


def _take(work: bytes) -> None:
    _work[:] = pickle.loads(work)  # noqa: S301 (of the process that started this one)


def _search_there(number: int) -> tuple[Integers, Floats]:
    problem, make, budget, seed = _work
    trajectory = _searched(problem, make, budget, seed, number)
    return trajectory.index, trajectory.values
