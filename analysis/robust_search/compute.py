"""What the tables say of the cells found, search by search and epoch by epoch, and what a search costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import search
from nasbench_robust import statistics as st
from nasbench_robust.cells import OPERATIONS, Cell
from nasbench_robust.datasets import dataset
from nasbench_robust.errors import MissingResultError
from nasbench_robust.images import TensorImages
from nasbench_robust.search.supernet import read_search
from robust_search.cost import flops_of_search, flops_of_training
from robust_search.searches import Search, Study

JUDGES = {"digits": ("clean_acc", "pgd_acc", "autoattack_acc"), "cifar10": ("clean_acc", "pgd_acc@8/255")}
COUNTED = ("skip_connect", "none", "nor_conv_3x3")
RANDOM_SEARCHES = 1000


class Judge:
    """Looks cells up in the tables."""

    def __init__(self, study: Study, digits: nbr.Benchmark, published: nbr.Benchmark) -> None:
        self.study = study
        self._tables = {"digits": digits, "cifar10": published}
        self.table = self._tables[study.dataset]
        *_, split = dataset(study.dataset).held_out  # what random search chooses by: validation images where there are
        self._problem = search.TableProblem(self.table, "pgd_acc", study.dataset, split=split)
        self.metric = self.table.lookup(0, study.dataset, "pgd_acc").metric
        frame = self.table.frame(study.dataset, [self.metric], cells="representatives")
        self._pgd = frame[self.metric].dropna().to_numpy()
        self.worth(0)  # find out before the searches that a table lacks what they are judged by

    def worth(self, index: int) -> dict[str, Any]:
        """Return what a cell is made of, and its accuracies in both tables."""
        cell = Cell.from_index(index)
        row: dict[str, Any] = {"index": index, "arch": str(cell), **{name: cell.count(name) for name in COUNTED}}
        for table, metrics in JUDGES.items():
            for metric in metrics:
                row[f"{table} {metric}"] = self._tables[table].query(cell, dataset=table, metric=metric)
        return {**row, "share of cells above": float((self._pgd > row[self.study.pgd]).mean())}

    def one_shot(self, scores: dict[str, Any]) -> dict[str, float]:
        """Return the rank correlations of one-shot scores with the same accuracies in the table of their images."""
        correlations = {}
        for metric in ("clean_acc", "pgd_acc"):
            table = [self.table.query(index, dataset=self.study.dataset, metric=metric) for index in scores["cells"]]
            correlations[f"one-shot Spearman {metric}"] = st.spearman(scores[metric], table)
            correlations[f"one-shot Kendall {metric}"] = st.kendall(scores[metric], table)
        return correlations

    @cache  # noqa: B019 (one judge lives as long as the program)
    def random_search(self, trainings: int) -> tuple[float, float]:
        """Return mean and standard deviation of the PGD accuracy that random search finds with so many trainings."""
        budget = search.Budget(queries=trainings)
        searches = search.repeat(self._problem, search.RandomSearch, budget, repeats=RANDOM_SEARCHES, seed=0)
        worth = searches.curves(self.metric)[:, -1]
        return float(worth.mean()), float(worth.std(ddof=1))


def judged(searches: Sequence[Search], judge: Judge, images: TensorImages) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a row for every search that is there, and one for each of its epochs.

    Raises
    ------
    MissingResultError
        If no search finished an epoch.
    """
    records = {each: read_search(each.record) for each in searches if each.record.exists()}
    epochs = [row for each, record in records.items() for row in _epochs(each, record, judge)]
    if not epochs:
        raise MissingResultError(f"{searches[0].folder} holds no search that finished an epoch")
    training = flops_of_training(images)
    trainings = {
        settings: flops_of_search(settings, images) / training for settings in {each.settings for each in records}
    }
    rows = [_row(each, record, judge, trainings[each.settings]) for each, record in records.items()]
    return pd.DataFrame(rows), pd.DataFrame(epochs)


def _row(each: Search, record: dict[str, Any], judge: Judge, trainings: float) -> dict[str, Any]:
    """Return the row of a search."""
    row: dict[str, Any] = {**each.labels, "failure": record["failure"], "seconds": record["seconds"]}
    if record["failure"] is None:
        row |= judge.worth(record["argmax"][0])
        row |= {f"without none: {name}": value for name, value in judge.worth(record["argmax_without_none"][0]).items()}
        row |= judge.one_shot(record["one_shot"])
    row["trainings at equal cost"] = trainings
    row["random search"], row["random search std"] = judge.random_search(max(1, round(trainings)))
    return row


def _epochs(each: Search, record: dict[str, Any], judge: Judge) -> Iterator[dict[str, Any]]:
    """Yield a row per epoch: the argmax cell of the time, what it is worth, and what the method logged."""
    for epoch in record["history"]:
        codes = np.array(epoch["alpha"][0]).argmax(axis=-1)
        cell = Cell([OPERATIONS[code] for code in codes])
        entry = {**each.labels, "epoch": epoch["epoch"], "train_loss": epoch["train_loss"]}
        yield {**entry, **judge.worth(cell.index), **epoch["logs"]}
