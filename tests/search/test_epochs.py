"""Searches that stop trainings: what an epoch answers and costs, and that each method stops and goes on as it says."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict

import numpy as np
import pytest
from numpy.random import default_rng

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import BudgetSpentError, InvalidValueError, NasbenchRobustError
from nasbench_robust.search import (
    ASHA,
    EPOCH_SEARCHERS,
    Budget,
    CurveExtrapolation,
    Hyperband,
    RandomSearch,
    RegularisedEvolution,
    Repeats,
    Simulator,
    TableProblem,
    repeat,
    run,
)

METHODS = pytest.mark.parametrize("method", EPOCH_SEARCHERS.values(), ids=lambda method: method.name)


@pytest.fixture(scope="module")
def problem() -> TableProblem:
    return TableProblem(nbr.load(), "pgd_acc", fidelity="epoch")


# ------------------------------------------------------------------ answers and costs


def test_an_epoch_answers_what_the_curve_says(problem):
    bench = nbr.load()
    simulator = Simulator(problem, Budget(epochs=1000))
    for epoch in (1, 7, 20):
        expected = bench.curve(77)["pgd_acc"][epoch]
        assert simulator.query(Cell.from_index(77), epoch) == pytest.approx(expected, rel=1e-12)
    one = TableProblem(bench, "clean_acc", fidelity="epoch", seed=1)
    assert Simulator(one, Budget(epochs=9)).query(5, 9) == bench.curve(5, seed=1)["clean_acc"][9]


def test_a_training_goes_on_where_it_stopped_and_is_charged_for_the_rest(problem):
    simulator = Simulator(problem, Budget(epochs=46, seconds=1e9))
    spent = []
    for index, epoch in ((3, 2), (9930, 20), (3, 7), (3, 7), (9930, 1), (3, 15)):
        simulator.query(Cell.from_index(index), epoch)
        spent.append(simulator.epochs)
    assert spent == [2, 22, 27, 34, 35, 43]
    with pytest.raises(BudgetSpentError, match="costs 5 epochs and the budget has 3 epochs left"):
        simulator.query(Cell.from_index(3), 20)
    found = simulator.trajectory()
    assert found.epochs.tolist() == spent
    seconds = np.diff([0, *spent]) / 20 * problem.seconds[found.index]
    assert found.seconds.tolist() == pytest.approx(np.cumsum(seconds).tolist())
    assert simulator.seconds == pytest.approx(found.seconds[-1])


@pytest.mark.parametrize(
    ("epochs", "costs"),
    [
        ([20, *range(1, 21)], [20] + [1] * 20),  # the second training goes on, epoch by epoch, beside the first
        ([15, 5, 20, 20], [15, 5, 5, 15]),  # the farthest one goes on, then the other
        ([20, 1, 2], [20, 1, 1]),
        ([2, 2, 7, 7, 20], [2, 2, 5, 5, 13]),  # of equal ones, each in turn
    ],
)
def test_a_training_begun_anew_goes_on_too(problem, epochs, costs):
    simulator = Simulator(problem, Budget(epochs=sum(costs)))
    for epoch in epochs:
        simulator.query(57, epoch)
    assert simulator.spent
    assert np.diff(simulator.trajectory().epochs, prepend=0).tolist() == costs


@pytest.mark.parametrize("budget", [Budget(epochs=10**6), Budget(seconds=1e9)], ids=["epochs", "seconds"])
def test_random_questions_cost_what_a_ledger_of_all_trainings_says(problem, budget):
    rng, spread = default_rng(0), cells.representatives()
    members = [index for known in (57, 9930) for index in np.flatnonzero(spread == spread[known])[:2].tolist()]
    for most in (3, 20, 20):
        simulator, under_way, spent, seconds = Simulator(problem, budget), Counter(), [0], 0.0
        for index, epoch in zip(
            rng.choice(members, 300).tolist(), rng.integers(1, most + 1, 300).tolist(), strict=True
        ):
            before = next((e for e in range(epoch - 1, 0, -1) if under_way[spread[index], e]), 0)
            under_way[spread[index], before] -= 1
            under_way[spread[index], epoch] += 1
            simulator.query(index, epoch)
            spent.append(spent[-1] + epoch - before)
            seconds += (epoch - before) / 20 * problem.seconds[index]
            assert simulator.epochs == spent[-1]
        found = simulator.trajectory()
        assert found.epochs.tolist() == spent[1:]
        assert found.seconds[-1] == pytest.approx(seconds)
        assert simulator.seconds == (pytest.approx(seconds) if budget.seconds else 0)


def test_what_is_known_may_be_free(problem):
    simulator = Simulator(problem, Budget(epochs=20, charge_repeats=False))
    simulator.query(3, 10)
    assert simulator.query(3, 4) == problem.curve[3, 3]
    assert (simulator.epochs, len(simulator.trajectory())) == (10, 1)
    simulator.query(3, 20)
    assert simulator.spent


def test_what_is_affordable_is_what_a_query_would_not_refuse(problem):
    one = Cell.from_index(9930)
    for budget in (
        Budget(epochs=30),
        Budget(seconds=1.5 * problem.seconds[9930]),
        Budget(queries=2, charge_repeats=False),
    ):
        simulator, answers = Simulator(problem, budget), set()
        for epoch in (20, 10, 5, None, 15, 12, 20):
            answers.add(affords := simulator.affords(one, epoch))
            try:
                simulator.query(one, epoch)
            except BudgetSpentError:
                assert not affords
            else:
                assert affords
        assert answers == ({True} if not budget.charge_repeats else {True, False})
    simulator = Simulator(TableProblem(nbr.load(), "pgd_acc"), Budget(queries=1, charge_repeats=False))
    simulator.query(one)
    assert simulator.affords(one)
    assert not simulator.affords(Cell.from_index(3))
    with pytest.raises(InvalidValueError, match="epoch is 3, expected None"):
        simulator.affords(one, 3)


def test_members_of_a_class_share_their_training(problem):
    member = int(np.flatnonzero(cells.representatives() != np.arange(cells.SIZE))[0])
    simulator = Simulator(problem, Budget(epochs=20))
    simulator.query(member, 10)
    simulator.query(Cell.from_index(member).representative, 12)
    assert simulator.epochs == 12


def test_the_incumbent_is_the_best_of_those_trained_farthest(problem):
    simulator = Simulator(problem, Budget(epochs=100))
    good, bad = int(problem.curve[:, 9].argmax()), int(problem.curve[:, -1].argmin())
    for index, epoch in ((bad, 10), (good, 10), (bad, 20), (good, 20)):
        simulator.query(index, epoch)
    found = simulator.trajectory()
    assert found.incumbents.tolist() == [bad, good, bad, good]
    assert found.best.tolist() == found.values[:, 0].tolist()
    assert found.regret[-1] == pytest.approx(problem.optimum - problem.bench.query(good, metric="pgd_acc#validation"))


# ------------------------------------------------------------------ methods


@METHODS
def test_budgets_of_epochs_are_spent_and_not_exceeded(problem, method):
    found = run(problem, method.make(default_rng(0)), Budget(epochs=500))
    assert 480 < found.epochs[-1] <= 500
    frame = found.frame()
    assert frame["epochs"].tolist() == found.epochs.tolist()
    assert set(frame) >= {"epoch", "seconds", "regret", "pgd_acc@0.1"}


@METHODS
def test_series_are_reproducible_saved_and_loaded(problem, method, tmp_path):
    found = repeat(problem, method.make, Budget(epochs=150), repeats=3, seed=4)
    rng = default_rng([4, 2])
    assert found.trajectories[2] == run(problem, method.make(rng), Budget(epochs=150), rng=rng)
    assert repeat(problem, method.make, Budget(epochs=150), repeats=3, seed=4, n_jobs=2) == found
    found.save(tmp_path / "searches.parquet")
    assert Repeats.load(tmp_path / "searches.parquet") == found
    half = method.make(default_rng(1))
    for _ in range(30):
        cell, epoch = half.ask()
        half.tell(cell, float(problem.curve[cell.index, epoch - 1]))
    assert pickle.loads(pickle.dumps(half)).ask() == half.ask()


def test_hyperband_keeps_a_third_of_every_rung(problem):
    found = run(problem, Hyperband(default_rng(0)), Budget(queries=13 + 6 + 3))
    assert found.epoch.tolist() == [2] * 9 + [7] * 3 + [20] + [7] * 5 + [20] + [20] * 3
    first = found.index[:9]
    best = first[np.argsort(-problem.curve[first, 1], kind="stable")]
    assert found.index[9:12].tolist() == best[:3].tolist()
    seven = best[:3][np.argsort(-problem.curve[best[:3], 6], kind="stable")]
    assert found.index[12] == seven[0]


def test_asha_promotes_the_best_third_that_was_not(problem):
    search = ASHA(default_rng(0))
    rungs, told = defaultdict(list), Counter()
    for _ in range(200):
        cell, epoch = search.ask()
        if epoch > 2:
            below = rungs[{7: 2, 20: 7}[epoch]]
            value = next(value for value, known in below if known == cell)
            assert sum(other > value for other, _ in below) < len(below) // 3
            assert told[cell, epoch] < sum(known == cell for _, known in below)
        value = float(problem.curve[cell.index, epoch - 1])
        rungs[epoch].append((value, cell))
        told[cell, epoch] += 1
        search.tell(cell, value)
    for rung, above in ((2, 7), (7, 20)):  # whoever was among the best once went on, so it may be more than a third
        assert len(rungs[rung]) // 3 <= len(rungs[above]) <= len(rungs[rung]) // 2


def test_extrapolation_gives_up_what_is_hopeless_and_not_what_is_best(problem):
    found = run(problem, CurveExtrapolation(default_rng(0)), Budget(epochs=1500))
    starts = np.flatnonzero(found.epoch == 1)
    lengths = np.diff([*starts, len(found)])[:-1]  # of trainings that ended
    assert (lengths[:10] == 20).all()
    assert (lengths[10:] < 20).sum() > 20
    final = problem.curve[found.index[starts[:-1]], -1]
    given_up = lengths < 20
    so_far = np.maximum.accumulate(np.where(given_up, 0, final))
    assert (final <= so_far)[given_up].mean() >= 0.95
    patient = run(problem, CurveExtrapolation(default_rng(0), confidence=1.0), Budget(epochs=400))
    assert (np.diff(np.flatnonzero(patient.epoch == 1)) == 20).all()


def test_extrapolations_are_those_of_a_ridge_regression_left_out_in_turn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    from nasbench_robust.search.tabular.fidelities import _fit

    rng = default_rng(0)
    curves = rng.normal(size=(12, 4)).cumsum(axis=1)
    final = curves[:, -1] + 0.3 * rng.normal(size=12)
    weights, intercept, spread = _fit(curves, final, 1.0)
    middle, scale = curves.mean(axis=0), curves.std(axis=0)
    whole = linear_model.Ridge(alpha=1.0).fit((curves - middle) / scale, final)
    np.testing.assert_allclose(curves @ weights + intercept, whole.predict((curves - middle) / scale))
    errors = []
    for left in range(12):
        others = np.arange(12) != left
        fitted = linear_model.Ridge(alpha=1.0).fit(((curves - middle) / scale)[others], final[others])
        errors.append(final[left] - fitted.predict(((curves - middle) / scale)[[left]])[0])
    assert spread == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-6)


def test_methods_that_know_no_epochs_train_to_the_end(problem):
    for method in (RandomSearch, RegularisedEvolution):
        found = repeat(problem, method, Budget(epochs=200), repeats=2).trajectories[0]
        assert found.epochs.tolist() == list(range(20, 201, 20))
    assert set(run(problem, RandomSearch(default_rng(0)), Budget(queries=4)).epoch) == {20}


class Mine:
    """Somebody's own method: names cells as it likes, and stops by itself."""

    def __init__(self):
        self.left, self.told = iter([(9930, 3), (str(Cell.from_index(5)), 1), Cell.from_index(9930)]), []

    def ask(self):
        return next(self.left, None)

    def tell(self, cell, value):
        self.told.append((cell.index, value))


