"""The query of NASLib: its names, its units, its epochs, over what the table says."""

from __future__ import annotations

from enum import Enum, auto

import pytest

import nasbench_robust as nbr
from nasbench_robust import NASLibCell
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError, MissingResultError, UnknownNameError


class Metric(Enum):  # as in naslib.search_spaces.core.query_metrics
    TRAIN_ACCURACY = auto()
    VAL_ACCURACY = auto()
    TEST_ACCURACY = auto()
    TRAIN_LOSS = auto()
    TRAIN_TIME = auto()
    RAW = auto()


@pytest.fixture(scope="module")
def graph() -> NASLibCell:
    return NASLibCell(nbr.load(), 9930, "pgd_acc")


def test_the_end_is_what_the_table_says(graph):
    bench = nbr.load()
    for metric in (Metric.VAL_ACCURACY, "val_accuracy", "VAL_ACCURACY"):
        assert graph.query(metric, "digits") == 100 * bench.query(9930, metric="pgd_acc", split="validation")
    assert graph.query(Metric.TEST_ACCURACY, dataset="digits", path=None) == 100 * bench.query(9930, metric="pgd_acc")
    assert graph.query(Metric.TRAIN_TIME) == bench.train_seconds(9930)
    skeleton = bench.info.datasets["digits"].skeleton
    assert graph.query("params") == Cell.from_index(9930).parameters(skeleton) / 1e6
    assert graph.query("flops") == Cell.from_index(9930).flops(skeleton) / 1e6


def test_epochs_are_those_of_the_curve_from_0(graph):
    curve = nbr.load().curve(9930)
    for metric, column, scale in (
        ("val_accuracy", "pgd_acc", 100),
        ("train_accuracy", "train_acc", 100),
        ("train_loss", "train_loss", 1),
    ):
        whole = graph.query(metric, epoch=-1, full_lc=True)
        assert whole == pytest.approx((scale * curve[column]).tolist(), rel=1e-12)
        assert [graph.query(metric, epoch=epoch) for epoch in range(20)] == whole
    assert graph.query("train_loss") == curve["train_loss"].iloc[-1]
    assert graph.query(Metric.TRAIN_TIME, epoch=9) == pytest.approx(graph.query(Metric.TRAIN_TIME) / 2)


def test_what_cannot_be_answered_says_why(graph, bench):
    with pytest.raises(UnknownNameError, match="did you mean 'val_accuracy'"):
        graph.query("valid_accuracy")
    with pytest.raises(UnknownNameError, match="unknown metric"):
        graph.query(Metric.RAW)
    with pytest.raises(InvalidValueError, match="epoch is 20, expected an integer from 0 to 19; did you mean 19"):
        graph.query("val_accuracy", epoch=20)
    with pytest.raises(MissingResultError, match="curves of digits are measured on validation images alone"):
        graph.query("test_accuracy", epoch=3)
    with pytest.raises(UnknownNameError, match="did you mean 'pgd_acc'"):
        NASLibCell(nbr.load(), 1, "pgd")
    published = NASLibCell(bench, 9930, "pgd_acc")
    assert published.query("test_accuracy", "cifar10") == 100 * bench.query(9930, "cifar10", "pgd_acc")
    with pytest.raises(MissingResultError, match=r"has no pgd_acc.* on the validation split"):
        published.query("val_accuracy", "cifar10")
    with pytest.raises(MissingResultError, match="has no curves by epoch"):
        published.query("train_loss", "cifar10")
