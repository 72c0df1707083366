"""From the published tables to rows: quartiles, rank correlations, best cells, operations, Pareto fronts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import statistics as st
from nasbench_robust.cells import EDGES, OPERATIONS, Cell
from nasbench_robust.datasets import dataset
from tables import Floats, test_metrics

QUARTILES = ("min", "q1", "median", "q3", "max")
SUBSETS = {"all": 1.0, "top half": 0.5, "top tenth": 0.1}
CLEAN, ROBUST = "clean_acc", "pgd_acc@8/255"
BEST = 65  # cells, one in a hundred, whose operations are counted
Accuracies = dict[str, pd.DataFrame]  # by data set, a line per cell, a column per metric


def read(bench: nbr.Benchmark) -> Accuracies:
    """Return the test accuracies of the cells that all data sets of a table have."""
    frames = {}
    for name in bench.datasets:
        columns = test_metrics(bench, name)
        frames[name] = bench.frame(name, columns).set_index("index")[columns].dropna()
    common = sorted(set.intersection(*(set(frame.index) for frame in frames.values())))
    return {name: frame.loc[common] for name, frame in frames.items()}


def only(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Return the rows that have these values in these columns."""
    keep = np.ones(len(table), bool)
    for column, value in wanted.items():
        keep &= (table[column] == value).to_numpy()
    return table[keep]


def boxes(accuracies: Accuracies) -> pd.DataFrame:
    """Return mean and quartiles of every column, and the accuracy of guessing (figures 2 and 3a)."""
    rows = []
    for name, frame in accuracies.items():
        for metric in frame:
            values = frame[metric].to_numpy()
            quartiles = dict(zip(QUARTILES, np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), strict=True))
            row = {"dataset": name, "metric": metric, "cells": len(values), "mean": values.mean(), **quartiles}
            rows.append({**row, "chance": 1 / dataset(name).classes})
    return pd.DataFrame(rows)


def columns_of(accuracies: Accuracies) -> Iterator[tuple[str, str, Floats]]:
    """Yield data set, metric and values of every column."""
    for name, frame in accuracies.items():
        for metric in frame:
            yield name, metric, frame[metric].to_numpy()


def rank_matrix(accuracies: Accuracies) -> pd.DataFrame:
    """Return Spearman between all pairs of columns, over all cells and the best ones by the first (figures 3b, 3c)."""
    rows = []
    for subset, share in SUBSETS.items():
        for dataset_of, metric, values in columns_of(accuracies):
            chosen = st.top_fraction(values, share)
            for other, other_metric, others in columns_of(accuracies):
                row = {"subset": subset, "cells": int(chosen.sum()), "dataset": dataset_of, "metric": metric}
                row |= {"other_dataset": other, "other_metric": other_metric}
                rows.append({**row, "spearman": st.spearman(values[chosen], others[chosen])})
    return pd.DataFrame(rows)


def against_standard(accuracies: Accuracies, standard: Accuracies) -> pd.DataFrame:
    """Return Spearman of every column with those of the cells trained without an adversary (table 1)."""
    rows = []
    for name in accuracies:
        common = accuracies[name].index.intersection(standard[name].index)
        ours, theirs = accuracies[name].loc[common], standard[name].loc[common]
        for metric in ours:
            for other in theirs:
                rho = st.spearman(ours[metric].to_numpy(), theirs[other].to_numpy())
                row = {"dataset": name, "metric": metric, "standard": other, "cells": len(common)}
                rows.append({**row, "spearman": rho})
    return pd.DataFrame(rows)


def best_cells(accuracies: Accuracies) -> pd.DataFrame:
    """Return the best cell by every column of every data set, with all its accuracies there (figure 4)."""
    rows = []
    for name, frame in accuracies.items():
        for metric in frame:
            index = int(frame[metric].idxmax())
            place = {"dataset": name, "best_by": metric, "cell": index, "operations": str(Cell.from_index(index))}
            rows.append({**place, **frame.loc[index]})
    return pd.DataFrame(rows)


def operations(accuracies: Accuracies) -> pd.DataFrame:
    """Return how many of the best cells by clean and by PGD accuracy have each operation on each edge (figure 4)."""
    rows = []
    for name, frame in accuracies.items():
        for metric in (CLEAN, ROBUST):
            best = frame[metric].nlargest(BEST).index
            table = np.array([Cell.from_index(int(index)).operations for index in best])
            for edge, (source, target) in enumerate(EDGES):
                for operation in OPERATIONS:
                    place = {"dataset": name, "best_by": metric, "edge": f"{source}->{target}", "operation": operation}
                    rows.append({**place, "count": int((table[:, edge] == operation).sum()), "of": len(best)})
    return pd.DataFrame(rows)


def pareto(accuracies: Accuracies) -> pd.DataFrame:
    """Return the cells that no other one is ahead of in clean and in PGD accuracy (figure 4)."""
    rows = []
    for name, frame in accuracies.items():
        for index in front(frame[CLEAN].to_numpy(), frame[ROBUST].to_numpy()):
            row = frame.iloc[index]
            rows.append({"dataset": name, "cell": int(row.name), CLEAN: row[CLEAN], ROBUST: row[ROBUST]})
    return pd.DataFrame(rows)


def front(one: Floats, other: Floats) -> npt.NDArray[np.int64]:
    """Return where the Pareto-optimal pairs are, the largest of the first column first."""
    order = np.lexsort((-other, -one))
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(other[order])[:-1]])
    return order[other[order] > best_before]
