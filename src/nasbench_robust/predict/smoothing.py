"""Smoothing a column by the structure of the cells: what their relatives say of each, by a Gaussian process.

Twins, cells of one function (`cells.families`), are repeated measurements: a family is one row, the mean of its
members. So a fold never parts a family, and a cell that is left out is not known from its twin.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import cells
from ..arrays import Floats, Integers
from ..checks import integer
from ..errors import InvalidValueError
from ..statistics import checked_columns, checked_generator
from .gaussian import Posterior, normal_scores
from .paths import features


def family_folds(index: npt.ArrayLike, folds: int, rng: np.random.Generator) -> Integers:
    """Return for every cell which fold it is in, 0 to folds - 1, shape (n,); a family is in one of them.

    Parameters
    ----------
    index : array_like of int, shape (n,)
        Cells.
    folds : int
        How many, at least 2; of sizes that differ by one family at most.
    rng : numpy.random.Generator
        Draws which families are together.
    """
    distinct, family = np.unique(cells.families()[_checked(index)], return_inverse=True)
    if integer(2)("folds", folds) > len(distinct):
        raise InvalidValueError("folds", folds, f"at most the {len(distinct)} families there are", str(len(distinct)))
    return np.asarray((checked_generator(rng).permutation(len(distinct)) % folds)[family])


def smooth(index: npt.ArrayLike, values: npt.ArrayLike, *, noise: float | None = None) -> Floats:
    """Return what is to be expected of all cells after some were measured.

    Parameters
    ----------
    index : array_like of int, shape (n,)
        Cells that were measured, each once.
    values : array_like of float, shape (n,)
        What was measured, finite; the order alone counts, as `normal_scores`.
    noise : float, optional
        As in `Posterior`: by default what makes the values most likely.

    Returns
    -------
    ndarray of float64, shape (15625,)
        In normal scores, by index; twins are equal. A cell that was measured keeps what noise leaves of its own value.
    """
    known, column = _checked_pair(index, values)
    family, means, counts = _by_family(known, column)
    distinct, place = np.unique(cells.families(), return_inverse=True)
    return Posterior(features()[family], means, counts, noise).mean(features()[distinct])[place]


def smooth_out_of_fold(
    index: npt.ArrayLike,
    values: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    folds: int = 5,
    noise: float | None = None,
) -> Floats:
    """Return for the measured cells what the others tell of them, their own family being left out, shape (n,).

    Parameters are those of `smooth` and `family_folds`; the values of each fold come from the other ones.
    """
    known, column = _checked_pair(index, values)
    fold, smoothed = family_folds(known, folds, rng), np.empty(len(known))
    for number in range(folds):
        out = fold == number
        family, means, counts = _by_family(known[~out], column[~out])
        smoothed[out] = Posterior(features()[family], means, counts, noise).mean(features()[known[out]])
    return smoothed


def _by_family(index: Integers, values: Floats) -> tuple[Integers, Floats, Floats]:
    """Return families, the means of their normal scores, and of how many cells these are."""
    family, member = np.unique(cells.families()[index].astype(np.int64), return_inverse=True)
    counts = np.bincount(member).astype(np.float64)
    return family, np.bincount(member, weights=normal_scores(values)) / counts, counts


def _checked_pair(index: npt.ArrayLike, values: npt.ArrayLike) -> tuple[Integers, Floats]:
    (column,), known = checked_columns(values=values), _checked(index)
    if len(known) != len(column):
        raise InvalidValueError("index", index, f"{len(column)} cells, one for each value; there are {len(known)}")
    if len(np.unique(known)) < len(known):
        raise InvalidValueError("index", index, "every cell once")
    return known, column


def _checked(index: npt.ArrayLike) -> Integers:
    numbers = np.asarray(index)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise InvalidValueError("index", index, "indices of cells, integers from 0 to 15624")
    stranger = numbers[(numbers < 0) | (numbers >= cells.SIZE)]
    if len(stranger):
        raise InvalidValueError("index", int(stranger[0]), "the index of a cell, 0 to 15624")
    return numbers.astype(np.int64)
