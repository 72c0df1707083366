"""Curves and outcomes: what the files beside the runs hold, asked by cell, and what is said where there are none."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from made_up_tables import SMALL, few_runs
from stored_runs import CELLS, LAYOUTS, bundled, make_committed

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.errors import InvalidValueError, MissingResultError, NasbenchRobustError
from nasbench_robust.releases import locate
from nasbench_robust.statistics import mcnemar, paired
from nasbench_robust.table import CURVE_COLUMNS, Benchmark, Reader, runs_table

MEMBER = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])  # answered by another cell


@pytest.fixture(scope="module")
def digits() -> Benchmark:
    return nbr.load()


@pytest.fixture(scope="module")
def stored() -> pd.DataFrame:
    return Reader(locate().parent / "curves.parquet").read().to_pandas()


def test_a_curve_is_what_the_file_holds(digits, stored):
    for index in (0, 9930, 15_000):
        for seed in (0, 1, 2):
            cell = cells.Cell.from_index(index)
            rows = stored[(stored["index"] == cell.representative) & (stored.seed == seed)].set_index("epoch")
            curve = digits.curve(cell, seed=seed)
            assert (curve.index.tolist(), curve.attrs["split"]) == (list(range(1, 21)), "validation")
            pd.testing.assert_frame_equal(curve, rows[list(CURVE_COLUMNS)], check_index_type=False)
    assert digits.curve(0)["pgd_acc"].tolist() == pytest.approx(
        np.mean([digits.curve(0, seed=s)["pgd_acc"] for s in (0, 1, 2)], axis=0).tolist()
    )


def test_all_curves_are_a_frame_and_an_array(digits, stored):
    frame = digits.curves()
    ordered = stored.sort_values(["index", "seed", "epoch"])[["index", "seed", "epoch", *CURVE_COLUMNS]]
    np.testing.assert_array_equal(frame.to_numpy(), ordered.to_numpy(float))
    values = digits.curve_values(name="train_loss")
    assert (values.shape, values.flags.writeable, np.isnan(values).any()) == ((15_625, 20), False, False)
    means = frame.groupby(["index", "epoch"])["train_loss"].mean().unstack()
    np.testing.assert_allclose(values[means.index], means.to_numpy(), rtol=1e-14)
    assert values[MEMBER].tolist() == values[cells.Cell.from_index(MEMBER).representative].tolist()
    assert digits.curve_values(seed=1)[77].tolist() == digits.curve(77, seed=1)["pgd_acc"].tolist()
    few = digits.curves([9930, MEMBER], seed=2)
    assert few["index"].tolist() == [9930] * 20 + [MEMBER] * 20
    assert set(few["seed"]) == {2}


def test_outcomes_are_counted_by_the_accuracy(digits):
    rng = np.random.default_rng(0)
    archs = rng.choice(15_625, 200, replace=False)
    for metric, ran in digits.measured().items():
        size = 517 if metric.split == "test" else 256
        for seed in ran:
            outcomes = digits.outcomes_many(archs, metric=metric.column, seed=seed)
            assert (outcomes.shape, outcomes.dtype) == ((200, size), bool)
            expected = digits.query_many(archs, metric=metric.column, seed=seed)
            np.testing.assert_array_equal(outcomes.sum(axis=1) / size, expected)
    one = digits.outcomes(int(archs[0]), metric="pgd_acc", eps=0.05, seed=1, split="validation")
    assert one.tolist() == digits.outcomes_many(archs[:1], metric="pgd_acc@0.05#validation", seed=1)[0].tolist()


def test_the_parts_of_an_autoattack_leave_fewer_and_fewer_images(digits):
    left = digits.outcomes(9930, metric="clean_acc", seed=0)
    for part in ("apgd_ce", "apgd_t", "fab_t", "square"):
        outcomes = digits.outcomes(9930, metric=f"autoattack_acc>{part}", seed=0)
        assert not (outcomes & ~left).any()
        left = outcomes
    assert left.tolist() == digits.outcomes(9930, metric="autoattack_acc", seed=0).tolist()


def test_unions_are_those_of_booleans(digits):
    attacks = [digits.outcomes(9930, metric=name, seed=0) for name in ("fgsm_acc", "pgd_acc", "autoattack_acc")]
    assert np.all(attacks, axis=0).mean() <= digits.query(9930, metric="autoattack_acc", seed=0)
    two = digits.outcomes_many([9930, 1462], metric="pgd_acc", seed=0)
    assert two.any(axis=0).mean() >= two.mean(axis=1).max() >= two.all(axis=0).mean()


def test_pairs_are_compared_image_by_image(digits):
    one, other = digits.outcomes_many([9930, 1462], metric="pgd_acc", seed=0)
    pair = paired(one, other)
    assert set(pair.only_one) == {place for place in range(517) if one[place] and not other[place]}
    assert set(pair.only_other) == {place for place in range(517) if other[place] and not one[place]}
    assert pair.both + len(pair.only_one) == one.sum()
    assert pair.neither + len(pair.only_one) == 517 - other.sum()
    assert paired(other, one).p == pair.p == mcnemar(len(pair.only_one), len(pair.only_other))


def test_the_exact_test_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for one, other in ((0, 0), (0, 1), (5, 5), (3, 14), (0, 40), (700, 650), (2, 3)):
        expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
        assert mcnemar(one, other) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("values", [[0.5, 1], [[True]], [], "yes", [1, 0]])
def test_only_booleans_are_outcomes(values):
    with pytest.raises(InvalidValueError, match=r"one is .*, expected booleans of shape"):
        paired(values, [True])


def test_outcomes_of_other_images_are_no_pair():
    with pytest.raises(InvalidValueError, match="other is 2, expected outcomes of the same 1 images"):
        paired([True], [True, False])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_folders_of_runs_have_both(digits, layout, tmp_path):
    LAYOUTS[layout](tmp_path, bundled())
    bench = nbr.load(tmp_path)
    assert bench.curves()[["index", "seed"]].drop_duplicates().values.tolist() == [[index, 0] for index in CELLS]
    for index in CELLS:
        assert bench.curve(index).equals(digits.curve(index, seed=0))
        ask = {"metric": "autoattack_acc>apgd_t", "seed": 0}
        assert bench.outcomes(index, metric="autoattack_acc>apgd_t").tolist() == digits.outcomes(index, **ask).tolist()


def test_a_folder_that_is_pickled_has_both(tmp_path):
    make_committed(tmp_path, bundled())
    bench = pickle.loads(pickle.dumps(nbr.load(tmp_path)))
    assert len(bench.curve(CELLS[0])) == 20


def test_a_release_without_them_says_so(bench):
    for ask, what in ((bench.curve, "curves by epoch"), (bench.outcomes, "outcomes by image")):
        with pytest.raises(MissingResultError) as caught:
            ask(9930, "cifar10", **({"metric": "pgd_acc", "seed": 0} if ask == bench.outcomes else {}))
        told = f"nas-robbench-201 1 has no {what} beside its runs on cifar10"
        assert str(caught.value) == f"{told}; nasbench_robust.load('digits') has them, of every run"


def test_a_table_in_memory_has_none():
    with pytest.raises(MissingResultError, match="small 2 has no curves by epoch beside its runs on digits"):
        Benchmark(runs_table(SMALL, few_runs())).curve(0)


REFUSED = {
    "no curve on digits for seed 7 of cell 9930 (seeds that were run: 0, 1, 2)": lambda b: b.curve(9930, seed=7),
    "seed is True, expected an integer": lambda b: b.curve(9930, seed=True),
    "15624": lambda b: b.curve(15_625),
    "has no data set 'cifar10'": lambda b: b.curve(1, "cifar10"),
    "expected an iterable of cells": lambda b: b.curves(9930),
    "unknown column of curves 'acc'; did you mean 'pgd_acc'": lambda b: b.curve_values(name="acc"),
    "no curves on digits for seed 7 (": lambda b: b.curve_values(seed=7),
    "at the eps of the training alone, not at L2:0.1 (eps of the training: 0.1)": lambda b: b.curve_values(
        name="pgd_acc@L2:0.1"
    ),
    "expected one of 0, 1, 2: outcomes are those of one run": lambda b: b.outcomes(1, metric="pgd_acc"),
    "no outcomes of pgd_acc@0.1 on digits for seed 7 of cell 1 ": lambda b: b.outcomes(1, metric="pgd_acc", seed=7),
    "did you mean 'pgd_acc'": lambda b: b.outcomes(1, metric="pgd", seed=0),
    "part 'fab' of autoattack_acc@0.1 on digits (available: apgd_ce, apgd_t, fab_t, square)": lambda b: b.outcomes(
        1, metric="autoattack_acc>fab", seed=0
    ),
    "did you mean metric='pgd_acc'": lambda b: b.outcomes(1, "pgd_acc", seed=0),
    "metric is '', expected one of": lambda b: b.outcomes(1, seed=0),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_cannot_be_answered_says_what_would_be(digits, told):
    with pytest.raises(NasbenchRobustError, match=re.escape(told)):
        REFUSED[told](digits)
