"""Searching in a table: budgets are kept, answers are the table's, repeats are single runs."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from nasbench_robust import cells, load
from nasbench_robust.cells import Cell
from nasbench_robust.errors import BudgetSpentError, InvalidValueError, MissingResultError, UnknownNameError
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.search import (
    NSGA2,
    Budget,
    LocalSearch,
    PredictorGuided,
    RandomSearch,
    RegularisedEvolution,
    Reinforce,
    Simulator,
    TableProblem,
    hypervolume,
    non_dominated,
    optuna_objective,
    repeat,
    run,
)
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import Benchmark, DatasetInfo, ReleaseInfo, runs_table

METHODS = (RandomSearch, LocalSearch, RegularisedEvolution, Reinforce, PredictorGuided, NSGA2)


def seeded(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


@pytest.fixture(scope="module")
def digits() -> Benchmark:
    return load("digits")


@pytest.fixture(scope="module")
def problem(digits: Benchmark) -> TableProblem:
    return TableProblem(digits, "pgd_acc")


@pytest.fixture(scope="module")
def three_seeds() -> Benchmark:
    """A table of three seeds in which accuracy and seed can be told from each other: index / 20,000 + seed / 10."""
    metrics = (Metric("clean_acc"), Metric.of(pgd(0.1)))
    facts = DatasetInfo({"test": 10**6}, 0.1, Skeleton.for_dataset("digits"))
    info = ReleaseInfo("three", "0", "made up", "none", "@misc{none}", "a test", {"digits": facts}, metrics)
    rows = []
    for index in np.unique(cells.representatives()).tolist():
        for seed in range(1, 3) if index == 9 else range(3):  # cell 9 lacks seed 0
            value = round(index / 20_000 + seed / 10, 6)
            facts_of_run = {"dataset": "digits", "index": index, "seed": seed, "seeds": 1, "test_images": 10**6}
            rows.append({**facts_of_run, "clean_acc": value, "pgd_acc@0.1": round(value / 2, 6)})
    return Benchmark(runs_table(info, rows))


# ------------------------------------------------------------------ budgets


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("charge_repeats", [True, False])
def test_budgets_of_queries_are_spent_exactly(problem, method, charge_repeats):
    found = run(problem, method(seeded()), Budget(queries=67, charge_repeats=charge_repeats))
    assert len(found) == 67
    if not charge_repeats:
        assert len(set(cells.representatives()[found.index].tolist())) == 67


@pytest.mark.parametrize("method", METHODS)
def test_budgets_of_seconds_are_not_exceeded(problem, method):
    found = run(problem, method(seeded()), Budget(seconds=40.0))
    assert 40.0 - problem.seconds.max() < found.seconds[-1] <= 40.0
    index = found.index.tolist()
    assert found.seconds[-1] == pytest.approx(sum(problem.bench.train_seconds(cell) for cell in index))


def test_a_search_ends_where_either_limit_is_reached(problem):
    assert len(run(problem, RandomSearch(seeded()), Budget(queries=5, seconds=1e9))) == 5
    few = run(problem, RandomSearch(seeded()), Budget(queries=10**6, seconds=5.0))
    assert 1 <= len(few) < 20


def test_seconds_can_be_named_where_the_table_has_none(bench):
    problem = TableProblem(bench, "clean_acc", "cifar10", split="test")
    with pytest.raises(MissingResultError, match=r"records no training time on cifar10; say what a query costs"):
        run(problem, RandomSearch(seeded()), Budget(seconds=1000))
    assert "seconds" not in run(problem, RandomSearch(seeded()), Budget(queries=2)).frame()
    problem = TableProblem(bench, "clean_acc", "cifar10", split="test", seconds=6600)
    found = run(problem, RandomSearch(seeded()), Budget(seconds=10 * 6600))
    assert found.frame()["seconds"].tolist() == [6600.0 * number for number in range(1, 11)]


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
    class Stubborn:
        def ask(self):
            return 9

        def tell(self, cell, value):
            pass

    assert len(run(problem, Stubborn(), Budget(queries=5, charge_repeats=False))) == 1
    assert len(run(problem, Stubborn(), Budget(queries=5))) == 5


# ------------------------------------------------------------------ answers


def test_answers_are_those_of_the_table(digits):
    for metrics, split in (("pgd_acc", "validation"), (("clean_acc", "pgd_acc@0.05"), "test")):
        found = run(TableProblem(digits, metrics, split=split), RandomSearch(seeded()), Budget(queries=30))
        for column, name in zip(found.values.T, [metrics] if isinstance(metrics, str) else metrics, strict=True):
            assert column.tolist() == digits.query_many(found.index, metric=name, split=split).tolist()


def test_single_runs_are_drawn_anew_and_together(three_seeds):
    problem = TableProblem(three_seeds, ("clean_acc", "pgd_acc"), split="test", seed="random")
    simulator = Simulator(problem, Budget(queries=400), rng=seeded())
    drawn = [simulator.query(Cell.from_index(10)) for _ in range(300)]
    counts = [drawn.count((pytest.approx(0.0005 + seed / 10), pytest.approx(0.00025 + seed / 20))) for seed in range(3)]
    assert sum(counts) == 300
    assert min(counts) > 70
    assert {round(simulator.query(Cell.from_index(9))[0], 5) for _ in range(50)} == {0.10045, 0.20045}
    # Judged by means: regret does not profit from a lucky run.
    noisy = TableProblem(three_seeds, "clean_acc", split="test", seed="random")
    found = run(noisy, RandomSearch(seeded()), Budget(queries=200), rng=seeded(1))
    means = three_seeds.query_many(found.incumbents, metric="clean_acc")
    assert (found.regret >= 0).all()
    np.testing.assert_allclose(found.regret, noisy.means.max() - means)
    assert not np.allclose(found.best, means)


def test_one_seed_or_the_mean(three_seeds):
    for seed, expected in ((None, 0.1005), (2, 0.2005)):
        problem = TableProblem(three_seeds, "clean_acc", split="test", seed=seed)
        assert Simulator(problem, Budget(queries=1)).query(Cell.from_index(10)) == pytest.approx(expected)
    partial = Simulator(TableProblem(three_seeds, "clean_acc", split="test", seed=0), Budget(queries=1))
    with pytest.raises(MissingResultError, match="for seed 0 of cell 9"):
        partial.query(Cell.from_index(9))
    assert partial.queries == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda b: TableProblem(b, "clean_acc", "cifar10"), MissingResultError, "no held-out split: split='test'"),
        (lambda b: TableProblem(b, "pgd", "cifar10", split="test"), UnknownNameError, "did you mean 'pgd_acc'"),
        (lambda b: TableProblem(b, (), "cifar10", split="test"), InvalidValueError, "metrics is"),
        (
            lambda b: TableProblem(b, ("pgd_acc", "pgd_acc@8/255"), "cifar10", split="test"),
            InvalidValueError,
            "several different ones",
        ),
        (
            lambda b: TableProblem(b, "clean_acc", "cifar10", split="test", seed="random"),
            MissingResultError,
            "gives no single seeds for clean_acc on cifar10; seed=None",
        ),
        (
            lambda b: TableProblem(b, "clean_acc", "cifar10", split="test", seed="rnd"),
            InvalidValueError,
            "did you mean 'random'",
        ),
        (lambda b: Budget(), InvalidValueError, r"did you mean Budget\(queries=150\)"),
        (lambda b: Budget(queries=0), InvalidValueError, "queries is 0, expected a positive integer"),
        (lambda b: Budget(seconds=-1), InvalidValueError, "seconds is -1"),
        (lambda b: RandomSearch(0), InvalidValueError, r"numpy.random.default_rng\(seed\)"),
        (lambda b: LocalSearch(seeded(), initial=0), InvalidValueError, "initial is 0"),
        (lambda b: Reinforce(seeded(), momentum=1), InvalidValueError, "momentum is 1"),
        (lambda b: NSGA2(seeded(), mutation=2), InvalidValueError, "mutation is 2"),
        (lambda b: PredictorGuided(seeded(), ridge=0), InvalidValueError, "ridge is 0"),
        (lambda b: repeat(None, RandomSearch, Budget(queries=1), repeats=0), InvalidValueError, "repeats is 0"),
        (lambda b: hypervolume([[1, 1, 1, 1, 1]]), InvalidValueError, "at most 4 for a hypervolume"),
        (lambda b: hypervolume([[1, 1]], [0]), InvalidValueError, "2 finite numbers"),
        (lambda b: non_dominated([1, 2]), InvalidValueError, r"the shape is \(2,\)"),
        (lambda b: non_dominated([[math.nan]]), InvalidValueError, "finite numbers"),
    ],
)
def test_what_cannot_be_searched_is_refused(bench, make, error, message):
    with pytest.raises(error, match=message):
        make(bench)


def test_errors_of_running(problem, digits, three_seeds):
    both = TableProblem(digits, ("clean_acc", "pgd_acc"))
    with pytest.raises(InvalidValueError, match=r"RegularisedEvolution.*2 objectives.*did you mean NSGA2"):
        run(both, RegularisedEvolution(seeded()), Budget(queries=1))
    noisy = TableProblem(three_seeds, "clean_acc", split="test", seed="random")
    with pytest.raises(InvalidValueError, match="rng is None"):
        run(noisy, RandomSearch(seeded()), Budget(queries=1))
    found = run(both, RandomSearch(seeded()), Budget(queries=3))
    for question in (lambda: found.best, lambda: found.incumbents, lambda: found.judged("clean_acc")):
        with pytest.raises(InvalidValueError, match="of several there is a front"):
            question()
    with pytest.raises(UnknownNameError, match="did you mean 'regret'"):
        repeat(problem, RandomSearch, Budget(queries=2), repeats=2).curves("regrets")
    with pytest.raises(InvalidValueError, match="positive numbers of queries"):
        repeat(problem, RandomSearch, Budget(queries=2), repeats=2).summary([0])


# ------------------------------------------------------------------ repeats and trajectories


@pytest.mark.parametrize("method", METHODS)
def test_repeats_are_single_runs_bit_for_bit(problem, method):
    found = repeat(problem, method, Budget(queries=45), repeats=3, seed=7)
    for number, trajectory in enumerate(found.trajectories):
        rng = np.random.default_rng([7, number])
        again = run(problem, method(rng), Budget(queries=45), rng=rng)
        assert again.index.tolist() == trajectory.index.tolist()
        assert again.values.tolist() == trajectory.values.tolist()
    assert len({tuple(trajectory.index.tolist()) for trajectory in found.trajectories}) == 3


def test_trajectories_say_what_was_found(problem, digits):
    found = run(problem, RandomSearch(seeded(3)), Budget(queries=40))
    frame = found.frame(["pgd_acc", "clean_acc#validation"])
    values = digits.query_many(frame["index"].to_numpy(), metric="pgd_acc", split="validation")
    best = 0.0
    for row, value in zip(frame.itertuples(), values.tolist(), strict=True):
        if value > best:
            best, incumbent = value, row.index
        assert (row.value, row.best, row.incumbent) == (value, best, incumbent)
    assert frame["query"].tolist() == list(range(1, 41))
    assert frame["regret"].iloc[-1] == pytest.approx(problem.values.max() - best)
    assert frame["pgd_acc"].tolist() == digits.query_many(frame["incumbent"].to_numpy(), metric="pgd_acc").tolist()
    assert list(found.frame().columns)[-1] == "pgd_acc@0.1"


def test_joined_tables_and_summaries(problem):
    found = repeat(problem, RandomSearch, Budget(seconds=15.0), repeats=5)
    frame = found.frame()
    assert frame.groupby("repeat").size().tolist() == [len(trajectory) for trajectory in found.trajectories]
    curves = found.curves("regret")
    assert curves.shape == (5, max(map(len, found.trajectories)))
    assert (np.diff(curves, axis=1) <= 0).all()
    summary = found.summary([1, 10**6]).set_index(["column", "query"])
    last = [trajectory.regret[-1] for trajectory in found.trajectories]
    assert summary.loc[("regret", 10**6), "mean"] == pytest.approx(np.mean(last))
    assert summary.loc[("regret", 10**6), "std"] == pytest.approx(np.std(last, ddof=1))


def test_regret_in_hypervolume_reaches_zero_with_the_whole_table(digits):
    problem = TableProblem(digits, ("clean_acc", "pgd_acc"), split="test")

    class Everything:
        def __init__(self):
            self.left = iter(np.unique(cells.representatives()).tolist())

        def ask(self):
            return next(self.left, None)

        def tell(self, cell, value):
            pass

    found = run(problem, Everything(), Budget(queries=10**6))
    assert len(found) == 6466
    assert found.regret[-1] == pytest.approx(0, abs=1e-15)
    assert (np.diff(found.regret) <= 1e-15).all()
    front = digits.pareto(metrics=("clean_acc", "pgd_acc"))
    assert set(found.front.tolist()) == set(front["index"])
    assert problem.optimum == pytest.approx(hypervolume(front[["clean_acc", "pgd_acc@0.1"]]))
    assert "hypervolume" in found.frame()


# ------------------------------------------------------------------ other packages, speed


def test_optuna_searches_the_table(problem, digits):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(optuna_objective(problem), n_trials=20)
    best = Cell.from_index(study.best_trial.user_attrs["cell"])
    assert study.best_value == digits.query(best, metric="pgd_acc", split="validation")
    assert tuple(study.best_params.values()) == best.operations
    assert study.best_trial.user_attrs["seconds"] == digits.train_seconds(best)
    both = optuna.create_study(directions=["maximize"] * 2, sampler=optuna.samplers.NSGAIISampler(seed=0))
    both.optimize(optuna_objective(TableProblem(digits, ("clean_acc", "pgd_acc"))), n_trials=5)
    assert len(both.best_trials[0].values) == 2


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
