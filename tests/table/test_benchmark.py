"""The query API against the content of the page file, read without the package, and against small tables of seeds."""

from __future__ import annotations

import hashlib
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PAGE_FIELDS, read_page
from hypothesis import given, settings
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import (
    InvalidCellError,
    InvalidValueError,
    MissingDataError,
    MissingResultError,
    TableError,
    UnknownNameError,
)
from nasbench_robust.metrics import Attack, Metric, pgd
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import Benchmark, DatasetInfo, ReleaseInfo, Result, runs_table, write_table

FOREIGN_DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet"}
FOREIGN_METRICS = {
    "clean_acc": "val_acc",
    "fgsm_acc@3/255": "val_fgsm_3_acc",
    "pgd_acc@3/255": "val_pgd_3_acc",
    "fgsm_acc@8/255": "val_fgsm_8_acc",
    "pgd_acc@8/255": "val_pgd_8_acc",
    "autoattack_acc@8/255": "autoattack",
}
ROWS = {"representatives": 6_466, "connected": 6_461, "all": 15_625}
CELL_COLUMNS = ["dataset", "index", "arch", "representative", "connected", "parameters", "flops"]
MEMBER = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])  # a cell that was not trained itself


def in_the_file(content: dict, index: int, dataset: str, column: str) -> float:
    entry = content[str(index)]
    values = entry if isinstance(entry, list) else content[entry]
    return values[PAGE_FIELDS.index(f"{FOREIGN_DATASETS[dataset]}#{FOREIGN_METRICS[column]}")]


# ---------------------------------------------------------------------- small tables of single seeds

IMAGES, HELD_OUT = 517, 100
SMALL = ReleaseInfo(
    name="small",
    version="2",
    title="three cells",
    licence="CC0",
    citation="@misc{small}",
    source="invented",
    datasets={"digits": DatasetInfo({"test": IMAGES, "validation": HELD_OUT}, 0.1, Skeleton.for_dataset("digits"))},
    metrics=(Metric("clean_acc"), Metric("clean_acc", split="validation"), Metric.of(pgd(0.1)), Metric.of(pgd(0.2))),
)
# Correct images of 517 by cell and seed: clean and PGD at 0.1. Cell 1 was not run with seed 2, cell 9 only with 7.
COUNTS = {
    (0, 1): (500, 400),
    (0, 2): (502, 399),
    (0, 3): (507, 410),
    (1, 1): (450, 300),
    (1, 3): (440, 310),
    (9, 7): (450, 301),
}


def small_row(index: int, seed: int | None, clean: int, attacked: int, **more: object) -> dict:
    row = {"dataset": "digits", "index": index, "seed": seed, "seeds": 1, "test_images": IMAGES}
    row |= {"clean_acc": clean / IMAGES, "clean_correct": clean}
    row |= {"pgd_acc@0.1": attacked / IMAGES, "pgd_correct@0.1": attacked}
    return row | more


def small_rows() -> list[dict]:
    return [small_row(index, seed, *counts) for (index, seed), counts in COUNTS.items()]


@pytest.fixture(scope="module")
def small() -> Benchmark:
    rows = small_rows()
    rows[0] |= {"clean_acc#validation": 0.91, "clean_correct#validation": 91, "train_seconds": 10.0}
    rows[1] |= {"clean_acc#validation": 0.93, "clean_correct#validation": 93, "train_seconds": 20.0}
    return Benchmark(runs_table(SMALL, rows))


# ---------------------------------------------------------------------- one answer


@pytest.mark.parametrize("index", [0, 9, MEMBER, 9930, 15_624])
def test_index_numpy_integer_cell_and_string_give_the_value_in_the_file(bench, made_up_content, index):
    expected = in_the_file(made_up_content, index, "cifar100", "clean_acc")
    cell = Cell.from_index(index)
    for arch in (index, np.int64(index), np.uint16(index), cell, str(cell), np.str_(str(cell))):
        assert bench.query(arch, "cifar100", "clean_acc") == expected


def test_the_answer_is_a_plain_float(bench):
    assert type(bench.query(9930, "cifar10", "pgd_acc")) is float
    assert type(bench.lookup(9930, "cifar10", "pgd_acc").value) is float


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("CIFAR-10", "cifar10"),
        ("cifar_10", "cifar10"),
        ("Cifar 100", "cifar100"),
        ("imagenet", "ImageNet16-120"),
        ("ImageNet16", "ImageNet16-120"),
        ("imagenet-16-120", "ImageNet16-120"),
    ],
)
def test_data_sets_go_by_their_usual_spellings(bench, spelling, name):
    assert bench.query(9930, spelling, "clean_acc") == bench.query(9930, name, "clean_acc")
    assert bench.lookup(9930, spelling, "clean_acc").dataset == name


