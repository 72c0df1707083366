"""Searching in a table: budgets are kept, answers are the table's, repeats are single runs."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from made_up_tables import SMALL
from made_up_tables import run as made_up_run
from numpy.random import default_rng

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import BudgetSpentError, InvalidValueError, MissingResultError, UnknownNameError
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.releases import load
from nasbench_robust.search import (
    NSGA2,
    SEARCHERS,
    Budget,
    LocalSearch,
    PredictorGuided,
    RandomSearch,
    RegularisedEvolution,
    Reinforce,
    Repeats,
    Simulator,
    TableProblem,
    hypervolume,
    non_dominated,
    optuna_objective,
    repeat,
    run,
)
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import Benchmark, DatasetInfo, NATSAdapter, ReleaseInfo, runs_table

METHODS = pytest.mark.parametrize("method", SEARCHERS.values(), ids=lambda method: method.name)


def repeated(bench: Benchmark) -> Repeats:
    return repeat(on_test(bench, "clean_acc"), RandomSearch, Budget(queries=3), repeats=2)


@pytest.fixture(scope="module")
def three_seeds() -> Benchmark:
    """A table of three seeds in which accuracy and seed can be told from each other: index / 20,000 + seed / 10."""
    metrics = (Metric("clean_acc"), Metric.of(pgd(0.1)))
    images = DatasetInfo({"test": 10**6}, 0.1, Skeleton.for_dataset("digits"))
    info = ReleaseInfo("three", "0", "made up", "none", "@misc{none}", "a test", {"digits": images}, metrics)
    rows = []
    for index in np.unique(cells.representatives()).tolist():
        for seed in range(1, 3) if index == 9 else range(3):  # cell 9 lacks seed 0
            value = round(index / 20_000 + seed / 10, 6)
            row = {"dataset": "digits", "index": index, "seed": seed, "seeds": 1, "test_images": 10**6}
            rows.append({**row, "clean_acc": value, "pgd_acc@0.1": round(value / 2, 6)})
    return Benchmark(runs_table(info, rows))


def on_test(bench: Benchmark, metrics: str | tuple[str, ...], **options: object) -> TableProblem:
    return TableProblem(bench, metrics, bench.datasets[0], split="test", **options)


class Asker:
    """Asks for the same cells whatever they are worth."""

    def __init__(self, asked):
        self.left = iter(asked)

    def ask(self):
        return next(self.left, None)

    def tell(self, cell, value):
        pass


# ------------------------------------------------------------------ budgets


@METHODS
@pytest.mark.parametrize("charge_repeats", [True, False])
def test_budgets_of_queries_are_spent_exactly(problem, method, charge_repeats):
    searched = run(problem, method.make(default_rng(0)), Budget(queries=67, charge_repeats=charge_repeats))
    assert len(searched) == 67
    assert charge_repeats or len(set(cells.representatives()[searched.index].tolist())) == 67


@METHODS
def test_budgets_of_seconds_are_not_exceeded(problem, method):
    searched = run(problem, method.make(default_rng(0)), Budget(seconds=40.0))
    assert 40.0 - problem.seconds.max() < searched.seconds[-1] <= 40.0
    seconds = problem.bench.values(metric="train_cpu_seconds")
    assert searched.seconds[-1] == pytest.approx(sum(seconds[searched.index]))


def test_a_search_ends_where_either_limit_is_reached(problem):
    assert len(run(problem, RandomSearch(default_rng(0)), Budget(queries=5, seconds=1e9))) == 5
    assert 1 <= len(run(problem, RandomSearch(default_rng(0)), Budget(queries=10**6, seconds=5.0))) < 20


def test_seconds_can_be_named_where_the_table_has_none(bench):
    problem = on_test(bench, "clean_acc")
    with pytest.raises(MissingResultError, match=r"records no training time on cifar10; say what a query costs"):
        run(problem, RandomSearch(default_rng(0)), Budget(seconds=1000))
    assert "seconds" not in run(problem, RandomSearch(default_rng(0)), Budget(queries=2)).frame()
    searched = run(on_test(bench, "clean_acc", seconds=6600), RandomSearch(default_rng(0)), Budget(seconds=10 * 6600))
    assert searched.frame()["seconds"].tolist() == [6600.0 * number for number in range(1, 11)]


@pytest.mark.parametrize(
    ("lacking", "column", "costs"),
    [(None, "train_cpu_seconds", [3.0, 5.0]), (1, "train_seconds", [30.0, 50.0]), (0, "train_seconds", [30.0, 50.0])],
)
def test_queries_are_charged_with_seconds_of_processors_where_all_runs_have_them(lacking, column, costs):
    rows = [
        made_up_run(index, seed, 300, 200, train_seconds=10.0 * cost, train_cpu_seconds=cost)
        for index, seed, cost in ((0, 0, 2.0), (0, 1, 4.0), (1, 0, 5.0))
    ]
    if lacking is not None:
        del rows[lacking]["train_cpu_seconds"]
    bench = Benchmark(runs_table(SMALL, rows))
    problem = on_test(bench, "pgd_acc")
    assert problem.charged == column
    assert problem.seconds[:2].tolist() == costs
    found = repeat(problem, lambda _: Asker([0, 1]), Budget(queries=2), repeats=1)
    assert found.settings["charged"] == column
    assert found.trajectories[0].seconds.tolist() == np.cumsum(costs).tolist()
    api = NATSAdapter(bench, "pgd_acc", valid_split="test")
    assert [api.simulate_train_eval(index, "digits")[2] for index in (0, 1)] == costs
    assert on_test(bench, "pgd_acc", seconds=60).charged is None


def test_the_bundled_release_is_charged_by_processors_its_first_version_by_the_clock_and_one_without_by_nothing(
    problem, bench
):
    assert problem.charged == "train_cpu_seconds"
    assert np.array_equal(problem.seconds, problem.bench.values(metric="train_cpu_seconds"))
    first = on_test(load("digits-1"), "clean_acc")
    assert first.charged == "train_seconds"
    assert np.array_equal(first.seconds, problem.bench.values(metric="train_seconds"))
    assert np.isnan(first.bench.values(metric="train_cpu_seconds")).all()
    assert on_test(bench, "clean_acc").charged is None


def test_a_query_beyond_the_budget_is_refused_and_not_charged(problem):
    simulator = Simulator(problem, Budget(queries=1))
    simulator.query(Cell.from_index(9))
    with pytest.raises(BudgetSpentError, match="the query costs 1 query and the budget has 0 queries left"):
        simulator.query(Cell.from_index(10))
    assert simulator.queries == len(simulator.trajectory()) == 1
    simulator = Simulator(problem, Budget(seconds=0.001))
    with pytest.raises(BudgetSpentError, match=r"costs [\d.]+ seconds and the budget has 0.001 seconds left"):
        simulator.query(Cell.from_index(9))
    assert simulator.seconds == 0


def test_repeats_of_a_class_are_free_on_demand(problem):
    one, same = (Cell.from_index(index) for index in Cell.from_index(10).members[:2])
    simulator = Simulator(problem, Budget(queries=1, charge_repeats=False))
    assert simulator.query(one) == simulator.query(same)
    assert simulator.queries == 1
    with pytest.raises(BudgetSpentError):
        simulator.query(Cell.from_index(9))
    charged = Simulator(problem, Budget(queries=2))
    charged.query(one), charged.query(same)
    assert charged.queries == 2


def test_a_method_that_asks_for_nothing_new_is_stopped(problem):
    assert len(run(problem, Asker(itertools.repeat(9)), Budget(queries=5, charge_repeats=False))) == 1
    assert len(run(problem, Asker(itertools.repeat(9)), Budget(queries=5))) == 5


# ------------------------------------------------------------------ answers


def test_answers_are_those_of_the_table(digits):
    for metrics, split in ((("pgd_acc",), "validation"), (("clean_acc", "pgd_acc@0.05"), "test")):
        searched = run(TableProblem(digits, metrics, split=split), RandomSearch(default_rng(0)), Budget(queries=30))
        for column, metric in zip(searched.values.T, metrics, strict=True):
            assert column.tolist() == digits.query_many(searched.index, metric=metric, split=split).tolist()


def test_single_runs_are_drawn_anew_and_together(three_seeds):
    problem = on_test(three_seeds, ("clean_acc", "pgd_acc"), seed="random")
    simulator = Simulator(problem, Budget(queries=400), rng=default_rng(0))
    drawn = [simulator.query(Cell.from_index(10)) for _ in range(300)]
    counts = [drawn.count((pytest.approx(0.0005 + seed / 10), pytest.approx(0.00025 + seed / 20))) for seed in range(3)]
    assert sum(counts) == 300
    assert min(counts) > 70
    assert {round(simulator.query(Cell.from_index(9))[0], 5) for _ in range(50)} == {0.10045, 0.20045}
    # Judged by means: regret does not profit from a lucky run.
    noisy = on_test(three_seeds, "clean_acc", seed="random")
    searched = run(noisy, RandomSearch(default_rng(0)), Budget(queries=200), rng=default_rng(1))
    means = three_seeds.query_many(searched.incumbents, metric="clean_acc")
    assert (searched.regret >= 0).all()
    np.testing.assert_allclose(searched.regret, noisy.means.max() - means)
    assert not np.allclose(searched.best, means)


def test_one_seed_or_the_mean(three_seeds):
    for seed, expected in ((None, 0.1005), (2, 0.2005)):
        problem = on_test(three_seeds, "clean_acc", seed=seed)
        assert Simulator(problem, Budget(queries=1)).query(Cell.from_index(10)) == pytest.approx(expected)
    partial = Simulator(on_test(three_seeds, "clean_acc", seed=0), Budget(queries=1))
    with pytest.raises(MissingResultError, match="for seed 0 of cell 9"):
        partial.query(Cell.from_index(9))
    assert partial.queries == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda b: TableProblem(b, "clean_acc", "cifar10"), MissingResultError, "no held-out split: split='test'"),
        (lambda b: on_test(b, "pgd"), UnknownNameError, "did you mean 'pgd_acc'"),
        (lambda b: on_test(b, ()), InvalidValueError, "metrics is"),
        (lambda b: on_test(b, ("pgd_acc", "pgd_acc@8/255")), InvalidValueError, "several different ones"),
        (
            lambda b: on_test(b, "clean_acc", seed="random"),
            MissingResultError,
            "gives no single seeds for clean_acc on",
        ),
        (lambda b: on_test(b, "clean_acc", seed="rnd"), InvalidValueError, "did you mean 'random'"),
        (lambda b: Budget(), InvalidValueError, r"did you mean Budget\(queries=150\)"),
        (lambda b: Budget(queries=0), InvalidValueError, "queries is 0, expected an integer of at least 1"),
        (lambda b: Budget(seconds=-1), InvalidValueError, "seconds is -1"),
        (lambda b: RandomSearch(0), InvalidValueError, r"numpy.random.default_rng\(seed\)"),
        (lambda b: LocalSearch(default_rng(0), initial=0), InvalidValueError, "initial is 0"),
        (lambda b: Reinforce(default_rng(0), momentum=1), InvalidValueError, "momentum is 1"),
        (lambda b: NSGA2(default_rng(0), mutation=2), InvalidValueError, "mutation is 2"),
        (lambda b: PredictorGuided(default_rng(0), ridge=0), InvalidValueError, "ridge is 0"),
        (
            lambda b: repeat(on_test(b, "clean_acc"), RandomSearch, Budget(1), repeats=0),
            InvalidValueError,
            "repeats is 0",
        ),
        (
            lambda b: repeat(on_test(b, "clean_acc"), RandomSearch, 150),
            InvalidValueError,
            r"budget is 150, expected a Budget; did you mean Budget\(queries=150\)",
        ),
        (lambda b: Simulator(on_test(b, "clean_acc"), 150), InvalidValueError, r"mean Budget\(queries=150\)"),
        (lambda b: on_test(b, 3), InvalidValueError, "metrics is 3, expected one metric"),
        (
            lambda b: TableProblem(b, "square_acc", "cifar10"),
            MissingResultError,
            r"no square_acc@8/255 .*measured there",
        ),
        (lambda b: repeat(b, RandomSearch, Budget(1)), InvalidValueError, "expected a TableProblem"),
        (
            lambda b: repeat(on_test(b, "clean_acc"), "random", Budget(1)),
            InvalidValueError,
            "did you mean RandomSearch",
        ),
        (
            lambda b: run(on_test(b, "clean_acc"), RandomSearch, Budget(1)),
            InvalidValueError,
            r"mean RandomSearch\(rng\)",
        ),
        (lambda b: repeated(b).summary(20), InvalidValueError, r"at is 20, expected a .* did you mean \[20\]"),
        (lambda b: repeated(b).frame("clean_acc"), InvalidValueError, r"judges is .* did you mean \['clean_acc'\]"),
        (lambda b: run(on_test(b, "clean_acc"), None, Budget(1)), InvalidValueError, "which has ask and tell"),
        (lambda b: hypervolume([[1, 1, 1, 1, 1]]), InvalidValueError, "at most 4 for a hypervolume"),
        (lambda b: hypervolume([[1, 1]], [0]), InvalidValueError, "2 finite numbers"),
        (lambda b: non_dominated([1, 2]), InvalidValueError, r"the shape is \(2,\)"),
        (lambda b: non_dominated([[math.nan]]), InvalidValueError, "finite numbers"),
    ],
)
def test_what_cannot_be_searched_is_refused(bench, make, error, message):
    with pytest.raises(error, match=message):
        make(bench)


def test_errors_of_running(problem, two_objectives, three_seeds):
    with pytest.raises(InvalidValueError, match=r"RegularisedEvolution.*2 objectives.*did you mean NSGA2"):
        run(two_objectives, RegularisedEvolution(default_rng(0)), Budget(queries=1))
    noisy = on_test(three_seeds, "clean_acc", seed="random")
    with pytest.raises(InvalidValueError, match="no rng is given"):
        run(noisy, RandomSearch(default_rng(0)), Budget(queries=1))
    searched = run(two_objectives, RandomSearch(default_rng(0)), Budget(queries=3))
    for question in (lambda: searched.best, lambda: searched.incumbents, lambda: searched.judged("clean_acc")):
        with pytest.raises(InvalidValueError, match="of several there is a front"):
            question()
    searches = repeat(problem, RandomSearch, Budget(queries=2), repeats=2)
    with pytest.raises(UnknownNameError, match="did you mean 'regret'"):
        searches.curves("regrets")
    with pytest.raises(InvalidValueError, match="at is 0"):
        searches.summary([0])


# ------------------------------------------------------------------ repeats and trajectories


@METHODS
def test_repeats_are_single_runs_bit_for_bit(problem, method):
    searches = repeat(problem, method.make, Budget(queries=45), repeats=3, seed=7).trajectories
    for number, trajectory in enumerate(searches):
        rng = default_rng([7, number])
        again = run(problem, method.make(rng), Budget(queries=45), rng=rng)
        assert again.index.tolist() == trajectory.index.tolist()
        assert again.values.tolist() == trajectory.values.tolist()
    assert len({tuple(trajectory.index.tolist()) for trajectory in searches}) == 3


def test_trajectories_say_what_was_found(problem, digits):
    searched = run(problem, RandomSearch(default_rng(3)), Budget(queries=40))
    frame = searched.frame(["pgd_acc", "clean_acc#validation"])
    values = digits.query_many(frame["index"].to_numpy(), metric="pgd_acc", split="validation")
    best = 0.0
    for row, value in zip(frame.itertuples(), values.tolist(), strict=True):
        if value > best:
            best, incumbent = value, row.index
        assert (row.value, row.best, row.incumbent) == (value, best, incumbent)
    assert frame["query"].tolist() == list(range(1, 41))
    assert frame["regret"].iloc[-1] == pytest.approx(problem.values.max() - best)
    assert frame["pgd_acc"].tolist() == digits.query_many(frame["incumbent"].to_numpy(), metric="pgd_acc").tolist()
    assert list(searched.frame().columns)[-1] == "pgd_acc@0.1"


def test_joined_tables_and_summaries(problem):
    searched = repeat(problem, RandomSearch, Budget(seconds=15.0), repeats=5)
    frame = searched.frame()
    assert frame.groupby("repeat").size().tolist() == [len(trajectory) for trajectory in searched.trajectories]
    curves = searched.curves("regret")
    assert curves.shape == (5, max(map(len, searched.trajectories)))
    assert (np.diff(curves, axis=1) <= 0).all()
    summary = searched.summary([1, 10**6]).set_index(["column", "query"])
    last = [trajectory.regret[-1] for trajectory in searched.trajectories]
    assert summary.loc[("regret", 10**6), "mean"] == pytest.approx(np.mean(last))
    assert summary.loc[("regret", 10**6), "std"] == pytest.approx(np.std(last, ddof=1))


def test_the_optimum_is_that_of_the_means_whatever_is_searched(three_seeds):
    for seed in (0, 2):
        problem = on_test(three_seeds, "clean_acc", seed=seed)
        assert problem.optimum == problem.means.max() == pytest.approx(three_seeds.values(metric="clean_acc").max())


def test_searches_that_ended_early_keep_their_last_value(problem):
    searches = Repeats(
        tuple(run(problem, RandomSearch(default_rng(seed)), Budget(queries=count)) for seed, count in enumerate((3, 9)))
    )
    short, long = searches.trajectories
    best = searches.curves("best")
    assert best[0].tolist() == [*short.best.tolist(), *[short.best[-1]] * 6]
    assert best[1].tolist() == long.best.tolist()
    summary = searches.summary([1, 5]).set_index(["column", "query"]).loc["best"]
    for query, values in ((1, [short.best[0], long.best[0]]), (5, [short.best[-1], long.best[4]])):
        low, high = min(values), max(values)
        assert summary.loc[query, "mean"] == pytest.approx((low + high) / 2)
        assert summary.loc[query, "std"] == pytest.approx((high - low) / math.sqrt(2))
        deciles = summary.loc[query, ["low", "median", "high"]].astype(float).tolist()
        assert deciles == pytest.approx([low + share * (high - low) for share in (0.1, 0.5, 0.9)])


def test_of_equal_cells_the_first_is_the_incumbent(problem):
    worse, one, other = 10, *Cell.from_index(0).members[:2]
    searched = run(problem, Asker([worse, one, other, worse]), Budget(queries=4))
    assert searched.incumbents.tolist() == [worse, one, one, one]


def test_regret_in_hypervolume_reaches_zero_with_the_whole_table(digits):
    problem = on_test(digits, ("clean_acc", "pgd_acc"))
    searched = run(problem, Asker(np.unique(cells.representatives()).tolist()), Budget(queries=10**6))
    assert len(searched) == 6466
    assert searched.regret[-1] == pytest.approx(0, abs=1e-15)
    assert (np.diff(searched.regret) <= 1e-15).all()
    front = digits.pareto(metrics=("clean_acc", "pgd_acc"))
    assert set(searched.front.tolist()) == set(front["index"])
    assert problem.optimum == pytest.approx(hypervolume(front[["clean_acc", "pgd_acc"]]))
    assert "hypervolume" in searched.frame()


# ------------------------------------------------------------------ other packages, speed


def test_optuna_searches_the_table(problem, two_objectives, digits):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(optuna_objective(problem), n_trials=20)
    best = Cell.from_index(study.best_trial.user_attrs["cell"])
    assert study.best_value == digits.query(best, metric="pgd_acc", split="validation")
    assert tuple(study.best_params.values()) == best.operations
    assert study.best_trial.user_attrs["seconds"] == digits.values(metric="train_cpu_seconds")[best.index]
    study = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.NSGAIISampler(seed=0))
    study.optimize(optuna_objective(two_objectives), n_trials=5)
    assert len(study.best_trials[0].values) == 2


def test_the_objective_function_needs_no_optuna(problem):
    class Trial:
        def __init__(self):
            self.attributes = {}

        def suggest_categorical(self, name, choices):
            return choices[3 if name == "0->1" else 1]

        def set_user_attr(self, name, value):
            self.attributes[name] = value

    objective, trial = optuna_objective(problem, budget=Budget(queries=1)), Trial()
    assert objective(trial) == problem.values[trial.attributes["cell"], 0]
    assert Cell.from_index(trial.attributes["cell"]).operations == ("nor_conv_3x3", *["skip_connect"] * 5)
    with pytest.raises(BudgetSpentError):
        objective(trial)


@pytest.mark.parametrize(("method", "limit"), [(RandomSearch, 5.0), (RegularisedEvolution, 30.0)])
def test_a_thousand_searches_take_seconds(problem, method, limit):
    seconds = []
    for _ in range(3):  # a busy machine makes any time longer, never shorter
        start = time.process_time()
        repeat(problem, method, Budget(queries=150), repeats=100).frame()
        seconds.append(10 * (time.process_time() - start))
        if seconds[-1] < limit:
            break
    assert min(seconds) < limit
