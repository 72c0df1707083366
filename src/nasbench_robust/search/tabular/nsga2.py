"""NSGA-II: evolution towards the front of several objectives."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ... import cells
from ...arrays import Floats, Integers
from ...cells import EDGES, OPERATIONS, opcodes
from ...checks import integer, number
from ...errors import InvalidValueError
from ...statistics import checked_generator
from .by_index import IndexSearch, index_of
from .pareto import crowding_distance, non_dominated_ranks


class NSGA2(IndexSearch):
    """Keep the least dominated cells of parents and children, of equal ones the least crowded.

    Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (IEEE Transactions on Evolutionary
    Computation, 2002). Binary tournaments choose the parents; operations cross over uniformly, edge by edge, and mutate
    with the given probability each. Takes any number of objectives; with one it is an elitist genetic algorithm.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws first cells, parents, crossovers and mutations.
    population : int
        Members, and children per generation. The paper has 100 for 25,000 evaluations; 20 leaves several generations in
        a budget of some hundred.
    crossover : float
        Probability that a child has two parents, in [0, 1]; 0.9 in the paper.
    mutation : float
        Probability that an operation becomes another one, in [0, 1]; one over the number of variables in the paper.
    """

    several: ClassVar[bool] = True

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        population: int = 20,
        crossover: float = 0.9,
        mutation: float = 1 / len(EDGES),
    ) -> None:
        for name, chance in (("crossover", crossover), ("mutation", mutation)):
            if number()(name, chance) > 1:
                raise InvalidValueError(name, chance, "a probability in [0, 1]")
        self._rng, self.population = checked_generator(rng), integer(1)("population", population)
        self.crossover, self.mutation = crossover, mutation
        self._asked = 0
        self._parents: Integers = np.empty(0, np.int64)
        self._values: Floats = np.empty((0, 1))
        self._order: Integers = np.empty(0, np.int64)  # place of each parent in the crowded comparison
        self._children: list[tuple[int, Floats]] = []

    def ask_index(self) -> int:
        """Return a random cell in the first generation, then a child."""
        self._asked += 1
        if self._asked <= self.population or not len(self._parents):
            return int(self._rng.integers(cells.SIZE))
        codes = self._mutated(self._crossed(self._chosen(), self._chosen()))
        return int(index_of(codes))

    def tell_index(self, index: int, value: Any) -> None:
        """Take a child's accuracies; with the last one of a generation, select the next parents."""
        self._children.append((index, np.atleast_1d(np.asarray(value, np.float64))))
        if len(self._children) == self.population:
            self._select()

    def _select(self) -> None:
        """Keep the best of parents and children: by front, and inside a front by crowding distance."""
        index = np.append(self._parents, [index for index, _ in self._children])
        children = np.array([values for _, values in self._children])
        values = np.concatenate([self._values, children]) if len(self._parents) else children
        ranks, crowding = non_dominated_ranks(values), np.empty(len(values))
        for rank in range(int(ranks.max()) + 1):
            front = ranks == rank
            crowding[front] = crowding_distance(values[front])
        best = np.lexsort((-crowding, ranks))[: self.population]
        self._parents, self._values, self._children = index[best], values[best], []
        # Members that are equal in rank and crowding share a place, so that tournaments between them are a coin toss.
        pairs = np.stack([ranks[best], -crowding[best]], axis=1)
        self._order = np.append(0, (pairs[1:] != pairs[:-1]).any(axis=1).cumsum())

    def _chosen(self) -> npt.NDArray[np.uint8]:
        """Return the operations of the winner of a binary tournament."""
        one, other = self._rng.integers(len(self._parents), size=2).tolist()
        winner = one if self._order[one] <= self._order[other] else other
        return np.asarray(opcodes()[self._parents[winner]])

    def _crossed(self, one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        if self._rng.random() >= self.crossover:
            return one
        return np.where(self._rng.random(len(EDGES)) < 0.5, one, other)

    def _mutated(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        mutate = self._rng.random(len(EDGES)) < self.mutation
        steps = self._rng.integers(1, len(OPERATIONS), size=len(EDGES))
        return np.where(mutate, (codes + steps) % len(OPERATIONS), codes)
