"""Rank correlations, bootstrap, the best cells, noise: against scipy, brute force and cases with a known answer."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest

from nasbench_robust import statistics
from nasbench_robust.cells import Cell, connected, representatives
from nasbench_robust.errors import InvalidCellError, InvalidValueError
from nasbench_robust.statistics import noise, rankings

stats = pytest.importorskip("scipy.stats")
REPRESENTATIVES = np.unique(representatives())


def tied_columns(seed: int, n: int = 60, k: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n)
    return np.round(common + rng.normal(size=(k, n)), 1)


def slow_tau_b(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b by its definition, over all pairs."""
    signs = [(np.sign(a - b), np.sign(c - d)) for (a, c), (b, d) in itertools.combinations(zip(x, y, strict=True), 2)]
    product = sum(a * b for a, b in signs)
    return product / math.sqrt(sum(a != 0 for a, _ in signs) * sum(b != 0 for _, b in signs))


def test_spearman_is_the_correlation_of_mid_ranks():
    x, y = tied_columns(0)
    assert len(np.unique(x)) < len(x)
    by_hand = np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1]
    assert statistics.spearman(x, y) == pytest.approx(by_hand, abs=1e-12)
    assert statistics.spearman([1, 2, 3], [30, 20, 10]) == pytest.approx(-1)
    assert statistics.ranks([5, 1, 5, 9]).tolist() == [2.5, 1, 2.5, 4]


def test_kendall_is_tau_b():
    x, y = tied_columns(1, n=30)
    assert statistics.kendall(x, y) == pytest.approx(slow_tau_b(x, y), abs=1e-12)
    assert statistics.kendall(x, x) == pytest.approx(1)


def test_a_constant_column_ranks_nothing():
    for correlation in (statistics.spearman, statistics.kendall):
        assert math.isnan(correlation([1, 1, 1], [1, 2, 3]))
        assert math.isnan(correlation([1, 2, 3], [0, 0, 0]))


@pytest.mark.parametrize("given", [[1, 2], [1, 2, math.nan], [1, 2, math.inf], [1, 2, 3, 4], "abc", [[1, 2, 3]], None])
@pytest.mark.parametrize(
    "function", [statistics.spearman, statistics.kendall, statistics.mean_rank, lambda a, b: statistics.regret(b, a)]
)
def test_columns_that_cannot_be_compared_are_refused(function, given):
    with pytest.raises(InvalidValueError):
        function([1, 2, 3], given)


