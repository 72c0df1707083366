"""A release as data frames: every value of the file, the best cells, the Pareto front, two releases side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import PAGE_METRICS, in_page, read_page
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_tables import SMALL, few_runs, run

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import Benchmark, runs_table

DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet"}  # and their names in the file
COLUMNS = list(PAGE_METRICS.values())
ROWS = {"representatives": 6_466, "connected": 6_461, "all": 15_625}
CELL_COLUMNS = ["dataset", "index", "arch", "representative", "connected", "parameters", "flops"]
MEMBER = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])  # a cell that was not trained itself


@pytest.mark.parametrize("view", ROWS)
def test_a_frame_has_a_row_per_cell_of_the_view_and_data_set(bench, view):
    frame = bench.frame(cells=view)
    assert frame.groupby("dataset", sort=False).size().to_dict() == dict.fromkeys(DATASETS, ROWS[view])
    assert len(bench.frame("cifar10", cells=view)) == ROWS[view]
    for _, part in frame.groupby("dataset"):
        assert part["index"].is_monotonic_increasing
        assert part["index"].is_unique


def test_the_views_differ_in_trained_and_in_connected_cells(bench):
    everything = bench.frame("cifar10", cells="all")
    trained = everything[everything["index"] == everything["representative"]]
    pd.testing.assert_frame_equal(trained, bench.frame("cifar10"))
    linked = trained[trained["connected"]]
    pd.testing.assert_frame_equal(linked, bench.frame("cifar10", cells="connected"))
    with pytest.raises(UnknownNameError, match="unknown view of the cells 'connect'; did you mean 'connected'"):
        bench.frame(cells="connect")


def test_a_frames_columns_and_types(bench):
    frame = bench.frame()
    assert frame.columns.tolist() == [*CELL_COLUMNS, *COLUMNS]
    assert frame.index.tolist() == frame["index"].tolist()
    assert all(pd.api.types.is_string_dtype(frame[name]) for name in ("dataset", "arch"))
    kinds = {"index": "i", "representative": "i", "connected": "b", "parameters": "i", "flops": "i"}
    assert {name: frame[name].dtype.kind for name in kinds} == kinds
    assert all(frame[column].dtype == np.float64 for column in COLUMNS)


@pytest.mark.parametrize("release", ["made_up", "published"])
def test_every_value_is_the_one_in_the_file_to_the_last_bit(request, release):
    content = read_page(request.getfixturevalue(f"{release}_file"))
    frame = request.getfixturevalue("bench" if release == "made_up" else release).frame(cells="all")
    for dataset, foreign in DATASETS.items():
        part = frame[frame["dataset"] == dataset]
        for field, column in PAGE_METRICS.items():
            assert np.array_equal(part[column], in_page(content, f"{foreign}#{field}"))


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
    assert frame.columns.tolist() == [*CELL_COLUMNS, "autoattack_acc", "pgd_acc", "pgd_acc@3/255"]
    assert bench.frame("cifar10", []).columns.tolist() == CELL_COLUMNS


def test_a_single_string_of_metrics_is_refused_as_such(bench):
    with pytest.raises(InvalidValueError, match="metrics is 'pgd_acc'"):
        bench.frame("cifar10", "pgd_acc")


def test_a_frame_has_gaps_where_there_is_no_result(small):
    frame = small.frame()
    assert len(frame) == 6_466
    assert frame.dropna(subset=["clean_acc"])["index"].tolist() == [0, 1, 9]
    assert frame["clean_acc#validation"].notna().sum() == 1
    assert "fgsm_acc@0.1" not in frame  # described, never measured


# ---------------------------------------------------------------------- what was measured


def test_metrics_lists_what_was_measured(bench):
    listed = bench.metrics()
    assert listed["dataset"].tolist() == [name for name in DATASETS for _ in COLUMNS]
    assert listed["long_name"].tolist() == COLUMNS * 3
    row = listed[(listed["dataset"] == "ImageNet16-120") & (listed["long_name"] == "pgd_acc@8/255")].iloc[0]
    assert row.drop(["description", "long_name", "dataset"]).to_dict() == {
        **{"metric": "pgd_acc", "split": "test", "test_images": 6_000, "cells": 6_466, "seeds": 3, "default": True},
        **{"attack": "pgd", "norm": "Linf", "eps": 8 / 255, "steps": 20, "step_size": 2.5 * (8 / 255) / 20},
        **{"random_start": True, "restarts": 1},
        **{"unit": "fraction of images", "range": "[0, 1]", "source": bench.info.source},
    }
    assert "projected gradient descent" in row["description"]


def test_metrics_marks_what_a_short_name_means(bench):
    listed = bench.metrics().query("dataset == 'cifar10'").set_index("long_name")
    short = ["clean_acc", "fgsm_acc@8/255", "pgd_acc@8/255", "autoattack_acc@8/255"]
    assert listed.index[listed["default"]].tolist() == short
    assert listed["seeds"].tolist() == [3, 3, 3, 3, 3, 1]


def test_metrics_of_single_seeds_count_seeds_and_cells(small):
    listed = small.metrics()[["long_name", "split", "seeds", "cells", "test_images"]]
    assert listed.to_numpy().tolist() == [
        *(["clean_acc", "test", 3, 3, 517], ["clean_acc", "validation", 2, 1, 100]),
        ["pgd_acc@0.1", "test", 3, 3, 517],
    ]


# ---------------------------------------------------------------------- best, pareto, join


def test_best_puts_the_highest_value_first(bench):
    best = bench.best("cifar10", "pgd_acc", k=7)
    values = bench.frame("cifar10")["pgd_acc@8/255"]
    assert best.columns.tolist() == [*CELL_COLUMNS, "pgd_acc"]
    assert best["pgd_acc"].tolist() == sorted(values, reverse=True)[:7]
    assert len(bench.best("cifar10", "pgd_acc")) == 10
    assert best["pgd_acc"].tolist() == [bench.query(index, "cifar10", "pgd_acc") for index in best.index.tolist()]


def test_every_published_column_has_one_of_four_cells_on_top(published):
    listed = published.metrics()
    best = [published.best(row.dataset, row.long_name, 1).index[0] for row in listed.itertuples()]
    assert set(best) == {9930, 2581, 13714, 6111}


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


def test_best_of_a_view_is_that_of_its_own_cells(published):
    for view in ("all", "representatives", "smallest", "connected", "all"):
        best = published.best("cifar10", "pgd_acc", 50, cells=view)
        frame = published.frame("cifar10", ["pgd_acc"], cells=view)
        in_order = frame.sort_values(["pgd_acc", "index"], ascending=[False, True]).head(50)
        pd.testing.assert_frame_equal(best, in_order)


def test_a_frame_that_is_written_to_keeps_its_labels(bench):
    frame = bench.frame("cifar10")
    frame.loc[1, "index"] = 77
    assert frame.index.tolist()[:3] == [0, 1, 2]
    assert bench.frame("cifar10")["index"].tolist()[:3] == [0, 1, 2]


@pytest.mark.parametrize("k", [0, -1, True, 2.0, "3", None])
def test_best_refuses_a_k_that_is_no_count(bench, k):
    with pytest.raises(InvalidValueError, match=r"(k is .*|no k is given), expected an integer of at least 1"):
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
    columns = list(metrics)
    front = bench.pareto("cifar10", metrics)
    assert front.columns.tolist() == [*CELL_COLUMNS, *dict.fromkeys(columns)]
    assert sorted(front["index"]) == frame.loc[not_beaten(frame[columns].to_numpy()), "index"].tolist()
    assert front[columns[0]].is_monotonic_decreasing


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9))
def test_pareto_keeps_equals_and_leaves_out_what_has_no_value(counts):
    trained = np.unique(cells.representatives()).tolist()[: len(counts)]
    rows = [run(index, None, *pair) for index, pair in zip(trained, counts, strict=True)]
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
    measured = ("clean_acc", "clean_acc#validation", "pgd_acc@0.1")
    assert joined["small"].columns.tolist() == [("digits", column) for column in measured]
    assert joined["nas-robbench-201"].shape[1] == 18
    assert joined.loc[9, ("nas-robbench-201", "cifar100", "clean_acc")] == bench.query(9, "cifar100", "clean_acc")
    assert joined.loc[9, ("small", "digits", "clean_acc")] == 450 / 517
    assert joined["small", "digits", "clean_acc"].notna().sum() == 3
    assert [len(bench.join(small, cells=view)) for view in ROWS] == list(ROWS.values())


def test_join_tells_versions_of_one_release_apart(small):
    newer = Benchmark(runs_table(replace(SMALL, version="3"), few_runs()))
    assert small.join(newer).columns.unique("release").tolist() == ["small@2", "small@3"]


def test_join_refuses_the_same_version_and_what_is_no_benchmark(small):
    with pytest.raises(InvalidValueError, match=r"small@2.*another release than this one"):
        small.join(Benchmark(runs_table(SMALL, few_runs())))
    with pytest.raises(InvalidValueError, match=r"other is .*a Benchmark"):
        small.join(small.frame())