@pytest.mark.parametrize(
    ("metric", "eps", "column"),
    [
        ("pgd_acc", None, "pgd_acc@8/255"),
        ("pgd_acc@8/255", None, "pgd_acc@8/255"),
        ("pgd_acc", 8 / 255, "pgd_acc@8/255"),
        ("pgd_acc", np.float64(8 / 255), "pgd_acc@8/255"),
        ("pgd_acc", np.array(8 / 255), "pgd_acc@8/255"),
        ("pgd_acc", "8/255", "pgd_acc@8/255"),
        ("pgd_acc", 0.031373, "pgd_acc@8/255"),
        ("pgd_acc@8/255", "0.031373", "pgd_acc@8/255"),
        ("pgd_acc", 3 / 255, "pgd_acc@3/255"),
        ("pgd_acc", "3/255", "pgd_acc@3/255"),
        ("pgd_acc@3/255", None, "pgd_acc@3/255"),
        ("fgsm_acc", None, "fgsm_acc@8/255"),
        ("fgsm_acc", "3/255", "fgsm_acc@3/255"),
        ("autoattack_acc", None, "autoattack_acc@8/255"),
    ],
)
def test_a_budget_is_the_data_sets_own_or_the_one_that_is_given(bench, made_up_content, metric, eps, column):
    assert bench.query(77, "cifar10", metric, eps=eps) == in_the_file(made_up_content, 77, "cifar10", column)


def test_lookup_says_everything_about_a_mean_whose_seeds_the_source_does_not_give(bench, made_up_content):
    value = in_the_file(made_up_content, MEMBER, "ImageNet16-120", "pgd_acc@8/255")
    assert bench.lookup(MEMBER, "imagenet", "pgd_acc") == Result(
        value=value,
        std=None,
        n_seeds=3,
        seeds={},
        index=MEMBER,
        representative=int(made_up_content[str(MEMBER)]),
        connected=True,
        dataset="ImageNet16-120",
        metric="pgd_acc@8/255",
        split="test",
        test_images=6_000,
        correct=round(value * 18_000),
        attack=Attack("pgd", 8 / 255, steps=20, step_size=2.5 * (8 / 255) / 20, random_start=True, restarts=1),
        release="nas-robbench-201",
        version="1",
        source=bench.info.source,
    )


def test_lookup_of_autoattack_is_one_run_and_of_clean_accuracy_has_no_attack(bench):
    autoattack, clean = (bench.lookup(10, "cifar10", metric) for metric in ("autoattack_acc", "clean_acc"))
    assert (autoattack.n_seeds, autoattack.correct, autoattack.attack.name) == (1, 1_000, "autoattack")
    assert (clean.n_seeds, clean.correct, clean.attack, clean.connected) == (3, 3_000, None, False)


# ---------------------------------------------------------------------- many answers


def all_forms() -> dict[str, object]:
    indices = [9930, 0, MEMBER, 0, 15_624]
    strings = [str(Cell.from_index(index)) for index in indices]
    return {
        "ints": indices,
        "strings": strings,
        "cells": [Cell.from_index(index) for index in indices],
        "mixed": [indices[0], strings[1], Cell.from_index(indices[2]), np.int32(indices[3]), strings[4]],
        "tuple": tuple(strings),
        "generator": (string for string in strings),
        "int16 array": np.array(indices, np.int16),
        "uint64 array": np.array(indices, np.uint64),
        "reversed view": np.array(indices[::-1])[::-1],
        "array of strings": np.array(strings),
        "array of objects": np.array(strings, object),
        "series": pd.Series(indices),
    }


@pytest.mark.parametrize("form", all_forms())
def test_many_cells_in_any_form_are_answered_in_their_order(bench, form):
    answers = bench.query_many(all_forms()[form], "cifar10", "pgd_acc")
    assert answers.dtype == np.float64
    assert answers.tolist() == [bench.query(index, "cifar10", "pgd_acc") for index in all_forms()["ints"]]


@pytest.mark.parametrize("nothing", [[], (), np.array([]), np.array([], np.int64), iter(())])
def test_no_cells_give_no_answers(bench, nothing):
    answers = bench.query_many(nothing, "cifar10", "pgd_acc")
    assert answers.shape == (0,)
    assert answers.dtype == np.float64


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, cells.SIZE - 1), st.sampled_from([int, str, Cell.from_index]))))
def test_many_answers_are_the_single_answers(bench, asked):
    archs = [str(Cell.from_index(index)) if form is str else form(index) for index, form in asked]
    expected = [bench.query(index, "cifar100", "fgsm_acc") for index, _ in asked]
    assert bench.query_many(archs, "cifar100", "fgsm_acc").tolist() == expected


def test_the_callers_array_of_answers_is_the_callers(bench):
    first = bench.query_many([0, 1], "cifar10", "pgd_acc")
    expected = first.tolist()
    first[:] = -1
    assert bench.query_many([0, 1], "cifar10", "pgd_acc").tolist() == expected


