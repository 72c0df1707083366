"""How well one column ranks the cells by another: rank correlations with ties, bootstrap intervals, the best cells.

A *target* is the column that one wants to know, a *proxy* one that is cheaper to have; both have one value per cell,
higher is better. Random draws come from the generator that the caller passes. `spearman` and `kendall` need scipy
(``pip install '.[analysis]'`` in a clone), which is imported when one is first called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Booleans, Floats
from ..checks import integer
from ..errors import InvalidValueError, MissingPackageError

_CHUNK = 16  # resamples that are ranked at once: what they need stays in the processor's cache


@dataclass(frozen=True)
class Interval:
    """A statistic of the sample, and the bounds of its bootstrap percentile interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


# ------------------------------------------------------------------ rank correlations


def ranks(values: npt.ArrayLike) -> Floats:
    """Return the ranks 1 to n of the values, ascending; equal values share the mean of theirs.

    Raises
    ------
    InvalidValueError
        If there are fewer than 3 values, or one is not finite.
    """
    (column,) = checked_columns(values=values)
    _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[place])


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return Spearman's rho: the correlation of the ranks, ties sharing their mean rank.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        One value per cell, n at least 3.

    Returns
    -------
    float
        In [-1, 1]; nan where a column is constant, since it ranks nothing.

    Raises
    ------
    InvalidValueError
        If the lengths differ, there are fewer than 3 points, or a value is not finite.
    """
    return _correlation(x, y, lambda x, y: _scipy_stats().spearmanr(x, y))


def kendall(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return Kendall's tau-b, which corrects for ties; parameters, range and errors are those of `spearman`."""
    return _correlation(x, y, lambda x, y: _scipy_stats().kendalltau(x, y, variant="b"))


def _correlation(x: npt.ArrayLike, y: npt.ArrayLike, correlate: Callable[[Floats, Floats], Any]) -> float:
    x, y = checked_columns(x=x, y=y)
    return math.nan if np.ptp(x) == 0 or np.ptp(y) == 0 else float(correlate(x, y).statistic)


def partial(
    x: npt.ArrayLike, y: npt.ArrayLike, control: npt.ArrayLike, correlation: Callable[[Any, Any], float] = spearman
) -> float:
    """Return the rank correlation of two columns given a third, for example the parameter count.

    Parameters
    ----------
    x, y, control : array_like, shape (n,)
        One value per cell.
    correlation : callable
        `spearman` or `kendall`.

    Returns
    -------
    float
        See `partial_correlation`; what is taken out is the part of the ranks that is linear in the control's ranks.
    """
    return float(partial_correlation(correlation(x, y), correlation(x, control), correlation(y, control)))


def partial_correlation(xy: npt.ArrayLike, xc: npt.ArrayLike, yc: npt.ArrayLike) -> Any:
    """Return (xy - xc yc) / sqrt((1 - xc^2) (1 - yc^2)), the partial correlation of x and y given c.

    Parameters
    ----------
    xy, xc, yc : array_like of float
        Correlations between x and y, x and the control, y and the control; arrays are taken element by element.

    Returns
    -------
    float or ndarray
        nan where a column is the control's own order: nothing is left of it. Source: Kendall, Rank Correlation
        Methods, chapter 8 (for tau; for rho it is Pearson's formula on ranks).
    """
    xy, xc, yc = (np.asarray(value, np.float64) for value in (xy, xc, yc))
    left = (1 - xc**2) * (1 - yc**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, (xy - xc * yc) / np.sqrt(np.maximum(left, 0)), np.nan)[()]


def mean_rank(*columns: npt.ArrayLike) -> Floats:
    """Return the mean of the ranks that columns give to a cell: the simplest way of using several proxies at once."""
    return np.asarray(np.mean([ranks(column) for column in _numbered(columns)], axis=0))


# ------------------------------------------------------------------ bootstrap over cells


