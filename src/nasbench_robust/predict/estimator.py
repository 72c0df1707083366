"""The Gaussian process over cells as an estimator of scikit-learn, whose pipelines and searches take it.

Needs scikit-learn (``pip install '.[analysis]'`` in a clone).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import Floats
from ..checks import number
from .gaussian import Posterior, normal_scores


class GaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predict accuracies of cells from those of some others: a Gaussian process of their normal scores.

    Rows are those of `features`, and whatever the user puts beside them: ``model.fit(features()[trained], accuracy)``
    and ``model.predict(features())`` for the whole space.

    Parameters
    ----------
    noise : float, optional
        As in `Posterior`; by default what makes the values most likely, which wants some dozens of them.
    length : float
        Distance over which what is known of a row fades, above 0: the covariance is ``exp(-|x - y|^2 / length^2)``. 1
        is right for `features`.

    Attributes
    ----------
    noise_ : float
        The noise that was used, in units of the signal's variance.
    n_features_in_ : int
        Columns seen in `fit`.
    """

    def __init__(self, noise: float | None = None, length: float = 1.0) -> None:
        self.noise, self.length = noise, length

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> GaussianProcess:  # noqa: N803
        """Learn from rows and their values.

        Parameters
        ----------
        X : array_like, shape (n, d)
            At least 3 rows.
        y : array_like, shape (n,)
            Values in any unit.
        """
        number(above=True)("length", self.length)
        if self.noise is not None:
            number(above=True)("noise", self.noise)
        rows, values = validate_data(self, X, y, y_numeric=True, dtype=np.float64, ensure_min_samples=3)
        scores = normal_scores(values)
        self._posterior = Posterior(rows / self.length, scores, noise=self.noise)
        self._scores, self._values, self.noise_ = np.sort(scores), np.sort(values), self._posterior.noise
        return self

    def predict(self, X: npt.ArrayLike) -> Floats:  # noqa: N803
        """Return expected values, shape (m,), in the unit of `y`: their order is that of the expected normal scores."""
        check_is_fitted(self)
        expected = self._posterior.mean(validate_data(self, X, dtype=np.float64, reset=False) / self.length)
        within = np.clip(expected, self._scores[0], self._scores[-1])
        # Beyond what was seen the line goes on, so that the order of the best cells is not lost.
        return np.asarray(np.interp(within, self._scores, self._values) + self._values.std() * (expected - within))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_posterior")