@pytest.mark.parametrize("one", ["|none~0|", b"|none~0|", Cell.from_index(3), 3, np.int64(3), np.array(3)])
def test_one_cell_is_refused_where_many_are_expected(bench, one):
    with pytest.raises(InvalidValueError, match=r"archs is .*iterable of cells.*\(one cell: query\)"):
        bench.query_many(one, "cifar10", "pgd_acc")


@pytest.mark.parametrize(
    ("archs", "culprit"),
    [
        (np.array([1, -4, 2]), "-4"),
        (np.array([1, 20_000], np.uint16), "20000"),
        ([1, 15_625], "15625"),
        ([1, True], "True"),
        ([1, 2.0], "2.0"),
        (np.array([1.0]), "1.0"),
        (np.array([True]), "True"),
        (np.array([[1, 2]]), "array"),
        ([None], "None"),
        (["|none~0|+|none~0|none~1|"], "none~1"),
    ],
)
def test_a_bad_cell_among_many_is_named(bench, archs, culprit):
    with pytest.raises(InvalidCellError, match=culprit):
        bench.query_many(archs, "cifar10", "pgd_acc")


# ---------------------------------------------------------------------- the whole table


@pytest.mark.parametrize("view", ROWS)
def test_a_frame_has_a_row_per_cell_of_the_view_and_data_set(bench, view):
    frame = bench.frame(cells=view)
    assert frame.groupby("dataset", sort=False).size().to_dict() == dict.fromkeys(FOREIGN_DATASETS, ROWS[view])
    assert len(bench.frame("cifar10", cells=view)) == ROWS[view]
    for _, part in frame.groupby("dataset"):
        assert part["index"].is_monotonic_increasing
        assert part["index"].is_unique


