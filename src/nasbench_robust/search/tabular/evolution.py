"""Search without a model: random search, local search, regularised evolution."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ... import cells
from ...arrays import Floats, Integers
from ...cells import Cell
from ...checks import flag, integer
from ...errors import InvalidValueError
from ...statistics import checked_generator
from .by_index import IndexSearch, class_of, classes, draw, mutants, neighbours


class RandomSearch(IndexSearch):
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

    def ask_index(self) -> int:
        """Return a random index."""
        return int(self._rng.integers(cells.SIZE))

    @classmethod
    def at_once(cls, rngs: Sequence[np.random.Generator], values: Floats, queries: int, **_: Any) -> Integers:  # noqa: ARG003
        """Search many times, as `IndexSearch.at_once`."""
        return np.array([rng.integers(cells.SIZE, size=queries) for rng in rngs])


class LocalSearch(IndexSearch):
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
        self._starts: list[int] = []
        self._here: int | None = None  # None while starts are drawn
        self._best: int | None = None  # of the neighbours that were looked at, and the cell itself
        self._left: list[int] = []  # neighbours that were not looked at, the next one last
        self._asked: int | None = None

    def ask_index(self) -> int | None:
        """Return the index of the next cell to train; None where no class is left, and at the end without restarts.

        Raises
        ------
        InvalidValueError
            If the value of the cell before was not told: each step depends on it.
        """
        told, same = self._told, class_of()
        while True:
            if self._here is not None and self._asked is not None:
                self._look_at(self._asked)
            self._asked = self._left.pop() if self._left else self._next()
            if self._asked is None or same[self._asked] not in told:
                return self._asked

    def tell_index(self, index: int, value: float) -> None:
        """Take the accuracy of a cell."""
        self._told[class_of()[index]] = value

    def _next(self) -> int | None:
        """Return the cell to look at next where no neighbour is left, or None at the end."""
        if self._here is None and len(self._starts) == self.initial:
            self._go(max(self._starts, key=self._value))
        elif self._here is not None:
            if self._best is not None and self._best != self._here:
                self._go(self._best)
            elif self.restart and len(self._told) < classes():
                self._here, self._starts = None, []
            else:
                return None
        if self._here is not None:
            return self._left.pop()
        self._starts.append(int(self._rng.integers(cells.SIZE)))
        return self._starts[-1]

    def _go(self, index: int) -> None:
        """Go to a cell, from where its neighbours are looked at in random order."""
        near = neighbours()[index]
        self._here = self._best = index
        self._left = [near[number] for number in self._rng.permutation(len(near))[::-1].tolist()]

    def _look_at(self, neighbour: int) -> None:
        if self._best is None or self._value(neighbour) > self._value(self._best):
            self._best = neighbour
            if self.first_improvement:
                self._left = []

    def _value(self, index: int) -> float:
        value = self._told.get(class_of()[index])
        if value is None:
            cell = Cell.from_index(index)
            raise InvalidValueError("tell", None, f"the accuracy of {cell!r}, which was asked for, before the next ask")
        return value

    @classmethod
    def at_once(
        cls, rngs: Sequence[np.random.Generator], values: Floats, queries: int, **settings: Any
    ) -> list[Integers]:
        """Search many times, as `IndexSearch.at_once`; one after the other, and with nothing but lists."""
        known = values.tolist()
        return [np.array(cls(rng, **settings)._searched(known, queries), np.int64) for rng in rngs]

    def _searched(self, values: list[float], queries: int) -> list[int]:
        """Return what a fresh search asks for, if it is told these values."""
        same, around, told, asked = class_of(), neighbours(), bytearray(cells.SIZE), list[int]()
        while len(asked) < classes() and (self.restart or not asked):
            starts = []
            for _ in range(self.initial):
                starts.append(index := int(self._rng.integers(cells.SIZE)))
                if not told[same[index]]:
                    told[same[index]] = True
                    asked.append(index)
                    if len(asked) == queries:
                        return asked
            here = best = max(starts, key=values.__getitem__)
            while True:
                near = around[here]
                for number in self._rng.permutation(len(near)).tolist():
                    if not told[same[index := near[number]]]:
                        told[same[index]] = True
                        asked.append(index)
                        if len(asked) == queries:
                            return asked
                    if values[index] > values[best]:
                        best = index
                        if self.first_improvement:
                            break
                if best == here:
                    break
                here = best
        return asked


class RegularisedEvolution(IndexSearch):
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
        self._members: deque[tuple[float, int]] = deque(maxlen=self.population)
        self._asked = 0

    def ask_index(self) -> int:
        """Return a random cell while the population fills, then a mutant."""
        self._asked += 1
        if self._asked <= self.population or not self._members:
            return int(self._rng.integers(cells.SIZE))
        drawn = self._rng.integers(len(self._members), size=self.sample).tolist()
        _, parent = max((self._members[number] for number in drawn), key=lambda member: member[0])
        return int(mutants()[parent, self._rng.integers(mutants().shape[1])])

    def tell_index(self, index: int, value: float) -> None:
        """Add a cell; the oldest leaves a full population."""
        self._members.append((value, index))

    @classmethod
    def at_once(cls, rngs: Sequence[np.random.Generator], values: Floats, queries: int, **settings: Any) -> Integers:
        """Search many times, as `IndexSearch.at_once`."""
        one = cls(rngs[0], **settings)  # checks the settings
        first = min(one.population, queries)
        bounds = [cells.SIZE] * first + ([one.population] * one.sample + [mutants().shape[1]]) * (queries - first)
        drawn, rows = draw(rngs, bounds), np.arange(len(rngs))
        index = np.empty((len(rngs), queries), np.int64)
        index[:, :first] = drawn[:, :first]
        for query, start in enumerate(range(first, len(bounds), one.sample + 1), first):
            members = index[:, query - first : query]
            sample = np.take_along_axis(members, drawn[:, start : start + one.sample], axis=1)
            parent = sample[rows, values[sample].argmax(axis=1)]
            index[:, query] = mutants()[parent, drawn[:, start + one.sample]]
        return index