def bootstrap(
    statistic: Callable[..., float],
    *columns: npt.ArrayLike,
    rng: np.random.Generator,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return a statistic and its bootstrap percentile interval, cells being drawn with replacement.

    Parameters
    ----------
    statistic : callable
        Of as many arrays as there are columns, for example `kendall`.
    *columns : array_like, shape (n,)
        One value per cell.
    rng : numpy.random.Generator
        Draws the resamples: the same state gives the same interval.
    resamples : int
        How many; every one calls the statistic.
    level : float
        Coverage aimed at, in (0, 1).

    Raises
    ------
    InvalidValueError
        If a column is not as `spearman` wants it, or an argument is out of range.
    """
    numbered = _numbered(columns)
    checked_generator(rng)
    drawn = []
    for _ in range(integer(1)("resamples", resamples)):
        chosen = rng.integers(len(numbered[0]), size=len(numbered[0]))
        drawn.append(statistic(*(column[chosen] for column in numbered)))
    return Interval(float(statistic(*numbered)), *percentile_interval(drawn, level))


def bootstrap_spearman(
    columns: npt.ArrayLike,
    *,
    rng: np.random.Generator,
    resamples: int = 1000,
    against: int | None = None,
    groups: npt.ArrayLike | None = None,
) -> Floats:
    """Return Spearman's rho between all columns in every resample of the cells.

    All columns see the same resamples, so differences between correlations, and partial correlations, can be formed
    resample by resample. A resample is a vector of how often each cell was drawn; ranks follow from cumulative sums of
    it in the order of a column, which is sorted once.

    Parameters
    ----------
    columns : array_like, shape (k, n)
        k columns with one value for each of n cells.
    rng : numpy.random.Generator
        Draws the resamples.
    resamples : int
        How many, B.
    against : int, optional
        Correlate only the first so many columns, m, with all k, which is what a few targets and many predictors need;
        all with all by default.
    groups : array_like, shape (n,), optional
        Cells with equal entries are drawn together, as twins have to be (`cells.families`).

    Returns
    -------
    ndarray of float64, shape (B, m, k)
        nan where a column is constant in a resample.

    Raises
    ------
    InvalidValueError
        As for `bootstrap`.
    """
    rows = _numbered(np.atleast_2d(columns))
    checked_generator(rng)
    first = len(rows) if against is None else integer(1)("against", against)
    orders = [_Order(column) for column in rows]
    drawn_as = np.arange(len(rows[0])) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(drawn_as) != len(rows[0]):
        raise InvalidValueError("groups", groups, f"{len(rows[0])} entries, one per cell; there are {len(drawn_as)}")
    chunks = []
    for start in range(0, integer(1)("resamples", resamples), _CHUNK):
        counts = _draw(rng, int(drawn_as.max()) + 1, min(_CHUNK, resamples - start))[drawn_as]
        chunks.append(_correlate(orders, counts, first))
    return np.concatenate(chunks)


def percentile_interval(drawn: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the bounds between which the middle `level` of the resampled statistics lie; nan ones are left out.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.
    """
    if not 0 < level < 1:
        raise InvalidValueError("level", level, "a number between 0 and 1", "0.95")
    values = np.asarray(drawn, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


class _Order:
    """A column sorted once: which cells have equal values, and where these groups end."""

    def __init__(self, column: Floats) -> None:
        self.order = column.argsort(kind="stable")
        ordered = column[self.order]
        last = np.append(ordered[1:] != ordered[:-1], True)
        self.ends = np.flatnonzero(last)
        group = np.cumsum(last) - last
        self.group = np.empty_like(group)
        self.group[self.order] = group

    def centred_ranks(self, counts: Floats) -> Floats:
        """Return the mid-ranks of the cells in resamples with these counts, minus their mean; shape (n, b)."""
        up_to = counts.take(self.order, axis=0).cumsum(axis=0, dtype=counts.dtype)
        if len(self.ends) < len(self.order):
            up_to = up_to.take(self.ends, axis=0)
        # Cells before + 1 to up_to share a value: their mid-rank is the mean of these numbers. All ranks sum to
        # n (n + 1) / 2 with ties too, so their mean is known.
        half = up_to[-1] / 2
        middle = up_to - half
        middle[1:] += up_to[:-1] - half
        middle[0] -= half
        return np.asarray((middle / 2).take(self.group, axis=0))


def _draw(rng: np.random.Generator, cells: int, resamples: int) -> Floats:
    """Return how often each cell was drawn, shape (cells, resamples)."""
    drawn = rng.integers(cells, size=(resamples, cells)) + cells * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=cells * resamples)
    return np.ascontiguousarray(counts.reshape(resamples, cells).T, dtype=np.float64)


def _correlate(orders: Sequence[_Order], counts: Floats, first: int) -> Floats:
    """Return the correlations of ranks between the first columns and all, shape (b, first, k)."""
    roots = np.sqrt(counts)
    by_resample = np.empty((counts.shape[1], len(orders), len(counts)), counts.dtype)
    for position, order in enumerate(orders):
        by_resample[:, position] = (order.centred_ranks(counts) * roots).T
    products = by_resample[:, :first] @ by_resample.transpose(0, 2, 1)
    norms = np.sqrt(np.einsum("bkn,bkn->bk", by_resample, by_resample))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(products / (norms[:, :first, None] * norms[:, None, :]), -1, 1))


# ------------------------------------------------------------------ the best cells