def test_the_views_differ_in_trained_and_in_connected_cells(bench):
    everything = bench.frame("cifar10", cells="all")
    trained = everything[everything["index"] == everything["representative"]]
    pd.testing.assert_frame_equal(trained.reset_index(drop=True), bench.frame("cifar10"))
    linked = trained[trained["connected"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(linked, bench.frame("cifar10", cells="connected"))


def test_a_frames_columns_and_types(bench):
    frame = bench.frame()
    assert frame.columns.tolist() == [*CELL_COLUMNS, *FOREIGN_METRICS]
    assert frame.index.equals(pd.RangeIndex(3 * 6_466))
    kinds = {name: dtype.kind for name, dtype in frame.dtypes.items()}
    assert [name for name in kinds if name not in ("dataset", "arch") and kinds[name] == "i"] == [
        "index",
        "representative",
        "parameters",
        "flops",
    ]
    assert frame["connected"].dtype == bool
    assert all(frame[column].dtype == np.float64 for column in FOREIGN_METRICS)
    assert pd.api.types.is_string_dtype(frame["arch"])
    assert pd.api.types.is_string_dtype(frame["dataset"])


def check_values(bench: Benchmark, content: dict) -> None:
    frame = bench.frame(cells="all")
    for dataset in FOREIGN_DATASETS:
        part = frame[frame["dataset"] == dataset]
        for column in FOREIGN_METRICS:
            expected = [in_the_file(content, index, dataset, column) for index in range(cells.SIZE)]
            assert part[column].tolist() == expected


def test_every_value_of_the_frame_is_the_value_in_the_file(bench, made_up_content):
    check_values(bench, made_up_content)


def test_every_published_value_comes_back_to_the_last_bit(published, published_file):
    check_values(published, read_page(published_file))


def test_a_frames_facts_about_cells_are_those_of_the_cells(bench):
    frame = bench.frame("ImageNet16-120", cells="all")
    skeleton = Skeleton.for_dataset("ImageNet16-120")
    for index in (0, MEMBER, 1462, 15_624):
        cell, row = Cell.from_index(index), frame.loc[index]
        assert (row["index"], row["arch"], row["representative"]) == (index, str(cell), cell.representative)
        assert (row["connected"], row["parameters"]) == (cell.connected, cell.parameters(skeleton))
        assert row["flops"] == cell.flops(skeleton)


def test_a_frame_holds_the_metrics_that_were_asked_for_in_that_order(bench):
    frame = bench.frame("cifar10", ["autoattack_acc", "pgd_acc", "pgd_acc@3/255"])
    assert frame.columns.tolist() == [*CELL_COLUMNS, "autoattack_acc@8/255", "pgd_acc@8/255", "pgd_acc@3/255"]
    assert bench.frame("cifar10", []).columns.tolist() == CELL_COLUMNS


def test_a_single_string_of_metrics_is_refused_as_such(bench):
    with pytest.raises(InvalidValueError, match="metrics is 'pgd_acc'"):
        bench.frame("cifar10", "pgd_acc")


def test_a_frame_has_gaps_where_there_is_no_result(small):
    frame = small.frame()
    assert len(frame) == 6_466
    given = frame.dropna(subset=["clean_acc"])
    assert given["index"].tolist() == [0, 1, 9]
    assert frame["clean_acc#validation"].notna().sum() == 1
    assert "pgd_acc@0.2" not in frame  # described, never measured


def test_metrics_lists_what_was_measured(bench):
    listed = bench.metrics()
    assert listed["dataset"].tolist() == [name for name in FOREIGN_DATASETS for _ in FOREIGN_METRICS]
    assert listed["long_name"].tolist() == [*FOREIGN_METRICS] * 3
    row = listed[(listed["dataset"] == "ImageNet16-120") & (listed["long_name"] == "pgd_acc@8/255")].iloc[0]
    assert row["metric"] == "pgd_acc"
    assert (row["split"], row["test_images"], row["cells"], row["seeds"]) == ("test", 6_000, 6_466, 3)
    assert (row["attack"], row["norm"], row["eps"], row["steps"]) == ("pgd", "Linf", 8 / 255, 20)
    assert (row["step_size"], row["random_start"], row["restarts"]) == (2.5 * (8 / 255) / 20, True, 1)
    assert (row["unit"], row["range"], row["source"]) == ("fraction of images", "[0, 1]", bench.info.source)
    assert "projected gradient descent" in row["description"]


def test_metrics_marks_what_a_short_name_means(bench):
    listed = bench.metrics().query("dataset == 'cifar10'").set_index("long_name")
    assert listed.index[listed["default"]].tolist() == [
        "clean_acc",
        "fgsm_acc@8/255",
        "pgd_acc@8/255",
        "autoattack_acc@8/255",
    ]
    assert listed["seeds"].tolist() == [3, 3, 3, 3, 3, 1]


def test_metrics_of_single_seeds_count_seeds_and_cells(small):
    listed = small.metrics().set_index(["long_name", "split"])
    assert listed.index.tolist() == [("clean_acc", "test"), ("clean_acc", "validation"), ("pgd_acc@0.1", "test")]
    assert listed["seeds"].tolist() == [3, 2, 3]
    assert listed["cells"].tolist() == [3, 1, 3]
    assert listed["test_images"].tolist() == [IMAGES, HELD_OUT, IMAGES]


# ---------------------------------------------------------------------- best, pareto, join


def test_best_puts_the_highest_value_first(bench):
    best = bench.best("cifar10", "pgd_acc", k=7)
    values = bench.frame("cifar10")["pgd_acc@8/255"]
    assert best.columns.tolist() == [*CELL_COLUMNS, "pgd_acc@8/255"]
    assert best["pgd_acc@8/255"].tolist() == sorted(values, reverse=True)[:7]
    assert len(bench.best("cifar10", "pgd_acc")) == 10
    assert best.loc[0, "pgd_acc@8/255"] == bench.query(int(best.loc[0, "index"]), "cifar10", "pgd_acc")


def test_best_knows_budgets(bench):
    by_argument = bench.best("cifar10", "pgd_acc", 3, eps="3/255")
    pd.testing.assert_frame_equal(by_argument, bench.best("cifar10", "pgd_acc@3/255", np.int64(3)))
    assert by_argument.columns[-1] == "pgd_acc@3/255"


def test_best_orders_equal_values_by_index(bench, small):
    everything = bench.best("cifar10", "clean_acc", k=100_000)
    assert len(everything) == 6_466
    expected = bench.frame("cifar10", ["clean_acc"]).sort_values(["clean_acc", "index"], ascending=[False, True])
    assert everything["index"].tolist() == expected["index"].tolist()
    assert everything["index"].tolist()[-5:] == [10, 12, 74, 172, 879]  # all at chance
    assert small.best(metric="clean_acc", k=5)["index"].tolist() == [0, 9, 1]  # the others have no result


@pytest.mark.parametrize("k", [0, -1, True, 2.0, "3", None])
def test_best_refuses_a_k_that_is_no_count(bench, k):
    with pytest.raises(InvalidValueError, match=r"k is .*an integer of at least 1"):
        bench.best("cifar10", "pgd_acc", k)


def not_beaten(points: np.ndarray) -> list[bool]:
    return [not ((points >= point).all(axis=1) & (points > point).any(axis=1)).any() for point in points]


@pytest.mark.parametrize(
    "metrics", [("clean_acc", "pgd_acc"), ("autoattack_acc", "clean_acc", "fgsm_acc@3/255"), ("pgd_acc", "pgd_acc")]
)
@pytest.mark.parametrize("source", ["bench", "published"])
def test_pareto_keeps_exactly_the_cells_that_no_other_beats(request, source, metrics):
    bench = request.getfixturevalue(source)
    frame = bench.frame("cifar10", metrics)
    columns = [bench.lookup(0, "cifar10", metric).metric for metric in metrics]
    front = bench.pareto("cifar10", metrics)
    assert front.columns.tolist() == [*CELL_COLUMNS, *dict.fromkeys(columns)]
    assert sorted(front["index"]) == frame.loc[not_beaten(frame[columns].to_numpy()), "index"].tolist()
    assert front[columns[0]].is_monotonic_decreasing


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9))
def test_pareto_keeps_equals_and_leaves_out_what_has_no_value(counts):
    trained = np.unique(cells.representatives()).tolist()[: len(counts)]
    rows = [small_row(index, None, *pair) for index, pair in zip(trained, counts, strict=True)]
    front = Benchmark(runs_table(SMALL, rows)).pareto()
    kept = not_beaten(np.array(counts))
    assert sorted(front["index"]) == [index for index, keep in zip(trained, kept, strict=True) if keep]


