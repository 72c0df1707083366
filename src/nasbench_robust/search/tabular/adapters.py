"""A search problem for optimisers of other packages. None of them is imported before its own objects come in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from ...cells import OPERATIONS, Cell
from ...errors import BudgetSpentError, InvalidValueError
from .problems import Budget, TableProblem
from .simulation import Simulator
from .spaces import PARAMETERS


def optuna_objective(
    problem: TableProblem, *, budget: Budget | None = None, rng: np.random.Generator | None = None
) -> Callable[[Any], Any]:
    """Return an objective function for ``optuna.study.Study.optimize``; a study that minimises is refused.

    A trial suggests six categorical parameters, ``"0->1"`` to ``"2->3"``, whose choices are the operations. The cell's
    index is kept as the user attribute ``cell`` of the trial, its cost, where known, as ``seconds``.

    Parameters
    ----------
    problem : TableProblem
        What is searched; several objectives need a study with as many directions.
    budget : Budget, optional
        What may be spent: the study is stopped then, and a trial that does not fit is pruned. Without one,
        ``n_trials`` of the study is the only limit.
    rng : numpy.random.Generator, optional
        As in `Simulator`.

    Returns
    -------
    callable
        Takes a trial; returns a float, or a tuple of floats for several objectives. Several threads (``n_jobs``) may
        call it. Raises `InvalidValueError` if the study has other directions than one ``"maximize"`` an objective.

    Examples
    --------
    >>> study = optuna.create_study(direction="maximize")  # doctest: +SKIP
    >>> study.optimize(optuna_objective(problem), n_trials=150)  # doctest: +SKIP
    """
    simulator = Simulator(problem, budget if budget is not None else Budget(queries=np.iinfo(np.int64).max), rng=rng)

    def objective(trial: Any) -> Any:
        study = getattr(trial, "study", None)  # a fixed trial belongs to none
        if study is not None:
            _check_directions(study, problem)
        cell = Cell([trial.suggest_categorical(name, OPERATIONS) for name in PARAMETERS])
        try:
            value = simulator.query(cell)
        except BudgetSpentError as error:
            if study is None:
                raise
            from optuna import TrialPruned

            _stop(study)
            raise TrialPruned(str(error)) from None
        if simulator.spent and study is not None:
            _stop(study)
        trial.set_user_attr("cell", cell.index)
        if problem.has_seconds:
            trial.set_user_attr("seconds", float(problem.seconds[cell.index]))
        return value

    return objective


def _check_directions(study: Any, problem: TableProblem) -> None:
    directions = [direction.name.lower() for direction in study.directions]
    expected = ["maximize"] * problem.objectives
    if directions != expected:
        right = "direction='maximize'" if problem.objectives == 1 else f"directions={expected}"
        raise InvalidValueError("directions of the study", directions, f"optuna.create_study({right})")


def _stop(study: Any) -> None:
    with suppress(RuntimeError):  # a study that is asked and told by hand has nothing to stop
        study.stop()
