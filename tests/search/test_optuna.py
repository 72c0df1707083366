"""The objective function for Optuna: only for studies that maximise, and a study ends with its budget."""

from __future__ import annotations

import pytest

import nasbench_robust as nbr
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.search import Budget, TableProblem, optuna_objective

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)
DONE, PRUNED = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


@pytest.fixture(scope="module")
def one() -> TableProblem:
    return TableProblem(nbr.load(), "pgd_acc")


@pytest.fixture(scope="module")
def two() -> TableProblem:
    return TableProblem(nbr.load(), ("clean_acc", "pgd_acc"))


def study_of(*directions: str) -> optuna.Study:
    return optuna.create_study(directions=directions, sampler=optuna.samplers.RandomSampler(seed=0))


@pytest.mark.parametrize(
    ("problem", "directions", "hint"),
    [
        ("one", ("minimize",), "direction='maximize'"),
        ("one", ("maximize", "maximize"), "direction='maximize'"),
        ("two", ("maximize",), r"directions=\['maximize', 'maximize'\]"),
        ("two", ("maximize", "minimize"), r"directions=\['maximize', 'maximize'\]"),
        ("two", ("minimize", "minimize"), r"directions=\['maximize', 'maximize'\]"),
    ],
)
def test_a_study_that_would_look_for_the_worst_cell_is_refused(request, problem, directions, hint):
    study = study_of(*directions)
    with pytest.raises(InvalidValueError, match=rf"directions of the study is .*create_study\({hint}\)"):
        study.optimize(optuna_objective(request.getfixturevalue(problem)), n_trials=5)
    assert len(study.trials) == 1


@pytest.mark.parametrize("problem", ["one", "two"])
def test_a_study_stops_when_its_queries_are_spent(request, problem):
    problem = request.getfixturevalue(problem)
    study = study_of(*["maximize"] * problem.objectives)
    study.optimize(optuna_objective(problem, budget=Budget(queries=7)), n_trials=50)
    assert [trial.state for trial in study.trials] == [DONE] * 7


@pytest.mark.parametrize("problem", ["one", "two"])
def test_a_study_stops_at_the_first_trial_that_its_seconds_do_not_pay_for(request, problem):
    problem = request.getfixturevalue(problem)
    study = study_of(*["maximize"] * problem.objectives)
    study.optimize(optuna_objective(problem, budget=Budget(seconds=20)), n_trials=500)
    *done, last = study.trials
    assert {trial.state for trial in done} == {DONE}
    assert last.state == PRUNED
    assert 0 < sum(trial.user_attrs["seconds"] for trial in done) <= 20


def test_a_study_that_is_asked_and_told_by_hand_is_not_stopped_and_not_in_the_way(one):
    study, objective = study_of("maximize"), optuna_objective(one, budget=Budget(queries=2))
    for _ in range(2):
        trial = study.ask()
        study.tell(trial, objective(trial))
    assert study.best_value == max(trial.value for trial in study.trials)
    with pytest.raises(optuna.TrialPruned, match="the query costs 1 query"):
        objective(study.ask())


def test_a_fixed_trial_belongs_to_no_study(one):
    names = ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
    trial = optuna.trial.FixedTrial(dict.fromkeys(names, "nor_conv_3x3"))
    assert optuna_objective(one)(trial) == nbr.load().query(1462, metric="pgd_acc", split="validation")
