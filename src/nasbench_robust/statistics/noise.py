"""How much of a table is noise: within cells over seeds, between twins, and the correlation that it leaves possible.

The terms are those of classical test theory (Spearman 1904, 1910; Lord and Novick 1968): a measured value is a true
value plus independent noise, and the reliability of a column is var(true) / var(measured).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import cells
from ..arrays import Floats, Integers
from ..cells import families
from ..errors import InvalidCellError, InvalidValueError
from .rankings import checked_columns, spearman


@dataclass(frozen=True)
class Noise:
    """Noise of the values of a column.

    Attributes
    ----------
    sd : float
        Standard deviation of one value of the column about its cell's true value, pooled over groups (n - 1 in each):
        the root of the mean of variances; nan where there is no group to tell.
    groups : int
        Groups of values that should be equal: cells with several seeds, or families of twins.
    values : int
        Values in these groups.
    """

    sd: float
    groups: int
    values: int


def seed_noise(runs: npt.ArrayLike) -> Noise:
    """Return the noise of the mean over seeds, from the spread within cells.

    Parameters
    ----------
    runs : array_like, shape (cells, seeds)
        Values of single seeds, at least 2 per cell; nan where a cell has no such run. Cells with one run tell nothing
        and are left out.

    Returns
    -------
    Noise
        Of the means: the variance within a cell divided by its number of runs, averaged over cells. The noise of a
        single run is what ``runs`` with two of the seeds gives, times root 2.
    """
    table = _checked_runs(runs)
    runs_of = (~np.isnan(table)).sum(axis=1)
    several = runs_of > 1
    if not several.any():
        return Noise(math.nan, 0, 0)
    variances = np.nanvar(table[several], axis=1, ddof=1) / runs_of[several]
    return Noise(float(np.sqrt(variances.mean())), int(several.sum()), int(runs_of[several].sum()))


def twin_noise(index: npt.ArrayLike, values: npt.ArrayLike) -> Noise:
    """Return the noise of a column, from the differences between twins: cells that compute the same function.

    Twins are the families of `nasbench_robust.cells.families`. Cells that do not connect input and output are left out:
    they sit at chance without any noise. In a table whose runs share their seeds, twins that carry the same
    convolutions on the same edges start from the same weights, so the noise found is a lower bound; `seed_noise` is to
    be preferred where there are single seeds.

    Parameters
    ----------
    index : array_like of int, shape (n,)
        Representatives, each once.
    values : array_like of float, shape (n,)
        One value per cell.

    Raises
    ------
    InvalidCellError
        If an index is not that of a representative, or stands twice.
    """
    (column,) = checked_columns(values=values)
    family = _families_of(index, len(column))
    kept = family >= 0
    family, column = family[kept], column[kept]
    number = np.bincount(family)
    mean = np.bincount(family, weights=column) / np.maximum(number, 1)
    squares = np.bincount(family, weights=(column - mean[family]) ** 2)
    several = number > 1
    if not several.any():
        return Noise(math.nan, 0, 0)
    sd = math.sqrt(squares[several].sum() / (number[several] - 1).sum())
    return Noise(sd, int(several.sum()), int(number[several].sum()))


def reliability(sd: float, values: npt.ArrayLike) -> float:
    """Return 1 - sd^2 / var(values): the share of a column's variance that is not noise, 0 if noise explains all.

    nan where the noise is not known or the column is constant.

    Parameters
    ----------
    sd : float
        Noise of one value of the column; see `Noise`.
    values : array_like, shape (n,)
        The column, over the cells of interest: a narrow range has a low reliability.
    """
    (column,) = checked_columns(values=values)
    variance = column.var(ddof=1)
    if math.isnan(sd) or variance == 0:
        return math.nan
    return max(0.0, float(1 - sd**2 / variance))


def spearman_brown(correlation: float, runs: float) -> float:
    """Return the reliability of a mean of so many runs, given the correlation between two single ones.

    ``k r / (1 + (k - 1) r)`` (Spearman 1910, Brown 1910); nan where a correlation so far below zero leaves no answer.
    """
    below = 1 + (runs - 1) * correlation
    return runs * correlation / below if below > 0 else math.nan


def seed_correlation(runs: npt.ArrayLike) -> float:
    """Return Spearman's rho between the columns of two single seeds, the mean over all pairs of seeds.

    Parameters
    ----------
    runs : array_like, shape (cells, seeds)
        As for `seed_noise`; a pair of seeds is compared over the cells that have both, and left out below 3 of them.
    """
    table = _checked_runs(runs)
    complete = [pair[:, ~np.isnan(pair).any(axis=0)] for pair in map(np.array, combinations(table.T, 2))]
    correlations = [spearman(*pair) for pair in complete if pair.shape[1] >= 3]
    return float(np.mean(correlations)) if correlations else math.nan


def ceiling(one: float, other: float = 1.0) -> float:
    """Return the correlation that two columns of these reliabilities would have if their true values were the same.

    ``sqrt(one * other)``, the correction for attenuation (Spearman 1904). It is exact for linear correlations and
    equal noise in all cells; for ranks it is a guide.
    """
    return math.sqrt(one * other) if one >= 0 and other >= 0 else math.nan


def _checked_runs(runs: npt.ArrayLike) -> Floats:
    table = np.asarray(runs, np.float64)
    if table.ndim != 2:
        raise InvalidValueError("runs", runs, f"an array of shape (cells, seeds); its shape is {table.shape}")
    if np.isinf(table).any():
        raise InvalidValueError("runs", runs, "finite numbers, nan for runs that are missing")
    return table


def _families_of(index: npt.ArrayLike, length: int) -> Integers:
    """Return the family of every cell, -1 for cells that are not connected."""
    numbers: Any = np.asarray(index)
    if numbers.shape != (length,) or numbers.dtype.kind not in "iu":
        raise InvalidValueError("index", index, f"{length} integers, one for each value")
    strangers = numbers[~np.isin(numbers, cells.representatives())]
    if len(strangers):
        raise InvalidCellError(int(strangers[0]), "expected the index of a representative")
    if len(np.unique(numbers)) < length:
        raise InvalidValueError("index", index, "every cell once")
    return np.where(cells.connected()[numbers], families()[numbers].astype(np.int64), -1)
