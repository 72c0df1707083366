"""A search problem for optimisers of other packages. None of them is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...cells import EDGES, OPERATIONS, Cell
from .problems import Budget, TableProblem
from .simulation import Simulator


def optuna_objective(
    problem: TableProblem, *, budget: Budget | None = None, rng: np.random.Generator | None = None
) -> Callable[[Any], Any]:
    """Return an objective function for ``optuna.study.Study.optimize``; a study has to maximise.

    A trial suggests six categorical parameters, ``"0->1"`` to ``"2->3"``, whose choices are the operations. The cell's
    index is kept as the user attribute ``cell`` of the trial, its cost, where known, as ``seconds``.

    Parameters
    ----------
    problem : TableProblem
        What is searched; several objectives need a study with as many directions.
    budget : Budget, optional
        What may be spent. Without one, ``n_trials`` of the study is the only limit.
    rng : numpy.random.Generator, optional
        As in `Simulator`.

    Returns
    -------
    callable
        Takes a trial; returns a float, or a tuple of floats for several objectives. Raises `BudgetSpentError` for a
        trial that does not fit into the budget.

    Examples
    --------
    >>> study = optuna.create_study(direction="maximize")  # doctest: +SKIP
    >>> study.optimize(optuna_objective(problem), n_trials=150)  # doctest: +SKIP
    """
    simulator = Simulator(problem, budget or Budget(queries=np.iinfo(np.int64).max), rng=rng)
    names = [f"{source}->{target}" for source, target in EDGES]

    def objective(trial: Any) -> Any:
        cell = Cell([trial.suggest_categorical(name, OPERATIONS) for name in names])
        value = simulator.query(cell)
        trial.set_user_attr("cell", cell.index)
        if problem.has_seconds:
            trial.set_user_attr("seconds", float(problem.seconds[cell.index]))
        return value

    return objective
