"""Several objectives at once: who dominates whom, fronts, crowding, hypervolume. Higher is better in all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...arrays import Booleans, Floats, Integers
from ...errors import InvalidValueError

MOST_OBJECTIVES = 4  # slicing takes up to n**(d - 2) n log n steps for n points


def non_dominated(points: npt.ArrayLike) -> Booleans:
    """Return which points no other dominates: is at least as good in every objective and better in one.

    Parameters
    ----------
    points : array_like, shape (n, d)
        One row per point.

    Returns
    -------
    ndarray of bool, shape (n,)
        Equal points do not dominate each other: either all of them are marked, or none.

    Raises
    ------
    InvalidValueError
        If `points` is not a table of finite numbers.
    """
    dominated = np.asarray(_dominance(checked_points(points)).any(axis=0))
    return ~dominated


def non_dominated_ranks(points: npt.ArrayLike) -> Integers:
    """Return the front that each point belongs to, shape (n,): 0 if none dominates it, 1 if only front 0 does, ...

    Source: the non-dominated sorting of NSGA-II, Deb et al. (IEEE Transactions on Evolutionary Computation, 2002),
    section III.A. Parameters and errors are those of `non_dominated`.
    """
    beats = _dominance(checked_points(points))
    dominators = beats.sum(axis=0)
    ranks = np.full(len(dominators), -1, np.int64)
    front, rank = np.flatnonzero(dominators == 0), 0
    while len(front):
        ranks[front] = rank
        dominators = dominators - beats[front].sum(axis=0)
        front, rank = np.flatnonzero((dominators == 0) & (ranks < 0)), rank + 1
    return ranks


def crowding_distance(points: npt.ArrayLike) -> Floats:
    """Return how far the neighbours of each point are, summed over the objectives; infinite at the ends of each.

    Parameters
    ----------
    points : array_like, shape (n, d)
        The points of one front.

    Returns
    -------
    ndarray of float64, shape (n,)
        Side lengths of the box between a point's neighbours, each in units of the front's extent in that objective.

    Notes
    -----
    Source: Deb et al. (2002), section III.B. An objective in which all points are equal adds nothing.
    """
    table = checked_points(points)
    distance = np.zeros(len(table))
    for column in table.T:
        order = column.argsort(kind="stable")
        extent = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if extent > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return distance


def hypervolume(points: npt.ArrayLike, reference: Sequence[float] | None = None) -> float:
    """Return the volume that the points dominate above a reference point, exactly.

    Parameters
    ----------
    points : array_like, shape (n, d)
        One row per point, 1 to 4 objectives.
    reference : sequence of d float, optional
        The corner that volumes are measured from; zero accuracy by default. Points that are not above it in every
        objective add nothing.

    Returns
    -------
    float
        At least 0; in units of the product of the objectives, so at most 1 for accuracies.

    Raises
    ------
    InvalidValueError
        If there are more than 4 objectives, or the reference has another number of them.

    Notes
    -----
    Zitzler and Thiele (IEEE Transactions on Evolutionary Computation, 1999), by slicing: the last objective is cut at
    every point, and the volume of a slice is its thickness times the hypervolume of the points above it in the others.
    """
    above = _above(points, reference)
    return _sliced(above[(above > 0).all(axis=1)])


def running_hypervolume(points: npt.ArrayLike, reference: Sequence[float] | None = None) -> Floats:
    """Return the hypervolume of the first 1, 2, ..., n points, shape (n,); the rest is as in `hypervolume`."""
    above = _above(points, reference)
    front, volumes = above[:0], [0.0]
    for point in above:
        # A point that the front covers changes nothing, and most points of a long search are covered.
        if (point <= 0).any() or (front >= point).all(axis=1).any():
            volumes.append(volumes[-1])
        else:
            front = np.vstack([front[~(front <= point).all(axis=1)], point])
            volumes.append(_sliced(front))
    return np.array(volumes[1:])


def _dominance(points: Floats) -> Booleans:
    """Return the matrix whose entry (i, j) says that point i dominates point j."""
    at_least = np.ones((len(points), len(points)), bool)
    for column in points.T:
        at_least &= column[:, None] >= column
    return at_least & ~at_least.T


def _sliced(points: Floats) -> float:
    """Return the hypervolume of points that are all above the origin."""
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[points[:, -1].argsort(kind="stable")[::-1]]
    heights = points[:, -1] - np.append(points[1:, -1], 0.0)
    if points.shape[1] == 2:
        return float(np.maximum.accumulate(points[:, 0]) @ heights)
    slices = enumerate(heights.tolist(), 1)
    return float(sum(height * _sliced(points[:count, :-1]) for count, height in slices if height > 0))


def checked_points(points: npt.ArrayLike) -> Floats:
    """Return points as a table of finite numbers, or raise `InvalidValueError`."""
    try:
        table = np.asarray(points, np.float64)
    except (TypeError, ValueError):
        raise InvalidValueError("points", points, "a table of numbers, one row per point") from None
    if table.ndim != 2 or not table.size:
        expected = f"one row per point, one column per objective; the shape is {table.shape}"
        raise InvalidValueError("points", points, expected)
    if not np.isfinite(table).all():
        raise InvalidValueError("points", points, "finite numbers")
    return table


def _above(points: npt.ArrayLike, reference: Sequence[float] | None) -> Floats:
    """Return how far points are above the reference in every objective."""
    table = checked_points(points)
    objectives = table.shape[1]
    if objectives > MOST_OBJECTIVES:
        raise InvalidValueError("points", f"{objectives} objectives", f"at most {MOST_OBJECTIVES} for a hypervolume")
    corner = np.zeros(objectives) if reference is None else np.asarray(reference, np.float64)
    if corner.shape != (objectives,) or not np.isfinite(corner).all():
        raise InvalidValueError("reference", reference, f"{objectives} finite numbers, one per objective")
    return table - corner