def top_fraction(target: npt.ArrayLike, fraction: float) -> Booleans:
    """Return which cells are the best fraction by the target column, rounded up; of equal ones the first.

    A selection by the target narrows its range, and with it every correlation: that is what makes the top half and
    the top tenth harder than all cells, for every proxy.
    """
    (column,) = checked_columns(target=target)
    if not 0 < fraction <= 1:
        raise InvalidValueError("fraction", fraction, "a number in (0, 1]", "0.1")
    chosen = np.zeros(len(column), bool)
    chosen[np.argsort(-column, kind="stable")[: math.ceil(round(fraction * len(column), 9))]] = True
    return chosen


def top_recall(proxy: npt.ArrayLike, target: npt.ArrayLike, k: int, picks: int | None = None) -> float:
    """Return which share of the target's `k` best cells is among the `picks` cells that the proxy likes best.

    Parameters
    ----------
    proxy, target : array_like, shape (n,)
        One value per cell.
    k : int
        How many of the target's best are looked for, 1 to n.
    picks : int, optional
        How many the proxy may pick; `k` by default, which is the overlap of the two lists.

    Returns
    -------
    float
        In [0, 1]; picks / n by chance. Where cells are equal at the end of a list, the mean over all ways of
        ordering them.
    """
    proxy, target = checked_columns(proxy=proxy, target=target)
    wanted, picked = _in_top(target, "k", k), _in_top(proxy, "picks", k if picks is None else picks)
    return float(wanted @ picked / k)


def regret(proxy: npt.ArrayLike, target: npt.ArrayLike, k: int = 1) -> float:
    """Return what is lost by taking the proxy's `k` best cells and keeping that with the best target.

    Parameters
    ----------
    proxy, target : array_like, shape (n,)
        One value per cell.
    k : int
        How many cells are measured after the proxy has picked them, 1 to n.

    Returns
    -------
    float
        Best target of all cells minus the best among the picked ones, in units of the target, at least 0. Where the
        proxy has equal values at the end of its list, the mean over all ways of ordering them.
    """
    proxy, target = checked_columns(proxy=proxy, target=target)
    share = _in_top(proxy, "k", k)
    best_sure = target[share == 1].max(initial=-np.inf)
    tied = np.sort(target[(share > 0) & (share < 1)])
    if not len(tied):
        return float(target.max() - best_sure)
    drawn = k - int((share == 1).sum())
    # The best of `drawn` cells out of the tied ones is at most the j-th with probability C(j, drawn) / C(ties, drawn).
    ways = math.comb(len(tied), drawn)
    at_most = np.array([math.comb(j, drawn) / ways for j in range(len(tied) + 1)])
    return float(target.max() - np.maximum(tied, best_sure) @ np.diff(at_most))


def _in_top(column: Floats, name: str, k: int) -> Floats:
    """Return for every cell the probability of being among the k best if equal ones are ordered at random."""
    if integer(1)(name, k) > len(column):
        raise InvalidValueError(name, k, f"at most the {len(column)} cells there are", str(len(column)))
    cut = np.partition(column, -k)[-k]
    above, tied = column > cut, column == cut
    return np.asarray(above + tied * ((k - above.sum()) / tied.sum()))


# ------------------------------------------------------------------ arguments


def checked_columns(**columns: Any) -> list[Floats]:
    """Return columns as arrays of one length, at least 3, all finite; raise `InvalidValueError` where they are not."""
    arrays: list[Floats] = []
    for name, column in columns.items():
        try:
            array = np.asarray(column, np.float64)
        except (TypeError, ValueError):
            raise InvalidValueError(name, column, "numbers, one per cell") from None
        if array.ndim != 1 or len(array) < 3:
            expected = f"one number per cell, of at least 3 cells; its shape is {array.shape}"
            raise InvalidValueError(name, column, expected)
        if not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array))[0])
            raise InvalidValueError(name, column, f"finite numbers; number {bad} is {array[bad]}")
        if arrays and len(array) != len(arrays[0]):
            expected = f"{len(arrays[0])} numbers as in {next(iter(columns))}; it has {len(array)}"
            raise InvalidValueError(name, column, expected)
        arrays.append(array)
    return arrays


def checked_generator(rng: object) -> np.random.Generator:
    """Return `rng` if it is a generator."""
    if not isinstance(rng, np.random.Generator):
        raise InvalidValueError("rng", rng, "a numpy.random.Generator", "numpy.random.default_rng(seed)")
    return rng


def _numbered(columns: Iterable[npt.ArrayLike]) -> list[Floats]:
    """Return columns that have no names as `checked_columns` does."""
    return checked_columns(**{f"column {number}": column for number, column in enumerate(columns)})


def _scipy_stats() -> Any:
    try:
        import scipy.stats
    except ImportError:
        raise MissingPackageError("scipy", "analysis") from None
    return scipy.stats