@pytest.mark.parametrize("metrics", ["pgd_acc", ["pgd_acc"], []])
def test_pareto_needs_two_metrics(bench, metrics):
    with pytest.raises(InvalidValueError, match=r"metrics is .*at least two metric names"):
        bench.pareto("cifar10", metrics)


def test_join_puts_two_releases_side_by_side(bench, small):
    joined = bench.join(small)
    assert joined.columns.names == ["release", "dataset", "metric"]
    assert joined.index.name == "index"
    assert len(joined) == 6_466
    assert joined["small"].columns.tolist() == [
        ("digits", "clean_acc"),
        ("digits", "clean_acc#validation"),
        ("digits", "pgd_acc@0.1"),
    ]
    assert joined["nas-robbench-201"].shape[1] == 18
    assert joined.loc[9, ("nas-robbench-201", "cifar100", "clean_acc")] == bench.query(9, "cifar100", "clean_acc")
    assert joined.loc[9, ("small", "digits", "clean_acc")] == 450 / IMAGES
    assert joined["small", "digits", "clean_acc"].notna().sum() == 3
    assert [len(bench.join(small, cells=view)) for view in ROWS] == list(ROWS.values())


def test_join_tells_versions_of_one_release_apart(small):
    newer = Benchmark(runs_table(replace(SMALL, version="3"), small_rows()))
    joined = small.join(newer)
    assert joined.columns.unique("release").tolist() == ["small@2", "small@3"]


def test_join_refuses_the_same_version_and_what_is_no_benchmark(small):
    with pytest.raises(InvalidValueError, match=r"small@2.*another release than this one"):
        small.join(Benchmark(runs_table(SMALL, small_rows())))
    with pytest.raises(InvalidValueError, match=r"other is .*a Benchmark"):
        small.join(small.frame())


# ---------------------------------------------------------------------- about the release


def test_a_release_says_what_it_is(bench, small, made_up_file):
    assert bench.info.source.startswith("https://tt2408.github.io/nasrobbench201hp/")
    assert hashlib.sha256(made_up_file.read_bytes()).hexdigest() in bench.info.source
    assert (bench.name, bench.version) == ("nas-robbench-201", "1")
    assert bench.datasets == ("cifar10", "cifar100", "ImageNet16-120")
    assert bench.cite().startswith("@inproceedings{wu2024robust,")
    assert repr(bench) == "<Benchmark nas-robbench-201 1: cifar10, cifar100, ImageNet16-120>"
    assert (small.name, small.version, small.datasets, small.cite()) == ("small", "2", ("digits",), "@misc{small}")


def test_training_time_is_the_mean_of_the_seeds_that_recorded_it(bench, small):
    assert small.train_seconds(0) == 15.0
    assert small.train_seconds(str(Cell.from_index(0)), "digits") == 15.0
    with pytest.raises(MissingResultError, match="small records no training time for cell 1 on digits"):
        small.train_seconds(1)
    with pytest.raises(MissingResultError, match="nas-robbench-201 records no training time for cell 9930 on cifar10"):
        bench.train_seconds(9930, "cifar10")


# ---------------------------------------------------------------------- questions without an answer