def test_the_message_says_what_is_wrong():
    with pytest.raises(InvalidValueError, match="3 numbers as in x; it has 4"):
        statistics.spearman([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(InvalidValueError, match="finite numbers; number 1 is nan"):
        statistics.spearman([1, math.nan, 3], [1, 2, 3])
    with pytest.raises(InvalidValueError, match="at least 3 cells"):
        statistics.kendall([1, 2], [1, 2])


def test_partial_correlation_is_that_of_the_residuals():
    x, y, control = tied_columns(2, n=200, k=3)
    ranked = [stats.rankdata(column) for column in (x, y, control)]
    residuals = [column - np.polyval(np.polyfit(ranked[2], column, 1), ranked[2]) for column in ranked[:2]]
    expected = np.corrcoef(*residuals)[0, 1]
    assert statistics.partial(x, y, control) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(statistics.partial(control, y, control))
    one, other, both = (statistics.kendall(*pair) for pair in ((x, control), (y, control), (x, y)))
    by_hand = (both - one * other) / math.sqrt((1 - one**2) * (1 - other**2))
    assert statistics.partial(x, y, control, statistics.kendall) == pytest.approx(by_hand)


def test_partial_correlation_finds_that_a_common_cause_explains_everything():
    rng = np.random.default_rng(3)
    cause = rng.normal(size=4000)
    x, y = cause + rng.normal(size=(2, 4000))
    assert statistics.spearman(x, y) > 0.4
    assert abs(statistics.partial(x, y, cause)) < 0.05


# --- bootstrap


def test_resampled_spearman_is_that_of_the_resample():
    columns = tied_columns(4, n=40, k=3)
    rng, again = np.random.default_rng(0), np.random.default_rng(0)
    drawn = statistics.bootstrap_spearman(columns, rng=rng, resamples=20)
    assert drawn.shape == (20, 3, 3)
    counts = np.concatenate([rankings._draw(again, 40, size) for size in (16, 4)], axis=1)
    assert (counts.sum(axis=0) == 40).all()
    for resample, count in zip(drawn, counts.T.astype(int), strict=True):
        repeated = np.repeat(columns, count, axis=1)
        assert resample == pytest.approx(stats.spearmanr(repeated.T).statistic, abs=1e-12)


def test_a_few_columns_against_all_are_the_first_rows_of_all_against_all():
    columns = tied_columns(10, n=60, k=5)
    whole, part = (
        statistics.bootstrap_spearman(columns, rng=np.random.default_rng(0), resamples=20, against=against)
        for against in (None, 2)
    )
    assert part.shape == (20, 2, 5)
    assert part == pytest.approx(whole[:, :2], abs=1e-12)
    with pytest.raises(InvalidValueError):
        statistics.bootstrap_spearman(columns, rng=np.random.default_rng(0), against=0)


def test_both_bootstraps_agree_with_each_other_and_with_scipy():
    x, y = tied_columns(5, n=150)
    drawn = statistics.bootstrap_spearman([x, y], rng=np.random.default_rng(1), resamples=2000)[:, 0, 1]
    low, high = statistics.percentile_interval(drawn)
    plain = statistics.bootstrap(statistics.spearman, x, y, rng=np.random.default_rng(2), resamples=1000)
    oracle = stats.bootstrap(
        (x, y), statistics.spearman, paired=True, vectorized=False, method="percentile", n_resamples=1000, rng=3
    ).confidence_interval
    assert plain.value == statistics.spearman(x, y)
    assert (low, high) == pytest.approx((plain.low, plain.high), abs=0.02)
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=0.02)


def test_cells_of_a_group_are_drawn_together():
    x, y = tied_columns(4, n=60)
    groups = np.repeat(np.arange(25), np.r_[np.ones(20, int), np.full(5, 8)])
    drawn = statistics.bootstrap_spearman([x, y], rng=np.random.default_rng(1), resamples=30, groups=groups)[:, 0, 1]
    rng = np.random.default_rng(1)
    for start in (0, 16):  # as many at once as the function ranks at once
        for chosen in rng.integers(25, size=(min(16, 30 - start), 25)):
            cells_drawn = np.concatenate([np.flatnonzero(groups == group) for group in chosen])
            assert drawn[start] == pytest.approx(stats.spearmanr(x[cells_drawn], y[cells_drawn]).statistic, abs=1e-12)
            start += 1
    alone = [statistics.bootstrap_spearman([x, y], rng=np.random.default_rng(1), resamples=9, groups=each)
             for each in (None, np.arange(60))]  # fmt: skip
    assert np.array_equal(*alone)
    with pytest.raises(InvalidValueError, match=r"groups is .*expected 60 entries, one per cell; there are 3"):
        statistics.bootstrap_spearman([x, y], rng=rng, groups=[1, 2, 3])


def test_intervals_are_reproducible_and_differ_by_seed():
    x, y = tied_columns(6)
    for function in (statistics.spearman, statistics.kendall):
        found = [
            statistics.bootstrap(function, x, y, rng=np.random.default_rng(seed), resamples=50) for seed in (0, 0, 1)
        ]
        assert found[0] == found[1] != found[2]
        assert found[0].low < found[0].value < found[0].high
    same = [statistics.bootstrap_spearman([x, y], rng=np.random.default_rng(0), resamples=20) for _ in range(2)]
    assert (same[0] == same[1]).all()


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's rho of a bivariate normal with correlation .6
    rng, covered = np.random.default_rng(7), 0
    for _ in range(200):
        x, noise_ = rng.normal(size=(2, 120))
        drawn = statistics.bootstrap_spearman([x, 0.6 * x + 0.8 * noise_], rng=rng, resamples=200)[:, 0, 1]
        low, high = statistics.percentile_interval(drawn)
        covered += low <= truth <= high
    assert 175 <= covered <= 199  # 190 expected


def test_a_thousand_resamples_of_all_cells_take_no_time():
    columns = tied_columns(8, n=6466)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        statistics.bootstrap_spearman(columns, rng=np.random.default_rng(0))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 3


def test_constant_resamples_are_left_out_of_an_interval():
    drawn = statistics.bootstrap_spearman([[0, 0, 1], [1, 2, 3]], rng=np.random.default_rng(0), resamples=200)[:, 0, 1]
    assert np.isnan(drawn).any()
    low, high = statistics.percentile_interval(drawn)
    assert -1 <= low <= high <= 1
    assert all(math.isnan(bound) for bound in statistics.percentile_interval([math.nan]))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("resamples", {"resamples": 0}), ("resamples", {"resamples": 1.5}), ("rng", {"rng": 0}), ("level", {"level": 95})],
)
def test_arguments_of_the_bootstrap_are_checked(name, arguments):
    with pytest.raises(InvalidValueError) as caught:
        statistics.bootstrap(
            statistics.spearman, *tied_columns(9), **{"rng": np.random.default_rng(0), "resamples": 2, **arguments}
        )
    assert caught.value.name == name


