"""The label-free ranking: from the digits table in the package, the structure of the cells and, if given, scores."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .. import cells
from ..arrays import Floats, Integers, read_only
from ..checks import integer
from ..errors import InvalidValueError
from ..releases import load
from ..statistics import checked_columns
from .aggregation import log_rank_sum, with_failures_last
from .gaussian import normal_scores
from .paths import structure_count
from .smoothing import smooth

DIGITS, SPLITS = "pgd_acc@0.1", ("test", "validation")


@lru_cache(maxsize=1)
def smoothed_digits() -> Floats:
    """Return PGD accuracy on digits at eps 0.1, smoothed by structure, shape (15625,), in normal scores; read only.

    The mean of the normal scores on test and on validation images, of all seeds of the table in the package, by
    `smooth`. The first call takes some seconds.
    """
    bench, trained = load("digits"), np.unique(cells.representatives())
    columns = [normal_scores(bench.values("digits", DIGITS, split=split)[trained]) for split in SPLITS]
    return read_only(smooth(trained, np.mean(columns, axis=0)))


def label_free(*scores: npt.ArrayLike) -> Floats:
    """Return a ranking that no accuracy on the images of interest enters, shape (15625,); higher is better.

    `log_rank_sum` of `smoothed_digits`, `structure_count` and every column of scores, smoothed by structure as well:
    among other things that takes out most of what their initial weights add. docs/predict.md says how good it is.

    Parameters
    ----------
    *scores : array_like, shape (15625,)
        Scores of untrained cells by index, higher is better; nan for cells that have none, infinite where the score
        failed, which ranks below all values. At least 3 cells of each must have one.

    Returns
    -------
    ndarray of float64
        The same for all cells of a class.
    """
    some = np.unique(cells.representatives())
    columns = [smoothed_digits(), structure_count(), *(_smoothed(column) for column in scores)]
    return np.asarray(
        log_rank_sum(*(column[some] for column in columns))[np.searchsorted(some, cells.representatives())]
    )


def _smoothed(column: npt.ArrayLike) -> Floats:
    values = np.asarray(column, np.float64)
    if values.shape != (cells.SIZE,):
        raise InvalidValueError("scores", column, f"columns of {cells.SIZE:,} numbers, nan where there is none")
    known = np.flatnonzero(~np.isnan(values))
    return smooth(known, with_failures_last(values[known]))


def rank(values: npt.ArrayLike, top: int | None = None) -> Integers:
    """Return the best cells, best first, shape (top,): of cells that compute the same function the first alone.

    Parameters
    ----------
    values : array_like, shape (15625,)
        One finite number per cell, by index; higher is better. Of equal cells the one with the smaller index is first.
    top : int, optional
        How many; all 4,787 functions by default.
    """
    (column,) = checked_columns(values=values)
    if len(column) != cells.SIZE:
        raise InvalidValueError("values", values, f"{cells.SIZE:,} numbers, one per cell; there are {len(column)}")
    functions = np.unique(cells.families()).astype(np.int64)
    best = functions[np.argsort(-column[functions], kind="stable")]
    most = len(best) if top is None else integer(1, len(best))("top", top)
    return best[:most]
