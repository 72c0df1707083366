"""The query API against the content of the page file, read without the package, and against a small table of seeds."""

from __future__ import annotations

import hashlib
import statistics

import numpy as np
import pandas as pd
import pytest
from conftest import in_page
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_tables import COUNTS, SMALL

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidCellError, InvalidValueError, MissingResultError
from nasbench_robust.metrics import Attack
from nasbench_robust.table import Result

MEMBER = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])  # a cell that was not trained itself
IMAGES, HELD_OUT = SMALL.datasets["digits"].images.values()


# ---------------------------------------------------------------------- one answer


@pytest.mark.parametrize("index", [0, 9, MEMBER, 9930, 15_624])
def test_index_numpy_integer_cell_and_string_give_the_value_in_the_file(bench, made_up_content, index):
    expected = in_page(made_up_content, "cifar100#val_acc")[index]
    cell = Cell.from_index(index)
    for arch in (index, np.int64(index), np.uint16(index), cell, str(cell), np.str_(str(cell))):
        assert bench.query(arch, "cifar100", "clean_acc") == expected


def test_the_answer_is_a_plain_float(bench):
    assert type(bench.query(9930, "cifar10", "pgd_acc")) is float
    assert type(bench.lookup(9930, "cifar10", "pgd_acc").value) is float


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("cifar10", ["CIFAR-10", "cifar_10"]),
        ("cifar100", ["Cifar 100"]),
        ("ImageNet16-120", ["imagenet", "ImageNet16", "imagenet-16-120"]),
    ],
)
def test_data_sets_go_by_their_usual_spellings(bench, name, spellings):
    for spelling in spellings:
        assert bench.query(9930, spelling, "clean_acc") == bench.query(9930, name, "clean_acc")
        assert bench.lookup(9930, spelling, "clean_acc").dataset == name


@pytest.mark.parametrize(
    ("metric", "eps", "field"),
    [
        *(
            ("pgd_acc", eps, "val_pgd_8_acc")
            for eps in (None, 8 / 255, np.float64(8 / 255), np.array(8 / 255), 0.031373)
        ),
        *(("pgd_acc@8/255", eps, "val_pgd_8_acc") for eps in (None, "8/255", "0.031373")),
        *(("pgd_acc", eps, "val_pgd_3_acc") for eps in (3 / 255, "3/255")),
        ("pgd_acc@3/255", None, "val_pgd_3_acc"),
        ("fgsm_acc", None, "val_fgsm_8_acc"),
        ("fgsm_acc", "3/255", "val_fgsm_3_acc"),
        ("autoattack_acc", None, "autoattack"),
    ],
)
def test_a_budget_is_the_data_sets_own_or_the_one_that_is_given(bench, made_up_content, metric, eps, field):
    assert bench.query(77, "cifar10", metric, eps=eps) == in_page(made_up_content, f"cifar10#{field}")[77]


def test_lookup_says_everything_about_a_mean_whose_seeds_the_source_does_not_give(bench, made_up_content):
    value = in_page(made_up_content, "imagenet#val_pgd_8_acc")[MEMBER]
    assert bench.lookup(MEMBER, "imagenet", "pgd_acc") == Result(
        **{"value": value, "std": None, "n_seeds": 3, "seeds": {}},
        **{"index": MEMBER, "representative": int(made_up_content[str(MEMBER)]), "connected": True},
        **{"dataset": "ImageNet16-120", "metric": "pgd_acc@8/255", "split": "test", "test_images": 6_000},
        correct=round(value * 18_000),
        attack=Attack("pgd", 8 / 255, steps=20, step_size=2.5 * (8 / 255) / 20, random_start=True, restarts=1),
        **{"release": "nas-robbench-201", "version": "1", "source": bench.info.source},
    )


def test_lookup_of_autoattack_is_one_run_and_of_clean_accuracy_has_no_attack(bench):
    autoattack, clean = (bench.lookup(10, "cifar10", metric) for metric in ("autoattack_acc", "clean_acc"))
    assert (autoattack.n_seeds, autoattack.correct, autoattack.attack.name) == (1, 1_000, "autoattack")
    assert (clean.n_seeds, clean.correct, clean.attack, clean.connected) == (3, 3_000, None, False)


