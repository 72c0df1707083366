"""A release by columns and as data frames: the whole table, the best cells, the Pareto front, two side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..arrays import Booleans, Floats, Integers
from ..checks import integer, items
from ..errors import InvalidValueError
from ..metrics import Metric, same_eps
from .store import Store
from .views import Texts, arch_strings, cell_columns, view

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
else:
    from .._door import np


Columns = dict[str, Any]  # arrays and `Texts` by name


class Choice(NamedTuple):
    """Some rows of a whole: what `everything` is asked for, and which of its rows, in their order.

    `ranked` says that they are the first ones of the ranking by the one metric of the whole.
    """

    whole: tuple[str, tuple[str, ...], str]
    rows: Integers
    ranked: bool = False


def as_frame(columns: Columns) -> pd.DataFrame:
    """Return columns, which are its own from now on, as a data frame labelled by the cell."""
    import pandas as pd

    labels = pd.Index(columns["index"].copy())  # a column that is written to must not change its rows' labels
    return pd.DataFrame(_with_arrays(columns), index=labels, copy=False)


def as_arrow(columns: Columns) -> pa.Table:
    """Return columns as an Arrow table."""
    import pyarrow as pa

    return pa.table({name: pa.array(column) for name, column in _with_arrays(columns).items()})


def _with_arrays(columns: Columns) -> dict[str, Any]:
    """Return columns with texts as arrays of pandas, which are taken from those of their words."""
    import pandas as pd

    def array(texts: Texts) -> Any:
        words = _arch_array() if texts.words is arch_strings() else pd.Series(texts.words).array
        return words.take(texts.places)

    return {name: array(column) if isinstance(column, Texts) else column for name, column in columns.items()}


@lru_cache(maxsize=1)
def _arch_array() -> Any:
    import pandas as pd

    return pd.Series(arch_strings()).array


def taking(store: Store) -> Callable[[Choice], pd.DataFrame]:
    """Return what makes frames of chosen rows: from the last whole ones, which is faster than from columns."""
    # Copied, columns of one type lie together, and rows are taken of all of them at once.
    whole = lru_cache(maxsize=16)(lambda question: as_frame(everything(store, *question)).copy())

    @lru_cache(maxsize=16)
    def in_order(question: tuple[str, tuple[str], str]) -> pd.DataFrame:
        name, (metric,), cells = question
        return whole(question).take(store.ranking(name, store.metric(name, metric), cells)).copy()

    def take(choice: Choice) -> pd.DataFrame:
        if choice.ranked:  # a slice takes half of the time of rows from all over
            return in_order(choice.whole).iloc[: len(choice.rows)].copy()
        return whole(choice.whole).take(choice.rows)

    return take


def chosen(store: Store, choice: Choice) -> Columns:
    """Return the columns of the chosen rows."""
    return {name: column.take(choice.rows) for name, column in everything(store, *choice.whole).items()}


def everything(store: Store, dataset: str | None, metrics: Sequence[str] | None, cells: str) -> Columns:
    """Return a row per data set and cell of a view, and a column per metric as asked for.

    One data set stands below the other; NaN where one does not have a metric.
    """
    chosen = view(cells)
    names = [store.dataset(dataset)] if dataset is not None else list(store.info.datasets)
    if metrics is None:
        measured = [{metric.column: metric for metric in store.measured(name)} for name in names]
    else:
        wanted = items("metrics", metrics, "a sequence of metric names")
        measured = [{metric: store.metric(name, metric) for metric in wanted} for name in names]
    size = len(chosen.indices)
    known = cell_columns(chosen, [store.info.datasets[name] for name in names])
    columns = {"dataset": Texts(names, np.repeat(np.arange(len(names)), size)), **known}
    for column in dict.fromkeys(column for each in measured for column in each):
        values = columns[column] = np.full(len(names) * size, np.nan)
        for place, (name, each) in enumerate(zip(names, measured, strict=True)):
            if column in each:
                part = values[place * size : (place + 1) * size]
                store.array(name, each[column], None).take(chosen.indices, out=part, mode="clip")
    return columns


def metrics(store: Store) -> pd.DataFrame:
    """Return a row per data set and metric that has any result."""
    import pandas as pd

    rows = [_about(store, name, metric) for name in store.info.datasets for metric in store.measured(name)]
    return pd.DataFrame(rows).astype({"steps": "Int64", "restarts": "Int64", "random_start": "boolean"})


def best(
    store: Store, dataset: str | None, metric: str, k: int, eps: float | str | None, cells: str = "representatives"
) -> Choice:
    """Return the `k` best cells of a view; equal values in the order of their index."""
    k = integer(1)("k", k)
    name, measured, _ = store.resolve(dataset, metric, eps, None, None)
    rows = store.ranking(name, measured, cells)[:k]
    return Choice((name, (metric if eps is None else measured.column,), cells), rows, ranked=True)


def pareto(store: Store, dataset: str | None, metrics: Sequence[str], cells: str = "representatives") -> Choice:
    """Return the cells of a view that no other beats, the best in the first metric on top."""
    wanted = items("metrics", metrics, "at least two metric names")
    if len(wanted) < 2:
        raise InvalidValueError("metrics", metrics, "at least two metric names")
    name, indices = store.dataset(dataset), view(cells).indices
    columns = {metric: store.metric(name, metric) for metric in wanted}
    values = [store.array(name, metric, None)[indices] for metric in columns.values()]
    total = np.sum(values, axis=0)  # NaN where a metric is missing
    kept = ~np.isnan(total)
    if kept.any():  # most are beaten by one that is good in all metrics, and need not be sorted
        good = np.nanargmax(total)
        better, equal = ([compare(column, column[good]) for column in values] for compare in (np.greater, np.equal))
        kept &= np.logical_or.reduce(better) | np.logical_and.reduce(equal)
    rows = np.flatnonzero(kept)
    points = np.stack([column[rows] for column in values], axis=1)
    order = np.lexsort(-points.T[::-1])  # the first metric counts most; of equals, the order of the cells
    return Choice((name, tuple(columns), cells), rows[order][_unbeaten(points[order])])


def join(one: Store, other: Store, cells: str) -> pd.DataFrame:
    """Return two releases side by side, by cell index."""
    import pandas as pd

    labels = [store.info.name for store in (one, other)]
    if labels[0] == labels[1]:
        labels = [f"{store.info.name}@{store.info.version}" for store in (one, other)]
    if labels[0] == labels[1]:
        raise InvalidValueError("other", labels[1], "another release than this one")
    indices = view(cells).indices
    columns = {
        (label, name, metric.column): store.array(name, metric, None)[indices]
        for label, store in zip(labels, (one, other), strict=True)
        for name in store.info.datasets
        for metric in store.measured(name)
    }
    table = pd.DataFrame(columns, index=pd.Index(indices, name="index"))
    table.columns.names = ["release", "dataset", "metric"]
    return table


def _about(store: Store, dataset: str, metric: Metric) -> dict[str, Any]:
    """Return what `metrics` says of one metric."""
    attack, rows = metric.attack, store.rows(dataset, metric)
    own_eps = store.info.datasets[dataset].eps
    settings = ("name", "norm", "eps", "steps", "step_size", "random_start", "restarts")
    return {
        "dataset": dataset,
        "metric": metric.name,
        "long_name": metric.long_name,
        "default": attack is None or (attack.norm == "Linf" and same_eps(attack.eps, own_eps)),
        "unit": "fraction of images",
        "range": "[0, 1]",
        "split": metric.split,
        "test_images": store.images(dataset, metric),
        **{"attack" if name == "name" else name: getattr(attack, name, None) for name in settings},
        "seeds": int(np.bincount(rows.index, weights=rows.seeds).max()),
        "cells": len(np.unique(rows.index)),
        "description": metric.description,
        "source": store.info.source,
    }


def _unbeaten(points: Floats) -> Booleans:
    """Return which rows no other beats; in the order of their columns, a row can only be beaten by one above it."""
    if points.shape[1] == 2 and len(points):
        first, second = points.T
        new = np.concatenate([[True], first[1:] != first[:-1]])  # the best second value of equal first ones comes first
        group = np.cumsum(new) - 1
        best = second[new]
        above = np.maximum.accumulate(np.concatenate([[-np.inf], best[:-1]]))
        unbeaten: Booleans = (second == best[group]) & (best > above)[group]
        return unbeaten
    kept = np.zeros(len(points), bool)
    for position, point in enumerate(points):
        front = points[kept]
        kept[position] = not ((front >= point).all(axis=1) & (front > point).any(axis=1)).any()
    return kept
