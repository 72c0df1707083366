"""Search without a model: random search, local search, regularised evolution."""

from __future__ import annotations

from collections import deque
from typing import ClassVar

import numpy as np

from ...cells import Cell
from ...checks import flag, integer
from ...errors import InvalidValueError
from ...statistics import checked_generator


class RandomSearch:
    """Draw cells uniformly from all 15,625, with replacement.

    The baseline that every method has to beat (Li and Talwalkar, UAI 2019). Takes any number of objectives.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the cells.
    """

    several: ClassVar[bool] = True

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = checked_generator(rng)

    def ask(self) -> Cell:
        """Return the next cell to train."""
        return Cell.sample(self._rng)

    def tell(self, cell: Cell, value: object) -> None:
        """Ignore what was found."""


class LocalSearch:
    """Go to the best neighbour until there is none better, then start again elsewhere.

    White, Nolen and Savani, "Exploring the loss landscape in neural architecture search" (UAI 2021). A start is the
    best of `initial` random cells. The 24 neighbours differ in one operation. Cells of a class that was asked before
    are not asked again; what they are worth is known.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws starts and the order of neighbours.
    initial : int
        Random cells for a start. 10 is the default of the authors' code (naszilla).
    first_improvement : bool
        Move as soon as a neighbour is better, without training the others: the default of the authors' code. False
        trains all neighbours and moves to the best, as in the paper's algorithm 1.
    restart : bool
        Whether to start again at a local optimum. False ends the search there.
    """

    several: ClassVar[bool] = False

    def __init__(
        self, rng: np.random.Generator, *, initial: int = 10, first_improvement: bool = True, restart: bool = True
    ) -> None:
        self._rng, self.initial = checked_generator(rng), integer(1)("initial", initial)
        self.first_improvement = flag("first_improvement", first_improvement)
        self.restart = flag("restart", restart)
        self._told: dict[int, float] = {}  # by representative
        self._starts: list[Cell] = []
        self._here: Cell | None = None  # None while starts are drawn
        self._best: Cell | None = None  # of the neighbours that were looked at, and the cell itself
        self._left: list[Cell] = []  # neighbours that were not looked at
        self._asked: Cell | None = None

    def ask(self) -> Cell | None:
        """Return the next cell to train, or None at the end of a search without restarts.

        Raises
        ------
        InvalidValueError
            If the value of the cell before was not told: each step depends on it.
        """
        while True:
            if self._here is not None and self._asked is not None:
                self._look_at(self._asked)
            self._asked = self._next()
            if self._asked is None or self._asked.representative not in self._told:
                return self._asked

    def tell(self, cell: Cell, value: float) -> None:
        """Take the accuracy of a cell."""
        self._told[cell.representative] = value

    def _next(self) -> Cell | None:
        """Return the cell to look at next, or None at the end."""
        if self._here is None and len(self._starts) == self.initial:
            self._go(max(self._starts, key=self._value))
        elif self._here is not None and not self._left:
            if self._best is not None and self._best != self._here:
                self._go(self._best)
            elif self.restart:
                self._here, self._starts = None, []
            else:
                return None
        if self._here is not None:
            return self._left.pop(0)
        self._starts.append(Cell.sample(self._rng))
        return self._starts[-1]

    def _go(self, cell: Cell) -> None:
        """Go to a cell, from where its neighbours are looked at in random order."""
        neighbours = list(cell.neighbours())
        self._here = self._best = cell
        self._left = [neighbours[number] for number in self._rng.permutation(len(neighbours)).tolist()]

    def _look_at(self, neighbour: Cell) -> None:
        if self._best is None or self._value(neighbour) > self._value(self._best):
            self._best = neighbour
            if self.first_improvement:
                self._left = []

    def _value(self, cell: Cell) -> float:
        if cell.representative not in self._told:
            raise InvalidValueError("tell", None, f"the accuracy of {cell!r}, which was asked for, before the next ask")
        return self._told[cell.representative]


class RegularisedEvolution:
    """Mutate the best of a random sample of the population; the oldest member makes room.

    Real et al., "Regularized evolution for image classifier architecture search" (AAAI 2019), also called ageing
    evolution. A mutation changes one of the six operations.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws first cells, samples and mutations.
    population : int
        Members. 30 as in White et al. (BANANAS, AAAI 2021) for budgets of some hundred queries; the paper, with 20,000,
        has 100.
    sample : int
        Members that compete to be the parent, drawn with replacement. 10 as in White et al.; the paper has 25.
    """

    several: ClassVar[bool] = False

    def __init__(self, rng: np.random.Generator, *, population: int = 30, sample: int = 10) -> None:
        self._rng = checked_generator(rng)
        self.population: int = integer(1)("population", population)
        self.sample: int = integer(1)("sample", sample)
        self._members: deque[tuple[float, Cell]] = deque(maxlen=self.population)
        self._asked = 0

    def ask(self) -> Cell:
        """Return a random cell while the population fills, then a mutant."""
        self._asked += 1
        if self._asked <= self.population or not self._members:
            return Cell.sample(self._rng)
        drawn = self._rng.integers(len(self._members), size=self.sample).tolist()
        _, parent = max((self._members[number] for number in drawn), key=lambda member: member[0])
        return parent.mutate(self._rng)

    def tell(self, cell: Cell, value: float) -> None:
        """Add a cell; the oldest leaves a full population."""
        self._members.append((value, cell))
