"""Wrong questions say what would be right; tables that answer twice are refused; the same answers from every source."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_tables import SMALL, few_runs, run

from nasbench_robust.errors import (
    InvalidCellError,
    InvalidValueError,
    MissingDataError,
    MissingResultError,
    TableError,
    UnknownNameError,
)
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.table import Benchmark, runs_table
from nasbench_robust.table.store import Store

# ---------------------------------------------------------------------- questions without an answer

# Messages about metrics, budgets and cells alone are those of their own rooms, where every one of them is tried.
ERRORS = {
    "half a metric": ({"metric": "pgd"}, UnknownNameError, ["unknown metric 'pgd'", "did you mean 'pgd_acc'?"]),
    "no metric": ({"metric": ""}, InvalidValueError, ["metric is ''", "clean_acc, fgsm_acc@3/255, pgd_acc@3/255"]),
    "a number as metric": ({"metric": 3}, UnknownNameError, ["unknown metric 3", "known: clean_acc"]),
    "training time": ({"metric": "train_seconds"}, InvalidValueError, ["mean bench.values(metric='train_seconds')"]),
    "a part": (
        {"metric": "autoattack_acc>fab_t"},
        InvalidValueError,
        ["mean bench.outcomes(..., metric='autoattack_acc>f"],
    ),
    "what no release has": (
        {"metric": "apgd"},
        UnknownNameError,
        ["did you mean 'pgd_acc'? (known: clean_acc, fgsm_acc,"],
    ),
    "two splits": (
        {"metric": "pgd_acc#validation", "split": "test"},
        InvalidValueError,
        ["the one in 'pgd_acc#validation', or none; did you mean split='validation'?"],
    ),
    "an empty split in a name": ({"metric": "clean_acc#"}, UnknownNameError, ["unknown"]),
    "not measured": (
        {"metric": "square_acc"},
        MissingResultError,
        ["no square_acc@8/255 on the test", "measured there:"],
    ),
    "unknown data set": ({"dataset": "cifar11"}, UnknownNameError, ["'cifar11'", "did you mean 'cifar10'?"]),
    "other data set": (
        {"dataset": "digits"},
        MissingResultError,
        ["nas-robbench-201 has no data set 'digits'", "available: cifar10, cifar100, ImageNet16-120"],
    ),
    "no data set": ({"dataset": None}, InvalidValueError, ["no dataset is given, expected one of cifar10, cifar100"]),
    "eps not measured": (
        {"eps": "4/255"},
        MissingResultError,
        ["no pgd_acc@4/255 on the test split of cifar10", "pgd_acc@3/255, fgsm_acc@8/255, pgd_acc@8/255"],
    ),
    "eps in grey levels": ({"eps": 8}, InvalidValueError, ["eps is 8,", "did you mean 8/255?"]),
    "eps zero": ({"eps": 0}, InvalidValueError, ["eps is 0"]),
    "two budgets": (
        {"metric": "pgd_acc@3/255", "eps": 8 / 255},
        InvalidValueError,
        ["the budget in 'pgd_acc@3/255', or none", "did you mean 3/255?"],
    ),
    "clean under attack": ({"metric": "clean_acc", "eps": 8 / 255}, InvalidValueError, ["clean_acc has no attack"]),
    "a seed that the source hides": ({"seed": 1}, MissingResultError, ["has no seed 1", "gives no single seeds"]),
    "negative seed": ({"seed": -1}, InvalidValueError, ["seed is -1", "non-negative integer"]),
    "seed as text": ({"seed": "1"}, InvalidValueError, ["seed is '1'"]),
    "unknown split": ({"split": "tset"}, UnknownNameError, ["unknown split 'tset'", "did you mean 'test'?"]),
    "split without results": ({"split": "validation"}, MissingResultError, ["no pgd_acc", "validation split"]),
    "a truth value": ({"arch": True}, InvalidCellError, ["given True"]),
    "index too large": ({"arch": 15_625}, InvalidCellError, ["given 15625"]),
    "malformed string": ({"arch": "|none~0|"}, InvalidCellError, ["given '|none~0|'"]),
    "bare operations": ({"arch": (0, 1, 2, 3, 4, 0)}, InvalidCellError, ["other forms go through Cell.decode"]),
    "nothing": ({"arch": None}, InvalidCellError, ["given None"]),
}


@pytest.mark.parametrize(("changed", "error", "texts"), ERRORS.values(), ids=ERRORS)
def test_a_wrong_question_is_answered_with_what_would_be_right(bench, changed, error, texts):
    question = {"arch": 0, "dataset": "cifar10", "metric": "pgd_acc", **changed}
    archs = {"archs": [question["arch"]], **{key: value for key, value in question.items() if key != "arch"}}
    for door, asked in ((bench.query, question), (bench.lookup, question), (bench.query_many, archs)):
        with pytest.raises(error) as caught:
            door(**asked)
        assert type(caught.value) is error
        for text in texts:
            assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_error_carries_what_is_there(bench):
    with pytest.raises(MissingResultError) as caught:
        bench.query(0, "digits", "pgd_acc")
    assert caught.value.available == bench.datasets


def test_the_only_data_set_need_not_be_named(small):
    assert small.query(0, metric="pgd_acc") == small.query(0, "digits", "pgd_acc")
    assert small.frame().equals(small.frame("digits"))


def test_budgets_of_two_norms_are_two_metrics():
    """A radius of .1 in L2 and one of .1 in every pixel have one name but for the norm."""
    attacks = pgd(0.1, norm="L2"), pgd(0.1)  # the one that is not meant comes first
    info = replace(SMALL, metrics=(Metric("clean_acc"), *map(Metric.of, attacks)))
    row = run(0, 1, 500, 400) | {"pgd_acc@L2:0.1": 450 / 517, "pgd_correct@L2:0.1": 450}
    bench = Benchmark(runs_table(info, [row]))
    for name, correct in (("pgd_acc", 400), ("pgd_acc@0.1", 400), ("pgd_acc@L2:0.1", 450)):
        assert bench.query(0, metric=name) == correct / 517
    with pytest.raises(MissingResultError, match=r"no pgd_acc@L2:0\.2 on the test split of digits"):
        bench.query(0, metric="pgd_acc@L2:0.2")


def test_the_year_is_that_of_the_last_run():
    dates = [datetime.datetime(year, 6, 1, tzinfo=datetime.timezone.utc) for year in (2023, 2025, 2024)]
    rows = [run(0, seed, 500, 400) | {"date": date} for seed, date in enumerate(dates)]
    assert Store(runs_table(SMALL, [*rows, run(1, 0, 500)])).last_year() == 2025
    assert Store(runs_table(SMALL, few_runs())).last_year() is None


# ---------------------------------------------------------------------- tables that answer twice

SEVERAL = "several clean_acc for one cell and seed; run validate"


@pytest.mark.parametrize(
    "extra",
    [run(0, 1, 499, 399), run(0, 1, 500, 400), run(9, None, 450, 301), run(0, None, 1, 1)],
    ids=["other value of a seed", "same value again", "mean beside its seed", "mean beside three seeds"],
)
def test_a_table_with_two_answers_to_one_question_is_refused(extra):
    bench = Benchmark(runs_table(SMALL, [*few_runs(), extra]))
    for ask in (
        lambda: bench.query(0, metric="clean_acc"),
        lambda: bench.query_many([1], metric="clean_acc"),
        lambda: bench.lookup(0, metric="clean_acc", seed=1),
        lambda: bench.best(metric="clean_acc"),
        bench.frame,
        bench.metrics,
    ):
        with pytest.raises(TableError, match=SEVERAL):
            ask()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([run(0, None, 500, seeds=3), run(0, None, 501, seeds=2)], SEVERAL),
        ([run(15_625, 1, 500)], "cell indices out of range; run validate"),
        ([run(25, 1, 500)], "cells that are not representatives; run validate"),
    ],
    ids=["two means", "no such cell", "no representative"],
)
def test_a_table_that_cannot_be_right_is_refused(rows, message):
    with pytest.raises(TableError, match=message):
        Benchmark(runs_table(SMALL, rows)).query(0, metric="clean_acc")


def test_rows_of_different_metrics_do_not_answer_twice():
    bench = Benchmark(runs_table(SMALL, [run(0, None, 500, seeds=3), run(0, None, None, 400)]))
    assert bench.lookup(0, metric="clean_acc").n_seeds == 3
    assert bench.lookup(0, metric="pgd_acc").n_seeds == 1


def test_what_is_no_runs_table_is_refused_at_once(tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    for source, error in (
        (pa.table({"index": [0]}), TableError),
        (tmp_path / "text.parquet", TableError),
        (tmp_path / "absent.parquet", MissingDataError),
    ):
        with pytest.raises(error):
            Benchmark(source)


# ---------------------------------------------------------------------- the same answers always


@pytest.mark.parametrize("size", [12_932, 5_000])  # a shard per data set; shards that hold parts of two
def test_shards_a_file_and_memory_give_the_same_answers(made_up_table, bench, sharded, size):
    table = pq.ParquetFile(made_up_table).read()
    metrics = ["pgd_acc", "autoattack_acc"]
    expected = bench.frame(metrics=metrics)
    for source in (table, sharded(table, size)):
        other = Benchmark(source)
        assert other.query(9930, "imagenet", "autoattack_acc") == bench.query(9930, "imagenet", "autoattack_acc")
        assert other.lookup(25, "cifar10", "pgd_acc") == bench.lookup(25, "cifar10", "pgd_acc")
        pd.testing.assert_frame_equal(other.frame(metrics=metrics), expected, check_exact=True)


def test_the_order_of_rows_does_not_matter(small):
    table = runs_table(SMALL, few_runs())
    turned = Benchmark(table.take(pa.array(range(table.num_rows - 1, -1, -1))))
    for index in (0, 1, 9):
        assert turned.lookup(index, metric="pgd_acc") == small.lookup(index, metric="pgd_acc")


def test_asking_again_or_in_another_order_changes_nothing(made_up_table, bench):
    metrics = ("clean_acc", "pgd_acc", "pgd_acc@3/255")
    questions = [(9930, dataset, metric) for dataset in bench.datasets for metric in metrics]
    one, other = Benchmark(made_up_table), Benchmark(made_up_table)
    answers = [one.query(*question) for question in questions]
    assert [other.query(*question) for question in reversed(questions)] == answers[::-1]
    assert [one.query(*question) for question in questions] == answers
    pd.testing.assert_frame_equal(one.frame(), other.frame(), check_exact=True)
    pd.testing.assert_frame_equal(one.pareto("cifar10"), other.pareto("cifar10"), check_exact=True)
