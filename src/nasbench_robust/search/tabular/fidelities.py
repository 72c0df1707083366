"""Searches that train many cells a little and few to the end: successive halving in two forms, and extrapolation.

All run on a problem with ``fidelity="epoch"``. They draw cells at random and differ in when they stop a training.
"""

from __future__ import annotations

import math
from bisect import bisect
from heapq import heappop, heappush
from typing import ClassVar

import numpy as np

from ...arrays import Floats
from ...cells import Cell
from ...checks import integer, number
from ...statistics import checked_generator

_SHARE = integer(2)


def rungs(epochs: int, least: int, eta: int) -> list[int]:
    """Return the epochs at which cells are compared: to the end, an eta-th of that, and so on, down to `least`."""
    halvings = int(math.log(epochs / least, eta) + 1e-9)
    return [max(1, round(epochs / eta**step)) for step in range(halvings, -1, -1)]


class _OnRungs:
    """What methods share that compare cells on rungs of epochs and train the better ones farther."""

    several: ClassVar[bool] = False
    fidelity: ClassVar[str] = "epoch"

    def __init__(self, rng: np.random.Generator, epochs: int, least: int, eta: int) -> None:
        self._rng = checked_generator(rng)
        self.epochs = integer(1)("epochs", epochs)
        self.least, self.eta = integer(1, self.epochs)("least", least), _SHARE("eta", eta)
        self._rungs = rungs(self.epochs, self.least, self.eta)


class Hyperband(_OnRungs):
    """Successive halving with different numbers of cells, in turn (Li et al., JMLR 2018).

    A bracket trains cells for a few epochs and goes on with the best of them, an eta-th each time; brackets that begin
    with many cells and few epochs alternate with more careful ones. Trainings go on where they stopped.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws cells.
    epochs : int
        Of a whole training; 20 on digits.
    least : int
        Epochs after which cells are compared first, in the boldest bracket.
    eta : int
        3 in the paper.
    """

    def __init__(self, rng: np.random.Generator, *, epochs: int = 20, least: int = 1, eta: int = 3) -> None:
        super().__init__(rng, epochs, least, eta)
        self._start = -1  # the rung on which the bracket began; the first bracket is the boldest
        self._rung, self._waiting = len(self._rungs) - 1, list[Cell]()
        self._told: list[tuple[float, Cell]] = []

    def ask(self) -> tuple[Cell, int]:
        """Return the next cell of the rung, and up to which epoch it is to be trained."""
        if not self._waiting:
            self._climb()
        return self._waiting[0], self._rungs[self._rung]

    def tell(self, cell: Cell, value: float) -> None:
        """Take the accuracy of the cell that was asked for."""
        self._waiting.pop(0)
        self._told.append((value, cell))

    def _climb(self) -> None:
        """Go on to the next rung with the best cells of this one, or to the next bracket with new cells."""
        kept = len(self._told) // self.eta
        if self._rung + 1 < len(self._rungs) and kept:
            best = sorted(range(len(self._told)), key=lambda place: -self._told[place][0])[:kept]
            self._rung, self._waiting = self._rung + 1, [self._told[place][1] for place in best]
        else:
            self._start = (self._start + 1) % len(self._rungs)
            halvings = len(self._rungs) - 1 - self._start
            size = math.ceil(len(self._rungs) / (halvings + 1) * self.eta**halvings)
            self._rung, self._waiting = self._start, [Cell.sample(self._rng) for _ in range(size)]
        self._told = []


