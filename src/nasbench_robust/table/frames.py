"""A release as data frames: the whole table, the best cells, the Pareto front, two releases side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Floats
from ..checks import integer
from ..errors import InvalidValueError
from ..metrics import Metric, same_eps
from .store import Store
from .views import cell_columns, view_indices

if TYPE_CHECKING:
    import pandas as pd


def frame(store: Store, dataset: str | None, metrics: Sequence[str] | None, cells: str) -> pd.DataFrame:
    """Return a row per data set and cell of a view, labelled by the cell, and a column per metric as asked for."""
    import pandas as pd

    wanted = None if metrics is None else _metric_names(metrics)
    names = [store.dataset(dataset)] if dataset is not None else list(store.info.datasets)
    indices = view_indices(cells)
    parts = []
    for name in names:
        columns = [metric.column for metric in store.measured(name)] if wanted is None else wanted
        part = cell_columns(indices, store.info.datasets[name])
        part.insert(0, "dataset", name)
        for metric in columns:
            part[metric] = store.array(name, store.metric(name, metric), None)[indices]
        parts.append(part)
    return pd.concat(parts)


def _metric_names(metrics: Any, expected: str = "a sequence of metric names") -> list[Any]:
    """Return metrics as a list; a lone name, a number or a table of them is none."""
    if not isinstance(metrics, (str, bytes, Mapping)):
        try:
            return list(metrics)
        except Exception as error:  # whatever a foreign object raises
            del error
    raise InvalidValueError("metrics", metrics, expected, repr([metrics]) if isinstance(metrics, str) else None)


def metrics(store: Store) -> pd.DataFrame:
    """Return a row per data set and metric that has any result."""
    import pandas as pd

    rows = [_about(store, name, metric) for name in store.info.datasets for metric in store.measured(name)]
    return pd.DataFrame(rows).astype({"steps": "Int64", "restarts": "Int64", "random_start": "boolean"})


def best(
    store: Store, dataset: str | None, metric: str, k: int, eps: float | str | None, cells: str = "representatives"
) -> pd.DataFrame:
    """Return the `k` best cells of a view; equal values in the order of their index."""
    k = integer(1)("k", k)
    name, measured, _ = store.resolve(dataset, metric, eps, None, None)
    column = metric if eps is None else measured.column
    table = frame(store, name, [measured.column], cells).dropna(subset=[measured.column])
    table = table.rename(columns={measured.column: column})
    return table.sort_values(column, ascending=False, kind="stable").head(k)


def pareto(store: Store, dataset: str | None, metrics: Sequence[str], cells: str = "representatives") -> pd.DataFrame:
    """Return the cells of a view that no other beats, the best in the first metric on top."""
    wanted = _metric_names(metrics, "at least two metric names")
    if len(wanted) < 2:
        raise InvalidValueError("metrics", metrics, "at least two metric names")
    name = store.dataset(dataset)
    columns = list(dict.fromkeys(wanted))
    table = frame(store, name, columns, cells).dropna(subset=columns)
    table = table.sort_values(columns, ascending=False, kind="stable")
    return table.iloc[_unbeaten(table[columns].to_numpy())]


def join(one: Store, other: Store, cells: str) -> pd.DataFrame:
    """Return two releases side by side, by cell index."""
    import pandas as pd

    labels = [store.info.name for store in (one, other)]
    if labels[0] == labels[1]:
        labels = [f"{store.info.name}@{store.info.version}" for store in (one, other)]
    if labels[0] == labels[1]:
        raise InvalidValueError("other", labels[1], "another release than this one")
    indices = view_indices(cells)
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


def _unbeaten(points: Floats) -> list[int]:
    """Return the rows that no other beats; sorted by the first column, a row can only be beaten by one above it."""
    kept: list[int] = []
    for position, point in enumerate(points):
        front = points[kept]
        if not ((front >= point).all(axis=1) & (front > point).any(axis=1)).any():
            kept.append(position)
    return kept
