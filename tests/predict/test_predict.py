"""Smoothing, rules and rankings: against textbook formulas, scikit-learn's own checks, and without any leak."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import nasbench_robust as nbr
from nasbench_robust import cells, predict, statistics
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError, MissingPackageError

RNG = np.random.default_rng(3)
KNOWN = np.unique(cells.representatives())[::16].astype(np.int64)
VALUES = predict.structure_count()[KNOWN] + 0.3 * RNG.normal(size=len(KNOWN))


# ------------------------------------------------------------------ rules


def test_log_rank_sum_is_the_formula() -> None:
    one, other = [0.1, 0.9, 0.5, 0.5], [3.0, 1.0, 2.0, 4.0]
    expected = np.log(np.array([1, 4, 2.5, 2.5]) / 4) + np.log(np.array([3, 1, 2, 4]) / 4)
    assert np.allclose(predict.log_rank_sum(one, other), expected, atol=0)


@pytest.mark.parametrize("rule", [predict.log_rank_sum, statistics.mean_rank])
def test_rules_see_the_order_of_columns_alone(rule) -> None:
    columns = RNG.normal(size=(3, 50))
    assert np.array_equal(rule(*columns), rule(np.exp(columns[0]), 5 * columns[1] - 2, columns[2] ** 3))
    better = columns.copy()
    better[:, 7] = columns.max() + 1  # ahead everywhere
    assert rule(*better).argmax() == 7


def test_ranks_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for column in (RNG.normal(size=40), RNG.integers(5, size=40).astype(float), np.zeros(4)):
        assert np.array_equal(statistics.ranks(column), stats.rankdata(column))


def test_failures_are_last_and_equal() -> None:
    column = predict.with_failures_last([3.0, np.nan, 1.0, -np.inf, np.inf])
    assert column.argsort()[-1] == 0
    assert column[1] == column[3] == column[4] < 1


def test_wrong_columns_are_named() -> None:
    with pytest.raises(InvalidValueError, match=r"columns is .*expected columns of one length"):
        predict.log_rank_sum([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(InvalidValueError, match="at least one column"):
        predict.log_rank_sum()
    with pytest.raises(InvalidValueError, match="at least one finite value"):
        predict.with_failures_last([np.nan, np.inf])


# ------------------------------------------------------------------ the Gaussian process


def test_normal_scores_are_quantiles_of_the_normal_distribution() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = RNG.integers(30, size=100)
    assert np.allclose(predict.normal_scores(values), stats.norm.ppf(stats.rankdata(values) / 101), atol=1e-12)


def test_the_posterior_is_that_of_scikit_learn() -> None:
    gaussian = pytest.importorskip("sklearn.gaussian_process")
    rows, values, trend = RNG.normal(size=(60, 5)), RNG.normal(size=60), RNG.normal(size=(60, 1))
    weights, noise, asked, ahead = (
        RNG.integers(1, 5, size=60) * 1.0,
        0.2,
        RNG.normal(size=(9, 5)),
        RNG.normal(size=(9, 1)),
    )
    ours = predict.Posterior(rows, values, weights, noise, trend)
    whole = np.exp(-((rows[:, None] - rows) ** 2).sum(-1)) + np.diag(noise / weights)
    basis, inverse = np.hstack([np.ones((60, 1)), trend]), np.linalg.inv(whole)
    slopes = np.linalg.solve(basis.T @ inverse @ basis, basis.T @ inverse @ values)
    theirs = gaussian.GaussianProcessRegressor(
        gaussian.kernels.RBF(np.sqrt(0.5)), alpha=noise / weights, optimizer=None
    )
    mean, sd = theirs.fit(rows, values - basis @ slopes).predict(asked, return_std=True)
    assert np.allclose(ours.mean(asked, ahead), mean + slopes[0] + slopes[1] * ahead[:, 0], atol=1e-8)
    assert np.allclose(ours.sd(asked), np.sqrt(ours.variance) * sd, atol=1e-8)


def test_the_noise_is_what_makes_values_most_likely() -> None:
    rows = RNG.normal(size=(300, 2))
    signal = np.linalg.cholesky(np.exp(-((rows[:, None] - rows) ** 2).sum(-1)) + 1e-6 * np.eye(300)) @ RNG.normal(
        size=300
    )
    for noise in (0.01, 1.0):
        found = predict.Posterior(rows, 7 * (signal + np.sqrt(noise) * RNG.normal(size=300)))
        assert noise / 3.5 < found.noise < noise * 3.5
        assert 49 / 4 < found.variance < 49 * 4


def test_a_value_of_many_runs_is_that_value_many_times() -> None:
    rows, values = RNG.normal(size=(20, 3)), RNG.normal(size=20)
    often = np.repeat(np.arange(20), 4)
    many = predict.Posterior(rows[often], values[often], noise=0.3)
    assert np.allclose(many.mean(rows), predict.Posterior(rows, values, np.full(20, 4.0), 0.3).mean(rows), atol=1e-8)


# ------------------------------------------------------------------ smoothing and folds


def test_folds_never_part_a_family() -> None:
    index = RNG.permutation(cells.SIZE)[:4000]
    folds = predict.family_folds(index, 7, np.random.default_rng(1))
    families = cells.families()[index]
    assert all(len(set(folds[families == family])) == 1 for family in np.unique(families))
    sizes = [len(np.unique(families[folds == fold])) for fold in range(7)]
    assert max(sizes) - min(sizes) <= 1


def test_smoothing_takes_noise_out_and_knows_cells_that_it_never_saw() -> None:
    truth, others = predict.structure_count(), np.setdiff1d(np.arange(cells.SIZE), KNOWN)
    smoothed = predict.smooth(KNOWN, VALUES)
    assert np.array_equal(smoothed, smoothed[cells.families()])
    assert statistics.spearman(smoothed[others], truth[others]) > 0.95
    assert statistics.spearman(smoothed[KNOWN], truth[KNOWN]) > statistics.spearman(VALUES, truth[KNOWN])


def test_what_is_out_of_fold_does_not_know_itself_nor_its_twins() -> None:
    def smoothed(values: np.ndarray) -> np.ndarray:
        return predict.smooth_out_of_fold(index, values, rng=np.random.default_rng(0), noise=0.1)

    families, members = np.unique(cells.families()[np.unique(cells.representatives())], return_counts=True)
    twins = np.flatnonzero(np.isin(cells.families(), families[members == 2][:40]))
    index = np.unique(cells.representatives()[twins]).astype(np.int64)
    values = RNG.normal(size=len(index))
    family = cells.families()[index] == cells.families()[index[0]]
    assert family.sum() == 2
    changed = values.copy()
    changed[family] = np.sort(values)[[0, 1]] - 0.5 - np.arange(2)  # the last two ranks, whatever they were before
    order = values.copy()
    order[family] = np.sort(values)[[0, 1]] - 1.5 + np.arange(2)
    assert np.array_equal(smoothed(changed)[family], smoothed(order)[family])
    assert not np.array_equal(predict.smooth(index, changed, noise=0.1), predict.smooth(index, order, noise=0.2))


@pytest.mark.parametrize(
    ("index", "values", "said"),
    [
        ([1, 2, 2], [1, 2, 3], "every cell once"),
        ([1, 2, 15625], [1, 2, 3], "index is 15625, expected the index of a cell, 0 to 15624"),
        ([1, 2, 3, 4], [1, 2, 3], "3 cells, one for each value; there are 4"),
        ([1.5, 2, 3], [1, 2, 3], "indices of cells"),
        ([1, 2, 3], [1, np.nan, 3], "finite numbers; number 1 is nan"),
    ],
)
def test_wrong_cells_and_values_are_named(index, values, said) -> None:
    with pytest.raises(InvalidValueError, match=said):
        predict.smooth(index, values)


# ------------------------------------------------------------------ the estimator


def test_the_estimator_keeps_the_conventions_of_scikit_learn() -> None:
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    results = checks.check_estimator(predict.GaussianProcess(), on_skip=None)  # raises where one fails
    assert sum(result["status"] == "passed" for result in results) > 40


def test_the_estimator_learns_accuracies_from_a_few_trainings() -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    accuracies = nbr.load().values("digits", "pgd_acc")
    model = predict.GaussianProcess().fit(predict.features()[KNOWN], accuracies[KNOWN])
    others = np.setdiff1d(np.unique(cells.representatives()), KNOWN)
    predicted = model.predict(predict.features()[others])
    assert statistics.spearman(predicted, accuracies[others]) > 0.88
    assert np.abs(predicted - accuracies[others]).mean() < 0.02
    folds = model_selection.GroupKFold(4)
    scores = model_selection.cross_val_score(
        model, predict.features()[KNOWN], accuracies[KNOWN], groups=cells.families()[KNOWN], cv=folds
    )
    assert scores.min() > 0.5


def test_without_scikit_learn_the_estimator_says_what_to_install_and_the_rest_works(monkeypatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "nasbench_robust.predict.estimator", raising=False)
    monkeypatch.delitem(vars(predict), "GaussianProcess", raising=False)
    with pytest.raises(MissingPackageError, match=r"'scikit-learn' is needed .*pip install scikit-learn "):
        _ = predict.GaussianProcess
    assert len(predict.smooth(KNOWN, VALUES)) == cells.SIZE


@pytest.mark.parametrize("wrong", [{"noise": 0.0}, {"length": -1}, {"noise": "much"}])
def test_wrong_settings_of_the_estimator_are_named(wrong) -> None:
    with pytest.raises(InvalidValueError, match=rf"{next(iter(wrong))} is .*expected a finite number above 0"):
        predict.GaussianProcess(**wrong).fit(np.eye(4), np.arange(4))


# ------------------------------------------------------------------ the ranking


def test_the_ranking_has_each_function_once_and_best_first() -> None:
    values = predict.structure_count()
    ranked = predict.rank(values)
    assert len(ranked) == len(np.unique(cells.families()[ranked])) == 4787
    assert (np.diff(values[ranked]) <= 0).all()
    assert predict.rank(values, 5).tolist() == ranked[:5].tolist()
    assert Cell.from_index(ranked[0]).operations == ("nor_conv_3x3",) * 6 or values[ranked[0]] > 6 - 1e-9
    with pytest.raises(InvalidValueError, match="top is 4788, expected an integer from 1 to 4,787; did you mean 4787"):
        predict.rank(values, 4788)
    with pytest.raises(InvalidValueError, match="15,625 numbers, one per cell; there are 3"):
        predict.rank([1, 2, 3])


def test_the_label_free_ranking_is_its_rule() -> None:
    some = np.unique(cells.representatives())
    score = np.full(cells.SIZE, np.nan)
    score[KNOWN], score[KNOWN[3]] = VALUES, -np.inf
    smoothed = predict.smooth(KNOWN, predict.with_failures_last(score[KNOWN]))
    columns = (predict.smoothed_digits(), predict.structure_count(), smoothed)
    ranking = predict.label_free(score)
    assert np.array_equal(ranking[some], predict.log_rank_sum(*(column[some] for column in columns)))
    assert np.array_equal(ranking, ranking[cells.representatives()])
    with pytest.raises(InvalidValueError, match=r"scores is .*expected columns of 15,625 numbers"):
        predict.label_free([1, 2, 3])


def test_smoothed_digits_rank_cells_as_the_table_does() -> None:
    trained = np.unique(cells.representatives())
    digits = nbr.load().values("digits", "pgd_acc")[trained]
    assert statistics.spearman(predict.smoothed_digits()[trained], digits) > 0.93
