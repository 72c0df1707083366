"""A Gaussian process in NumPy: what values of some rows tell about others, noise and repetitions accounted for.

Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, chapters 2 and 5. The covariance of two rows is
``exp(-|x - y|^2)``, so how far apart they are is a matter of their scale.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Record
from ..statistics import ranks

_NOISES = 10.0 ** np.arange(-3, 1.1, 0.5)  # variance of the noise of one value, in units of the signal's
_MOST = 1000  # rows whose likelihood decides the noise


def normal_scores(values: npt.ArrayLike) -> Floats:
    """Return the quantiles of the normal distribution at rank / (n + 1): values without their unit and their outliers.

    Accuracies crowd at the top and straggle at the bottom, where their noise is largest as well; what is normal is what
    a Gaussian process expects. Source: van der Waerden, 1952.
    """
    column = ranks(values)
    distinct, place = np.unique(column, return_inverse=True)
    quantile = NormalDist().inv_cdf
    return np.array([quantile(rank / (len(column) + 1)) for rank in distinct.tolist()])[place]


def covariance(one: Floats, other: Floats) -> Floats:
    """Return ``exp(-|x - y|^2)`` for all pairs of rows, shape (m, n)."""
    ones, others = np.ones((len(one), 1)), np.ones((len(other), 1))
    left = np.hstack([2 * one, -(one**2).sum(axis=1, keepdims=True), -ones])
    right = np.hstack([other, others, (other**2).sum(axis=1, keepdims=True)])
    product = left @ right.T  # -|x - y|^2 without another array of its size, which may be large
    np.minimum(product, 0, out=product)
    return np.asarray(np.exp(product, out=product))


class Posterior(Record):
    """What a Gaussian process says after it has seen some values; its mean is a constant, or linear in some columns.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        Scaled so that the covariance is ``exp(-|x - y|^2)``.
    values : ndarray of float64, shape (n,)
        What was measured there.
    weights : ndarray of float64, shape (n,), optional
        Of how many measurements each value is the mean; 1 by default.
    noise : float, optional
        Variance of the noise of one measurement, in units of the signal's variance; by default the one, of nine from
        .001 to 10, under which an evenly spaced thousand of the values is the most likely.
    trend : ndarray of float64, shape (n, k), optional
        Columns in which the mean is linear, beside a constant; their coefficients are least squares under the
        covariance (universal kriging; section 2.7). A score that is nearly right may be one.

    Attributes
    ----------
    noise : float
        As above.
    variance : float
        Of the signal, in units of the values: what makes them most likely, given the noise.
    """

    def __init__(
        self,
        rows: Floats,
        values: Floats,
        weights: Floats | None = None,
        noise: float | None = None,
        trend: Floats | None = None,
    ) -> None:
        weights, columns = np.ones(len(values)) if weights is None else weights, _with_constant(rows, trend)
        if noise is None:
            some = np.linspace(0, len(rows) - 1, min(len(rows), _MOST)).astype(int)
            own, left = covariance(rows[some], rows[some]), values - columns @ np.linalg.lstsq(columns, values)[0]
            surprises = [_surprise(own, left[some], each / weights[some]) for each in _NOISES]
            noise = float(_NOISES[np.argmin(surprises)])
        self.noise, self._rows, self._noises = noise, rows, noise / weights
        solved = np.linalg.solve(self._matrix(), np.column_stack([values, columns]))
        self._trend = np.linalg.lstsq(columns.T @ solved[:, 1:], columns.T @ solved[:, 0])[0]
        self._solved = solved[:, 0] - solved[:, 1:] @ self._trend
        self.variance = float((values - columns @ self._trend) @ self._solved / len(values))

    def _matrix(self) -> Floats:
        """Return the covariance of the values that were seen; it is large, so that it is not kept."""
        matrix = covariance(self._rows, self._rows)
        matrix[np.diag_indices_from(matrix)] += self._noises
        return matrix

    def mean(self, rows: Floats, trend: Floats | None = None) -> Floats:
        """Return the expected values of rows, shape (m,); `trend` has the columns of these rows."""
        return np.asarray(_with_constant(rows, trend) @ self._trend + covariance(rows, self._rows) @ self._solved)

    def sd(self, rows: Floats) -> Floats:
        """Return how uncertain these are, shape (m,): standard deviations of the values without noise."""
        shared = covariance(rows, self._rows)
        left = 1 - (shared * np.linalg.solve(self._matrix(), shared.T).T).sum(axis=1)
        return np.asarray(np.sqrt(self.variance * np.maximum(left, 0)))


def _with_constant(rows: Floats, trend: Floats | None) -> Floats:
    columns = np.ones((len(rows), 1))
    return columns if trend is None else np.hstack([columns, trend])


def _surprise(own: Floats, values: Floats, noise: Floats) -> float:
    """Return minus twice the log likelihood, but for a constant, with the variance that makes it largest."""
    matrix = own + np.diag(noise)
    explained = max(float(values @ np.linalg.solve(matrix, values)), 1e-300)
    return float(len(values) * np.log(explained) + np.linalg.slogdet(matrix).logabsdet)