ERRORS = {
    "half a metric": ({"metric": "pgd"}, UnknownNameError, ["unknown metric 'pgd'", "did you mean 'pgd_acc'?"]),
    "the page's name": ({"metric": "val_acc"}, UnknownNameError, ["'val_acc'", "did you mean 'clean_acc'?"]),
    "the page's budget": ({"metric": "val_pgd_3_acc"}, UnknownNameError, ["did you mean 'pgd_acc@3/255'?"]),
    "upper case": ({"metric": "PGD_ACC"}, UnknownNameError, ["did you mean 'pgd_acc'?"]),
    "no metric": ({"metric": ""}, InvalidValueError, ["metric is ''", "clean_acc, fgsm_acc@3/255, pgd_acc@3/255"]),
    "a number as metric": ({"metric": 3}, UnknownNameError, ["unknown metric 3", "known: clean_acc"]),
    "an empty split in a name": ({"metric": "clean_acc#"}, UnknownNameError, ["unknown"]),
    "not measured": ({"metric": "square_acc"}, MissingResultError, ["no square_acc at eps 8/255", "measured there:"]),
    "unknown data set": ({"dataset": "cifar11"}, UnknownNameError, ["'cifar11'", "did you mean 'cifar10'?"]),
    "other data set": (
        {"dataset": "digits"},
        MissingResultError,
        ["nas-robbench-201 has no data set 'digits'", "available: cifar10, cifar100, ImageNet16-120"],
    ),
    "no data set": ({"dataset": None}, InvalidValueError, ["dataset is None, expected one of cifar10, cifar100"]),
    "eps not measured": (
        {"eps": "4/255"},
        MissingResultError,
        ["no pgd_acc at eps 4/255 on the test split of cifar10", "pgd_acc@3/255, fgsm_acc@8/255, pgd_acc@8/255"],
    ),
    "eps in grey levels": ({"eps": 8}, InvalidValueError, ["eps is 8,", "did you mean 8/255?"]),
    "eps in grey levels, as text": ({"eps": "8"}, InvalidValueError, ["did you mean 8/255?"]),
    "eps that is no number": ({"eps": "big"}, InvalidValueError, ["eps is 'big'", "8/255"]),
    "eps that is a truth value": ({"eps": True}, InvalidValueError, ["eps is True"]),
    "eps nan": ({"eps": float("nan")}, InvalidValueError, ["eps is nan"]),
    "eps zero": ({"eps": 0}, InvalidValueError, ["eps is 0"]),
    "two budgets": (
        {"metric": "pgd_acc@3/255", "eps": 8 / 255},
        InvalidValueError,
        ["the budget in 'pgd_acc@3/255', or none", "did you mean 3/255?"],
    ),
    "clean under attack": ({"metric": "clean_acc", "eps": 8 / 255}, InvalidValueError, ["clean_acc has no attack"]),
    "clean@": ({"metric": "clean_acc@8/255"}, UnknownNameError, ["'clean_acc@8/255'", "did you mean 'clean_acc'?"]),
    "a seed that the source hides": ({"seed": 1}, MissingResultError, ["has no seed 1", "gives no single seeds"]),
    "negative seed": ({"seed": -1}, InvalidValueError, ["seed is -1", "non-negative integer"]),
    "seed as text": ({"seed": "1"}, InvalidValueError, ["seed is '1'"]),
    "unknown split": ({"split": "tset"}, UnknownNameError, ["unknown split 'tset'", "did you mean 'test'?"]),
    "split without results": ({"split": "validation"}, MissingResultError, ["no pgd_acc", "validation split"]),
    "a truth value": ({"arch": True}, InvalidCellError, ["a boolean is not a cell index (given True)"]),
    "a numpy truth value": ({"arch": np.True_}, InvalidCellError, ["True"]),
    "a float": ({"arch": 1.0}, InvalidCellError, ["a Cell, an index or a NAS-Bench-201 string", "given 1.0"]),
    "negative index": ({"arch": -1}, InvalidCellError, ["0..15624; the nearest is 0 (given -1)"]),
    "index too large": ({"arch": 15_625}, InvalidCellError, ["the nearest is 15624 (given 15625)"]),
    "malformed string": ({"arch": "|none~0|"}, InvalidCellError, ["expected 3 nodes", "given '|none~0|'"]),
    "unknown operation": (
        {"arch": "|none~0|+|conv~0|none~1|+|none~0|none~1|none~2|"},
        InvalidCellError,
        ["edge 1", "unknown operation 'conv'"],
    ),
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


def test_errors_carry_their_objects(bench):
    with pytest.raises(UnknownNameError) as caught:
        bench.query(0, "cifar10", "pgd")
    assert (caught.value.kind, caught.value.given, caught.value.suggestion) == ("metric", "pgd", "pgd_acc")
    with pytest.raises(MissingResultError) as caught:
        bench.query(0, "digits", "pgd_acc")
    assert caught.value.available == bench.datasets


def test_the_only_data_set_need_not_be_named(small):
    assert small.query(0, metric="pgd_acc") == small.query(0, "digits", "pgd_acc")
    assert small.frame().equals(small.frame("digits"))


# ---------------------------------------------------------------------- single seeds


def test_without_a_seed_the_answer_is_the_mean_of_the_seeds_that_were_run(small):
    assert small.query(0, metric="clean_acc") == pytest.approx((500 + 502 + 507) / 3 / IMAGES, rel=1e-15)
    assert small.query(1, metric="clean_acc") == pytest.approx((450 + 440) / 2 / IMAGES, rel=1e-15)
    assert small.query(9, metric="clean_acc") == 450 / IMAGES


def test_a_seed_is_answered_by_its_own_run(small):
    for (index, seed), (clean, attacked) in COUNTS.items():
        assert small.query(index, metric="clean_acc", seed=seed) == clean / IMAGES
        assert small.query_many([index], metric="pgd_acc", seed=np.int64(seed)).tolist() == [attacked / IMAGES]


def test_lookup_of_a_mean_lists_its_seeds(small):
    found = small.lookup(0, metric="pgd_acc")
    values = [400 / IMAGES, 399 / IMAGES, 410 / IMAGES]
    assert found.seeds == dict(zip((1, 2, 3), values, strict=True))
    assert found.std == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert (found.n_seeds, found.correct, found.test_images) == (3, 400 + 399 + 410, IMAGES)
    assert (found.metric, found.attack.eps) == ("pgd_acc@0.1", 0.1)
    assert all(type(seed) is int and type(value) is float for seed, value in found.seeds.items())


def test_lookup_of_one_seed_knows_that_seed_alone(small):
    found = small.lookup(1, metric="clean_acc", seed=3)
    assert (found.value, found.std, found.n_seeds) == (440 / IMAGES, None, 1)
    assert (found.seeds, found.correct) == ({3: 440 / IMAGES}, 440)
    assert small.lookup(9, metric="clean_acc").std is None  # one seed has no spread


def test_the_validation_split_is_another_column(small):
    assert small.query(0, metric="clean_acc", split="validation") == pytest.approx(0.92, rel=1e-15)
    assert small.query(0, metric="clean_acc#validation", seed=1) == 0.91
    found = small.lookup(0, metric="clean_acc", split="validation")
    assert (found.split, found.test_images, found.n_seeds, found.correct) == ("validation", HELD_OUT, 2, 184)
    with pytest.raises(MissingResultError, match=r"clean_acc on digits for cell 1$"):
        small.query(1, metric="clean_acc", split="validation")


def test_a_seed_that_nobody_ran_is_an_error_that_lists_all_seeds(small):
    for door, archs in ((small.query, 0), (small.lookup, 0), (small.query_many, [0])):
        with pytest.raises(MissingResultError, match=r"no seed 4 for clean_acc on digits.*that were run: 1, 2, 3, 7"):
            door(archs, metric="clean_acc", seed=4)


def test_a_seed_that_was_not_run_for_this_cell_is_an_error_that_lists_its_seeds(small):
    for door, archs in ((small.query, 1), (small.lookup, 1), (small.query_many, [0, 1])):
        with pytest.raises(MissingResultError, match=r"for seed 2 of cell 1 \(seeds that were run: 1, 3\)") as caught:
            door(archs, metric="clean_acc", seed=2)
        assert caught.value.available == (1, 3)


def test_a_cell_without_a_result_is_an_error_and_never_imputed(small):
    for door, archs in ((small.query, 2), (small.lookup, 2), (small.query_many, [0, 2])):
        with pytest.raises(MissingResultError, match=r"small has no clean_acc on digits for cell 2$"):
            door(archs, metric="clean_acc")


@pytest.mark.parametrize("lookalike", [True, 1.0, np.float64(1)])
def test_what_equals_a_seed_is_refused_after_the_seed_too(small, lookalike):
    assert small.query(0, metric="clean_acc", seed=1) == 500 / IMAGES
    with pytest.raises(InvalidValueError, match=r"seed is .*a non-negative integer"):
        small.query(0, metric="clean_acc", seed=lookalike)


# ---------------------------------------------------------------------- tables that answer twice


@pytest.mark.parametrize(
    "extra",
    [small_row(0, 1, 499, 399), small_row(0, 1, 500, 400), small_row(9, None, 450, 301), {**small_row(0, None, 1, 1)}],
    ids=["other value of a seed", "same value again", "mean beside its seed", "mean beside three seeds"],
)
def test_a_table_with_two_answers_to_one_question_is_refused(extra):
    bench = Benchmark(runs_table(SMALL, [*small_rows(), extra]))
    for ask in (
        lambda: bench.query(0, metric="clean_acc"),
        lambda: bench.query_many([1], metric="clean_acc"),
        lambda: bench.lookup(0, metric="clean_acc", seed=1),
        lambda: bench.best(metric="clean_acc"),
        bench.frame,
        bench.metrics,
    ):
        with pytest.raises(TableError, match="several clean_acc for one cell and seed; run validate"):
            ask()


def test_two_means_for_one_cell_are_refused():
    rows = [small_row(0, None, 500, 400, seeds=3), small_row(0, None, 501, 400, seeds=2)]
    with pytest.raises(TableError, match="several clean_acc"):
        Benchmark(runs_table(SMALL, rows)).query(0, metric="clean_acc")


def test_rows_of_different_metrics_do_not_answer_twice():
    clean, attacked = small_row(0, None, 500, 400, seeds=3), small_row(0, None, 500, 400)
    del clean["pgd_acc@0.1"], clean["pgd_correct@0.1"], attacked["clean_acc"], attacked["clean_correct"]
    bench = Benchmark(runs_table(SMALL, [clean, attacked]))
    assert bench.lookup(0, metric="clean_acc").n_seeds == 3
    assert bench.lookup(0, metric="pgd_acc").n_seeds == 1


def test_a_table_with_impossible_cells_is_refused():
    bench = Benchmark(runs_table(SMALL, [small_row(15_625, 1, 500, 400)]))
    with pytest.raises(TableError, match="cell indices out of range; run validate"):
        bench.query(0, metric="clean_acc")


def test_what_is_no_runs_table_is_refused(tmp_path):
    with pytest.raises(TableError, match="no release description"):
        Benchmark(pa.table({"index": [0]}))
    with pytest.raises(MissingDataError, match="no file or folder"):
        Benchmark(tmp_path / "absent.parquet")
    with pytest.raises(MissingDataError, match="no Parquet file in"):
        Benchmark(tmp_path)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(TableError, match=r"text\.parquet: not readable as Parquet"):
        Benchmark(tmp_path / "text.parquet")


# ---------------------------------------------------------------------- the same answers always


def shards(table: pa.Table, folder: Path, size: int) -> Path:
    folder.mkdir()
    for number, start in enumerate(range(0, table.num_rows, size)):
        write_table(table.slice(start, size), folder / f"part-{number:03}.parquet")
    return folder


@pytest.mark.parametrize("size", [12_932, 5_000])  # a shard per data set; shards that hold parts of two
def test_shards_a_file_and_memory_give_the_same_answers(made_up_table, bench, tmp_path, size):
    table = pq.ParquetFile(made_up_table).read()
    metrics = ["pgd_acc", "autoattack_acc"]
    expected = bench.frame(metrics=metrics)
    for source in (table, shards(table, tmp_path / "runs", size)):
        other = Benchmark(source)
        assert other.query(9930, "imagenet", "autoattack_acc") == bench.query(9930, "imagenet", "autoattack_acc")
        assert other.lookup(MEMBER, "cifar10", "pgd_acc") == bench.lookup(MEMBER, "cifar10", "pgd_acc")
        pd.testing.assert_frame_equal(other.frame(metrics=metrics), expected, check_exact=True)


def test_the_order_of_rows_does_not_matter(small):
    table = runs_table(SMALL, small_rows())
    turned = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    for index in (0, 1, 9):
        assert Benchmark(turned).lookup(index, metric="pgd_acc") == small.lookup(index, metric="pgd_acc")


def test_asking_again_or_in_another_order_changes_nothing(made_up_table):
    metrics = ("clean_acc", "pgd_acc", "pgd_acc@3/255")
    questions = [(9930, dataset, metric) for dataset in FOREIGN_DATASETS for metric in metrics]
    one, other = Benchmark(made_up_table), Benchmark(made_up_table)
    answers = [one.query(*question) for question in questions]
    assert [other.query(*question) for question in reversed(questions)] == answers[::-1]
    assert [one.query(*question) for question in questions] == answers
    pd.testing.assert_frame_equal(one.frame(), other.frame(), check_exact=True)
    pd.testing.assert_frame_equal(one.pareto("cifar10"), other.pareto("cifar10"), check_exact=True)


# ---------------------------------------------------------------------- golden values

GOLDEN = {  # means over three seeds, AutoAttack one: clean, FGSM and PGD at 3/255, at 8/255, AutoAttack
    (9930, "cifar10"): (0.79557, 0.6971, 0.69243, 0.53343, 0.47793, 0.4438),
    (9930, "cifar100"): (0.50463, 0.40453, 0.4011, 0.26997, 0.24407, 0.2093),
    (9930, "ImageNet16-120"): (0.16039, 0.12506, 0.12483, 0.08028, 0.07361, 0.04333),
    (2581, "cifar10"): (0.7937, 0.6955, 0.6893, 0.5351, 0.48113, 0.4434),
    (13714, "cifar100"): (0.50053, 0.40343, 0.40023, 0.2709, 0.24667, 0.206),
    (1000, "cifar10"): (0.76837, 0.6716, 0.6663, 0.5112, 0.46283, 0.4260),
}


@pytest.mark.parametrize(("index", "dataset"), GOLDEN)
def test_published_golden_values(published, index, dataset):
    found = [published.query(index, dataset, metric) for metric in FOREIGN_METRICS]
    assert found == pytest.approx(GOLDEN[index, dataset], abs=5.1e-6)


def test_every_published_column_has_one_of_four_cells_on_top(published):
    listed = published.metrics()
    best = [published.best(row.dataset, row.long_name, 1).loc[0, "index"] for row in listed.itertuples()]
    assert set(best) == {9930, 2581, 13714, 6111}
