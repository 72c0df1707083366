"""Search guided by an ensemble of small regressors that predict the accuracy of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ... import cells
from ...arrays import Booleans, Floats, Integers, read_only
from ...cells import OPERATIONS, Cell, opcodes
from ...checks import integer, number
from ...errors import InvalidValueError
from ...predict import features, path_counts
from ...statistics import checked_generator

_SCALE = 10**0.5  # about the root of the number of inputs that are on in a cell


@lru_cache(maxsize=1)
def path_encoding() -> Booleans:
    """Return which paths of operations lead from the input of each cell to its output, shape (15625, 84), read only.

    A path is a sequence of one to three operations other than none, 4 + 16 + 64 of them, whatever nodes it goes by.
    White, Neiswanger and Savani (BANANAS, AAAI 2021), section 4.
    """
    return read_only(path_counts() > 0)


@lru_cache(maxsize=1)
def _features() -> Floats:
    """Return the inputs of the regressors: path encoding, operations by edge, and a constant; shape (15625, 115)."""
    one_hot = (opcodes()[:, :, None] == np.arange(len(OPERATIONS))).reshape(cells.SIZE, -1)
    return read_only(np.hstack([path_encoding(), one_hot, np.ones((cells.SIZE, 1))]).astype(np.float64))


class PredictorGuided:
    """Train what an ensemble of regressors, asked at random within its spread, predicts to be best.

    After BANANAS (White, Neiswanger and Savani, AAAI 2021): random cells first; then, batch by batch, mutants of the
    best cells so far are ranked by independent Thompson sampling, one normal draw each with the ensemble's mean and
    spread, and the top ones are trained. Where the paper has an ensemble of deep networks, this has one of networks
    with a single hidden layer of random, fixed weights and a ridge regression on top, each on its own bootstrap of the
    data: a light stand-in, not BANANAS itself.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws cells, mutants, weights, bootstraps and Thompson samples.
    initial : int
        Random cells before the first prediction; 10 in the paper.
    batch : int
        Cells trained per prediction; 10 in the paper.
    candidates : int
        Mutants ranked per prediction; 100 in the authors' code.
    ensemble : int
        Regressors; 5 in the paper.
    hidden : int
        Hidden units of each.
    ridge : float
        Penalty on the squared output weights, accuracies being standardised.
    model : object, optional
        What predicts in place of the ensemble: has ``fit(X, y)`` and ``predict(X)`` as scikit-learn's regressors, which
        get rows of `predict.features`; the mutants that it likes best are trained. `predict.GaussianProcess`, say.
    first : sequence of int
        Indices of cells to train first, in place of random ones: the best of a ranking, `predict.rank`.
    """

    several: ClassVar[bool] = False

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        initial: int = 10,
        batch: int = 10,
        candidates: int = 100,
        ensemble: int = 5,
        hidden: int = 32,
        ridge: float = 1.0,
        model: Any = None,
        first: Sequence[int] = (),
    ) -> None:
        self._rng = checked_generator(rng)
        positive = integer(1)
        self.initial, self.batch = positive("initial", initial), positive("batch", batch)
        self.candidates, self.ensemble = positive("candidates", candidates), positive("ensemble", ensemble)
        self.hidden, self.ridge = positive("hidden", hidden), number(above=True)("ridge", ridge)
        if model is not None and not (hasattr(model, "fit") and hasattr(model, "predict")):
            raise InvalidValueError("model", model, "an object with fit and predict", "predict.GaussianProcess()")
        self.model = model
        self._asked: set[int] = set()  # representatives
        self._index: list[int] = []
        self._values: list[float] = []
        self._queue = list({cell.representative: cell for cell in map(Cell.of, first)}.values())  # each class once

    def ask(self) -> Cell | None:
        """Return the next cell of the batch, or None when every class of cells has been asked for."""
        if not self._queue and len(self._index) >= self.initial:
            self._queue = self._predicted()
        if not self._queue and len(self._asked) < np.unique(cells.representatives()).size:
            self._queue = [self._new()]
        if not self._queue:
            return None
        cell = self._queue.pop(0)
        self._asked.add(cell.representative)
        return cell

    def tell(self, cell: Cell, value: float) -> None:
        """Take the accuracy of a cell."""
        self._index.append(cell.index)
        self._values.append(value)

    def _new(self) -> Cell:
        """Return a random cell of a class that was not asked for."""
        while (cell := Cell.sample(self._rng)).representative in self._asked:
            pass
        return cell

    def _predicted(self) -> list[Cell]:
        """Return the next batch: the candidates with the best Thompson samples."""
        candidates = self._mutants()
        if not len(candidates):
            return []
        if self.model is not None:
            drawn = np.asarray(self.model.fit(features()[self._index], self._values).predict(features()[candidates]))
        else:
            predictions = self._predict(candidates)
            drawn = self._rng.normal(predictions.mean(axis=0), predictions.std(axis=0))
        best = candidates[(-drawn).argsort(kind="stable")[: self.batch]]
        return [Cell.from_index(index) for index in best.tolist()]

    def _mutants(self) -> Integers:
        """Return neighbours of the best cells, best parent first, of classes that were not asked for."""
        mutants: dict[int, int] = {}  # by representative
        for parent in np.argsort(-np.array(self._values), kind="stable").tolist():
            for mutant in self._rng.permutation(cells.neighbours()[self._index[parent]]).tolist():
                representative = int(cells.representatives()[mutant])
                if representative not in self._asked:
                    mutants.setdefault(representative, mutant)
            if len(mutants) >= self.candidates:
                break
        return np.array(list(mutants.values())[: self.candidates], np.int64)

    def _predict(self, index: Integers) -> Floats:
        """Return what each regressor predicts for cells, standardised, shape (ensemble, cells)."""
        values = np.array(self._values)
        # The few cells near chance must not stretch the scale on which the good ones differ.
        values = np.clip(values, np.median(values) - 3 * _spread(values), None)
        values = (values - values.mean()) / max(values.std(), 1e-12)
        inputs, asked = _features()[self._index], _features()[index]
        predictions = []
        for _ in range(self.ensemble):
            # A bootstrap says how often each cell counts: its roots weigh the rows of the regression.
            counts = np.bincount(self._rng.integers(len(values), size=len(values)), minlength=len(values))
            drawn, roots = counts > 0, np.sqrt(counts[counts > 0])
            weights = self._rng.standard_normal((inputs.shape[1], self.hidden)) / _SCALE
            fitted = self._fit(_with_hidden(inputs[drawn], weights) * roots[:, None], values[drawn] * roots)
            predictions.append(_with_hidden(asked, weights) @ fitted)
        return np.array(predictions)

    def _fit(self, inputs: Floats, values: Floats) -> Floats:
        """Return the weights of a ridge regression."""
        if len(inputs) < inputs.shape[1]:  # the smaller of the two equal systems
            kernel = inputs @ inputs.T + self.ridge * np.eye(len(inputs))
            return np.asarray(inputs.T @ np.linalg.solve(kernel, values))
        covariance = inputs.T @ inputs + self.ridge * np.eye(inputs.shape[1])
        return np.asarray(np.linalg.solve(covariance, inputs.T @ values))


def _with_hidden(inputs: Floats, weights: Floats) -> Floats:
    """Return the inputs and the hidden units that they excite."""
    return np.hstack([inputs, np.maximum(inputs @ weights, 0)])


def _spread(values: Floats) -> float:
    """Return the interquartile range, or the standard deviation where that is 0."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) or float(values.std())