# --- the best cells


def test_top_fraction_is_rounded_up_and_takes_the_first_of_equals():
    assert statistics.top_fraction([3, 1, 2, 5, 4], 0.5).tolist() == [True, False, False, True, True]
    assert statistics.top_fraction([1, 1, 1, 1], 0.25).tolist() == [True, False, False, False]
    assert statistics.top_fraction(np.arange(10), 0.3).sum() == 3
    assert statistics.top_fraction(np.arange(6466), 0.1).sum() == 647
    with pytest.raises(InvalidValueError):
        statistics.top_fraction([1, 2, 3], 0)


def over_all_orders(proxy, target, measure):
    """Average a measure of the picked order over every order that agrees with the proxy."""
    agreeing = [
        order
        for order in itertools.permutations(range(len(proxy)))
        if all(proxy[a] >= proxy[b] for a, b in itertools.pairwise(order))
    ]
    return np.mean([measure([target[cell] for cell in order]) for order in agreeing])


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_regret_with_ties_is_the_mean_over_their_orders(k):
    proxy, target = [2, 1, 2, 2, 0, 1], [0.5, 0.9, 0.3, 0.7, 1.0, 0.1]
    expected = over_all_orders(proxy, target, lambda picked: max(target) - max(picked[:k]))
    assert statistics.regret(proxy, target, k) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_recall_with_ties_is_the_mean_over_their_orders(k):
    proxy, target = [2, 1, 2, 2, 0, 1], [0.5, 0.9, 0.3, 0.7, 1.0, 0.1]
    best = sorted(target)[-2:]
    expected = over_all_orders(proxy, target, lambda picked: len(set(picked[:k]) & set(best)) / 2)
    assert statistics.top_recall(proxy, target, 2, picks=k) == pytest.approx(expected)


def test_a_perfect_proxy_loses_nothing_and_a_constant_one_is_chance():
    target = np.random.default_rng(0).normal(size=50)
    assert statistics.regret(target, target) == 0
    assert statistics.top_recall(target, target, 5) == 1
    assert statistics.regret(np.zeros(50), target) == pytest.approx(target.max() - target.mean())
    assert statistics.top_recall(np.zeros(50), target, 5) == pytest.approx(0.1)
    for function in (statistics.regret, statistics.top_recall):
        with pytest.raises(InvalidValueError, match="at most the 50 cells"):
            function(target, target, 51)


# --- noise


