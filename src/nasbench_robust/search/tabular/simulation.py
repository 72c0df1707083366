"""Searching in a table: a simulator that answers and charges, one search, and many repeats of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ... import cells
from ...arrays import Floats
from ...cells import Cell
from ...checks import integer
from ...errors import BudgetSpentError, InvalidValueError
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
        if problem.runs is not None:
            checked_generator(rng)
        self.problem, self.budget, self.queries, self.seconds = problem, budget, 0, 0.0
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

    def query(self, cell: Cell) -> Value:
        """Return the accuracy of a cell, and charge for it.

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
        index = np.array(self._cells, np.int64)
        values = np.array(self._values, np.float64).reshape(len(index), self.problem.objectives)
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

    Returns
    -------
    Repeats
        All trajectories.

    Raises
    ------
    InvalidValueError
        If `repeats` or `seed` is not a number of its kind.
    """
    integer(0)("seed", seed)
    generators = [np.random.default_rng([seed, number]) for number in range(integer(1)("repeats", repeats))]
    return Repeats(tuple(run(problem, make(rng), budget, rng=rng) for rng in generators))