def test_a_method_of_ones_own_asks_for_epochs_where_it_likes(problem):
    mine = Mine()
    found = run(problem, mine, Budget(epochs=100))
    assert (found.epoch.tolist(), found.epochs.tolist()) == ([3, 1, 20], [3, 4, 21])
    assert mine.told == [(index, problem.curve[index, epoch - 1]) for index, epoch in ((9930, 3), (5, 1), (9930, 20))]


REFUSED = {
    "unknown fidelity 'epochs'; did you mean 'epoch'": lambda b: TableProblem(b, "pgd_acc", fidelity="epochs"),
    "metrics is 'autoattack_acc', expected": lambda b: TableProblem(
        b, "autoattack_acc", fidelity="epoch", split="test"
    ),
    "expected 'clean_acc' or 'pgd_acc', of which": lambda b: TableProblem(
        b, ("clean_acc", "pgd_acc"), fidelity="epoch"
    ),
    "at the eps of the training alone, not at 0.05": lambda b: TableProblem(b, "pgd_acc@0.05", fidelity="epoch"),
    "split is 'test', expected 'validation', on which": lambda b: TableProblem(
        b, "pgd_acc", fidelity="epoch", split="test"
    ),
    "seed is 'random', expected None": lambda b: TableProblem(b, "pgd_acc", fidelity="epoch", seed="random"),
    "epochs is 0, expected an integer of at least 1": lambda b: Budget(epochs=0),
    "or TableProblem(..., fidelity='epoch')": lambda b: run(
        TableProblem(b, "pgd_acc"), Hyperband(default_rng(0)), Budget(queries=5)
    ),
    "queries or seconds, or TableProblem": lambda b: Simulator(TableProblem(b, "pgd_acc"), Budget(epochs=5)),
    "epoch is 21, expected an integer from 1 to 20; did you mean 20": lambda b: Simulator(
        TableProblem(b, "pgd_acc", fidelity="epoch"), Budget(epochs=50)
    ).query(1, 21),
    "eta is 1, expected an integer of at least 2": lambda b: Hyperband(default_rng(0), eta=1),
    "least is 21, expected an integer from 1 to 20": lambda b: ASHA(default_rng(0), least=21),
    "confidence is 2": lambda b: CurveExtrapolation(default_rng(0), confidence=2),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_makes_no_sense_says_what_would(told):
    with pytest.raises(NasbenchRobustError) as caught:
        REFUSED[told](nbr.load())
    assert told in str(caught.value)


def test_a_trajectory_without_epochs_has_none():
    found = run(TableProblem(nbr.load(), "pgd_acc"), RandomSearch(default_rng(0)), Budget(queries=2))
    with pytest.raises(InvalidValueError, match="expected one that counts epochs"):
        _ = found.epochs