# ---------------------------------------------------------------------- many answers

INDICES = [9930, 0, MEMBER, 0, 15_624]
STRINGS = [str(Cell.from_index(index)) for index in INDICES]
FORMS = {
    "ints": INDICES,
    "strings": STRINGS,
    "cells": [Cell.from_index(index) for index in INDICES],
    "mixed": [INDICES[0], STRINGS[1], Cell.from_index(INDICES[2]), np.int32(INDICES[3]), STRINGS[4]],
    "tuple": tuple(STRINGS),
    "generator": (string for string in STRINGS),
    "int16 array": np.array(INDICES, np.int16),
    "uint64 array": np.array(INDICES, np.uint64),
    "reversed view": np.array(INDICES[::-1])[::-1],
    "array of strings": np.array(STRINGS),
    "array of objects": np.array(STRINGS, object),
    "series": pd.Series(INDICES),
}


@pytest.mark.parametrize("archs", FORMS.values(), ids=FORMS)
def test_many_cells_in_any_form_are_answered_in_their_order(bench, archs):
    answers = bench.query_many(archs, "cifar10", "pgd_acc")
    assert answers.dtype == np.float64
    assert answers.tolist() == [bench.query(index, "cifar10", "pgd_acc") for index in INDICES]


@pytest.mark.parametrize("nothing", [[], (), np.array([]), np.array([], np.int64), iter(())])
def test_no_cells_give_no_answers(bench, nothing):
    answers = bench.query_many(nothing, "cifar10", "pgd_acc")
    assert (answers.shape, answers.dtype) == ((0,), np.float64)


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
        (np.array([1, -1]), "-1"),
        (np.array([15_625]), "15625"),
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


@pytest.mark.parametrize(
    ("index", "question", "message", "available"),
    [
        (0, {"seed": 4}, r"no seed 4 for clean_acc on digits.*that were run: 1, 2, 3, 7", (1, 2, 3, 7)),
        (1, {"seed": 2}, r"for seed 2 of cell 1 \(seeds that were run: 1, 3\)", (1, 3)),
        (2, {}, r"small has no clean_acc on digits for cell 2$", ()),  # and nothing is imputed
        (1, {"split": "validation"}, r"small has no clean_acc#validation on digits for cell 1$", ()),
    ],
)
def test_a_result_that_is_not_there_is_an_error_that_lists_the_seeds(small, index, question, message, available):
    for door, archs in ((small.query, index), (small.lookup, index), (small.query_many, [0, index])):
        with pytest.raises(MissingResultError, match=message) as caught:
            door(archs, metric="clean_acc", **question)
        assert caught.value.available == available


@pytest.mark.parametrize("lookalike", [True, 1.0, np.float64(1)])
def test_what_equals_a_seed_is_refused_after_the_seed_too(small, lookalike):
    assert small.query(0, metric="clean_acc", seed=1) == 500 / IMAGES
    with pytest.raises(InvalidValueError, match=r"^seed is "):
        small.query(0, metric="clean_acc", seed=lookalike)


# ---------------------------------------------------------------------- about the release


def test_a_release_says_what_it_is(bench, small, made_up_file):
    assert bench.info.source.startswith("https://tt2408.github.io/nasrobbench201hp/")
    assert hashlib.sha256(made_up_file.read_bytes()).hexdigest() in bench.info.source
    assert (bench.name, bench.version) == ("nas-robbench-201", "1")
    assert bench.datasets == ("cifar10", "cifar100", "ImageNet16-120")
    assert bench.cite().startswith("@inproceedings{wu2024robust,")
    assert repr(bench) == "<Benchmark nas-robbench-201 1: cifar10, cifar100, ImageNet16-120>"
    assert (small.name, small.version, small.datasets, small.cite()) == ("small", "2", ("digits",), SMALL.citation)


def test_training_time_is_the_mean_of_the_seeds_that_recorded_it(bench, small):
    assert small.train_seconds(0) == small.train_seconds(str(Cell.from_index(0)), "digits") == 15.0
    with pytest.raises(MissingResultError, match="small records no training time for cell 1 on digits"):
        small.train_seconds(1)
    with pytest.raises(MissingResultError):
        bench.train_seconds(9930, "cifar10")