class ASHA(_OnRungs):
    """Asynchronous successive halving (Li et al., MLSys 2020), asked by one worker.

    Whenever a cell is among the best eta-th of its rung it goes on to the next one; where none does, a new one starts.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws cells.
    epochs, least
        As in `Hyperband`.
    eta : int
        As in `Hyperband`, so that both compare cells at the same epochs; 4 in the paper.
    """

    def __init__(self, rng: np.random.Generator, *, epochs: int = 20, least: int = 1, eta: int = 3) -> None:
        super().__init__(rng, epochs, least, eta)
        self._waiting: list[list[tuple[float, int, Cell]]] = [[] for _ in self._rungs]  # heaps, the best on top
        self._promoted: list[list[tuple[float, int]]] = [[] for _ in self._rungs]  # sorted, the best first
        self._told = 0
        self._asked = 0  # the rung of the cell that is being trained

    def ask(self) -> tuple[Cell, int]:
        """Return a cell that goes on, of the highest rung that has one, else a new one."""
        for rung in range(len(self._rungs) - 2, -1, -1):
            waiting, promoted = self._waiting[rung], self._promoted[rung]
            if not waiting:
                continue
            negative, order, cell = waiting[0]
            better = bisect(promoted, (negative, order))  # all that are better than the best that waits went on
            if better < (len(waiting) + len(promoted)) // self.eta:
                heappop(waiting)
                promoted.insert(better, (negative, order))
                self._asked = rung + 1
                return cell, self._rungs[rung + 1]
        self._asked = 0
        return Cell.sample(self._rng), self._rungs[0]

    def tell(self, cell: Cell, value: float) -> None:
        """Take the accuracy of the cell that was asked for."""
        self._told += 1  # of equal cells the first one goes on
        heappush(self._waiting[self._asked], (-value, self._told, cell))


class CurveExtrapolation:
    """Random cells, of which those are given up whose curve says that they will not become the best.

    After Baker et al., Accelerating neural architecture search using performance prediction (2017): the final accuracy
    is a ridge regression on the curve so far, fitted to the trainings that came to their end; its errors on them, each
    left out in turn, say with which probability a training will beat the best one.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws cells.
    epochs : int
        Of a whole training; 20 on digits.
    initial : int
        Trainings that come to their end before the first prediction.
    every : int
        Epochs between predictions.
    confidence : float
        A training is given up if it is worse than the best with more than this probability; 0.95 in the source, 1 never
        gives up.
    ridge : float
        Penalty on the squared weights, accuracies being standardised.
    """

    several: ClassVar[bool] = False
    fidelity: ClassVar[str] = "epoch"

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        epochs: int = 20,
        initial: int = 10,
        every: int = 2,
        confidence: float = 0.95,
        ridge: float = 1.0,
    ) -> None:
        self._rng = checked_generator(rng)
        self.epochs, self.initial = integer(1)("epochs", epochs), integer(3)("initial", initial)
        self.every, self.ridge = integer(1)("every", every), number(above=True)("ridge", ridge)
        self.confidence = number(most=1)("confidence", confidence)
        self._finished: list[list[float]] = []
        self._fits: dict[int, tuple[Floats, float, float]] = {}  # by the epochs of the curve so far
        self._cell, self._curve = Cell.sample(self._rng), list[float]()

    def ask(self) -> tuple[Cell, int]:
        """Return the cell that is being trained, or a new one, and its next epoch."""
        return self._cell, len(self._curve) + 1

    def tell(self, cell: Cell, value: float) -> None:
        """Take the accuracy after that epoch."""
        self._cell = cell
        self._curve.append(value)
        done = len(self._curve) == self.epochs
        if done:
            self._finished.append(self._curve)
            self._fits.clear()
        if done or self._is_hopeless():
            self._cell, self._curve = Cell.sample(self._rng), []

    def _is_hopeless(self) -> bool:
        length = len(self._curve)
        if len(self._finished) < self.initial or length % self.every:
            return False
        if length not in self._fits:
            known = np.array(self._finished)
            self._fits[length] = _fit(known[:, :length], known[:, -1], self.ridge)
        weights, intercept, spread = self._fits[length]
        best = max(curve[-1] for curve in self._finished)
        missing = best - (intercept + float(np.dot(self._curve, weights)))
        return bool(0.5 * math.erfc(-missing / (spread * math.sqrt(2))) > self.confidence)


def _fit(curves: Floats, final: Floats, ridge: float) -> tuple[Floats, float, float]:
    """Return weights and intercept of a ridge regression, and the error of such predictions, each left out in turn."""
    middle, scale = curves.mean(axis=0), curves.std(axis=0) + 1e-9
    inputs, centred = (curves - middle) / scale, final - final.mean()
    solved = np.linalg.solve(inputs.T @ inputs + ridge * np.eye(inputs.shape[1]), inputs.T)
    hat = inputs @ solved  # its diagonal says how much each training predicts itself
    left_out = (centred - hat @ centred) / (1 - np.diag(hat) - 1 / len(final))
    weights = solved @ centred / scale
    return weights, float(final.mean() - middle @ weights), float(np.sqrt((left_out**2).mean())) + 1e-9