def test_seed_noise_finds_the_noise_that_was_put_in():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1, size=(3000, 1))
    runs = true + rng.normal(0, 0.6, size=(3000, 3))
    found = noise.seed_noise(runs)
    assert found.sd == pytest.approx(0.6 / math.sqrt(3), rel=0.03)
    assert (found.groups, found.values) == (3000, 9000)
    mean = runs.mean(axis=1)
    expected = 1 / (1 + 0.6**2 / 3)
    assert noise.reliability(found.sd, mean) == pytest.approx(expected, abs=0.02)
    pearson = np.corrcoef(runs[:, 0], runs[:, 1])[0, 1]
    assert noise.spearman_brown(pearson, 3) == pytest.approx(expected, abs=0.02)
    assert noise.seed_correlation(runs) == pytest.approx(6 / math.pi * math.asin(1 / (1 + 0.6**2) / 2), abs=0.03)
    # What a perfect predictor of the true value reaches is the ceiling.
    assert np.corrcoef(mean, true[:, 0])[0, 1] == pytest.approx(noise.ceiling(expected), abs=0.01)


def test_missing_runs_are_left_out_of_the_noise():
    runs = [[0.5, 0.7, math.nan], [0.1, math.nan, math.nan], [0.2, 0.2, 0.2], [0.3, 0.4, 0.5]]
    found = noise.seed_noise(runs)
    assert found.sd == pytest.approx(math.sqrt((0.02 / 2 + 0 + 0.01 / 3) / 3))
    assert (found.groups, found.values) == (3, 8)
    half = [[0.1, 0.2, math.nan], [0.2, 0.3, math.nan], [0.3, 0.4, 0.1]]  # only the first two seeds share 3 cells
    assert noise.seed_correlation(half) == pytest.approx(1)
    assert math.isnan(noise.seed_noise([[0.1], [0.2]]).sd)
    assert math.isnan(noise.seed_correlation([[0.1], [0.2]]))


def test_reliability_is_never_negative_and_unknown_without_noise_or_spread():
    assert noise.reliability(10, [1, 2, 3]) == 0
    assert noise.reliability(0, [1, 2, 3]) == 1
    assert math.isnan(noise.reliability(math.nan, [1, 2, 3]))
    assert math.isnan(noise.reliability(0.1, [1, 1, 1]))
    assert math.isnan(noise.ceiling(math.nan, 1))
    assert math.isnan(noise.spearman_brown(-0.5, 3))


def test_twin_noise_finds_the_noise_that_was_put_in():
    from nasbench_robust.cells import families

    rng = np.random.default_rng(0)
    values = rng.normal(size=15625)[families()[REPRESENTATIVES]] + rng.normal(0, 0.1, size=len(REPRESENTATIVES))
    found = noise.twin_noise(REPRESENTATIVES, values)
    assert found.sd == pytest.approx(0.1, rel=0.05)
    assert found.groups > 700
    values[~connected()[REPRESENTATIVES]] = 1e6  # cells at chance do not count
    assert noise.twin_noise(REPRESENTATIVES, values) == found


def test_twin_noise_without_twins_is_unknown():
    found = noise.twin_noise([9930, 2581, 13714], [0.1, 0.2, 0.3])
    assert math.isnan(found.sd)
    assert (found.groups, found.values) == (0, 0)


def test_cells_of_the_twins_are_checked():
    with pytest.raises(InvalidCellError, match="representative"):
        noise.twin_noise([1234, 9, 10], [0.1, 0.2, 0.3])
    with pytest.raises(InvalidCellError):
        noise.twin_noise([-1, 9, 10], [0.1, 0.2, 0.3])
    with pytest.raises(InvalidValueError, match="once"):
        noise.twin_noise([9, 9, 10], [0.1, 0.2, 0.3])
    with pytest.raises(InvalidValueError):
        noise.twin_noise([9, 10], [0.1, 0.2, 0.3])
    assert Cell.from_index(1234).representative == 172


def test_noise_of_the_published_table_is_that_of_its_description(published):
    frame = published.frame("cifar10", ["clean_acc"])
    upper = frame[statistics.top_fraction(frame["clean_acc"], 0.75)]
    found = noise.twin_noise(upper["index"].to_numpy(), upper["clean_acc"])
    assert 0.0014 <= found.sd <= 0.002
