"""Rules that make one ranking of several columns, fixed before anything is known of the target.

Columns have one value per cell, higher is better. A column enters by its ranks alone, so that its unit does not matter.
The mean rank is `nasbench_robust.statistics.mean_rank`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import Floats
from ..errors import InvalidValueError
from ..statistics import ranks


def log_rank_sum(*columns: npt.ArrayLike) -> Floats:
    """Return the sum of the logarithms of rank / n over columns: a low rank in one of them weighs more than in a mean.

    Parameters
    ----------
    *columns : array_like, shape (n,)
        One finite value per cell, at least 3; equal ones share their mean rank.

    Returns
    -------
    ndarray of float64, shape (n,)
        At most 0, which a cell has that all columns rank first. Source: the aggregation of AZ-NAS (Lee and Ham,
        CVPR 2024).

    Raises
    ------
    InvalidValueError
        If there is no column, a value is not finite, or lengths differ.
    """
    if not columns:
        raise InvalidValueError("columns", columns, "at least one column")
    logarithms = [np.log(ranks(column) / np.size(column)) for column in columns]
    if len({len(column) for column in logarithms}) > 1:
        raise InvalidValueError("columns", [len(column) for column in logarithms], "columns of one length")
    return np.asarray(np.sum(logarithms, axis=0))


def with_failures_last(column: npt.ArrayLike) -> Floats:
    """Return a column whose missing and infinite values are equal, and below all others."""
    values = np.array(column, np.float64)
    good = np.isfinite(values)
    if not good.any():
        raise InvalidValueError("column", column, "at least one finite value")
    values[~good] = values[good].min() - 1 - np.ptp(values[good])
    return values
