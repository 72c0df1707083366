"""From two tables to rows: what a cell got here and there, and how far trainings of one network lie apart there."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.errors import MissingResultError
from nasbench_robust.statistics import twin_noise

NEAREST = 40  # families of twins, by their value, that tell the noise around a value


def compare(ours: nbr.Benchmark, published: nbr.Benchmark) -> pd.DataFrame:
    """Return a row per cell and metric that both tables have, by the published value of the last metric.

    Columns: ``runs`` behind ``ours``, ``seeds`` behind ``published``; ``difference``, ours minus published; ``noise``,
    the standard deviation of that difference for two trainings of one network, as twins of the published table show it
    around this value; ``z``, the difference in units of it.
    """
    dataset = ours.datasets[0]
    metrics = published.metrics()
    metrics = metrics[metrics["dataset"] == dataset].set_index("long_name")
    names = [name for name in metrics.index if name in set(ours.metrics()["long_name"])]
    mine, theirs = (bench.frame(dataset, names).set_index("index")[names].dropna() for bench in (ours, published))
    mine = mine[mine.index.isin(theirs.index)]
    if mine.empty:
        raise MissingResultError(f"{ours.name} and {published.name} share no cell of {dataset}")
    runs = {index: ours.lookup(index, dataset=dataset, metric=names[0]).n_seeds for index in mine.index}
    rows = []
    for index in theirs.loc[mine.index].sort_values(names[-1]).index:
        for name in names:
            here, there, seeds = mine.at[index, name], theirs.at[index, name], int(metrics.at[name, "seeds"])
            single = math.sqrt(seeds) * noise_around(theirs[name], there)
            noise = single * math.sqrt(1 / runs[index] + 1 / seeds)
            rows.append((index, name, runs[index], seeds, here, there, here - there, noise, (here - there) / noise))
    columns = ["index", "metric", "runs", "seeds", "ours", "published", "difference", "noise", "z"]
    return pd.DataFrame(rows, columns=columns)


def noise_around(column: pd.Series, value: float) -> float:
    """Return the standard deviation of a column between twins, over the families whose means lie nearest to a value."""
    family = cells.families()[column.index]
    connected = cells.connected()[column.index]
    groups = column[connected].groupby(family[connected])
    means = groups.mean()[groups.size() > 1]
    near = (means - value).abs().nsmallest(NEAREST).index
    kept: npt.NDArray[np.bool_] = connected & np.isin(family, near)
    return twin_noise(column.index[kept], column[kept]).sd


def pool(rows: pd.DataFrame) -> pd.DataFrame:
    """Return, by metric, what all cells together say about a bias.

    Columns: ``mean`` of the differences with ``low`` and ``high``, the 95 % interval by Student's t over cells;
    ``weighted``, the mean with weights 1 / noise^2, with its own interval from the noise; ``rms_z``, which is about 1
    where the differences are noise.
    """
    from scipy import stats

    found = []
    for name, group in rows.groupby("metric", sort=False):
        count, mean = len(group), group["difference"].mean()
        half = (
            stats.t.ppf(0.975, count - 1) * group["difference"].std(ddof=1) / math.sqrt(count)
            if count > 1
            else math.nan
        )
        weights = 1 / group["noise"] ** 2
        weighted, error = np.average(group["difference"], weights=weights), 1.96 / math.sqrt(weights.sum())
        rms = math.sqrt((group["z"] ** 2).mean())
        found.append((name, count, mean, mean - half, mean + half, weighted, weighted - error, weighted + error, rms))
    columns = ["metric", "cells", "mean", "low", "high", "weighted", "weighted_low", "weighted_high", "rms_z"]
    return pd.DataFrame(found, columns=columns)
