"""Saved searches of one problem side by side, beside the methods of this package at the same budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import InvalidValueError, UnknownNameError
from .catalogue import SEARCHERS
from .problems import Budget, TableProblem
from .simulation import repeat
from .trajectories import Repeats

if TYPE_CHECKING:
    import pandas as pd

BASELINES = ("random search", "regularised evolution", "local search")
FRONTS = ("NSGA-II",)  # where there are several objectives
REPEATS = 100  # of a baseline where there are fewer of what it is compared with
SEED = 0


def with_baselines(searches: Mapping[str, Repeats], names: Sequence[str] | None = None) -> dict[str, Repeats]:
    """Return searches and, behind them, methods of this package on the same problem for as many queries.

    Parameters
    ----------
    searches : mapping of str to Repeats
        By the name of the method.
    names : sequence of str, optional
        Of `SEARCHERS`; by default `BASELINES`, and for several objectives `FRONTS`. One that a search is already called
        after is left out.

    Raises
    ------
    InvalidValueError
        If the searches are not of one problem.
    UnknownNameError
        If there is no such method.
    """
    problem = problem_of(searches)
    names = (BASELINES if problem.objectives == 1 else FRONTS) if names is None else names
    for name in names:
        if name not in SEARCHERS:
            raise UnknownNameError("search method", name, tuple(SEARCHERS))
    budget, number = Budget(queries=most_queries(searches)), max(REPEATS, *map(len, searches.values()))
    new = [name for name in names if name not in searches]
    return {**searches} | {
        name: repeat(problem, SEARCHERS[name].make, budget, repeats=number, seed=SEED) for name in new
    }


def comparison(searches: Mapping[str, Repeats]) -> pd.DataFrame:
    """Return what methods found in the end, by the least mean regret first.

    Parameters
    ----------
    searches : mapping of str to Repeats
        By the name of the method, all of one problem.

    Returns
    -------
    pandas.DataFrame
        A row per method: ``method, repeats, queries``; ``regret`` and its standard deviation over repeats ``sd``; the
        share of repeats that found the best cell, ``found``; and for one objective the mean accuracy of the cell found
        by each of the problem's judges, on test images.

    Raises
    ------
    InvalidValueError
        If the searches are not of one problem.
    """
    import numpy as np
    import pandas as pd

    problem_of(searches)
    rows = []
    for name, repeats in searches.items():
        ends = [{column: values[-1] for column, values in each._columns(None).items()} for each in repeats.trajectories]
        regret = np.array([end["regret"] for end in ends])
        row = {"method": name, "repeats": len(repeats), "queries": max(map(len, repeats.trajectories))}
        row |= {"regret": regret.mean(), "sd": regret.std(ddof=1) if len(regret) > 1 else np.nan}
        row["found"] = (regret < 1e-12).mean()
        judges = repeats.trajectories[0].problem.judges if repeats.trajectories[0].problem.objectives == 1 else ()
        rows.append(row | {judge: np.mean([end[judge] for end in ends]) for judge in judges})
    return pd.DataFrame(rows).sort_values("regret", kind="stable", ignore_index=True)


def problem_of(searches: Mapping[str, Repeats]) -> TableProblem:
    """Return the problem that all searches are of."""
    if not searches:
        raise InvalidValueError("searches", {}, "searches by the name of their method")
    problems = {name: repeats.trajectories[0].problem for name, repeats in searches.items()}
    (first, problem), *others = problems.items()
    if problem.fidelity is not None:
        expected = (
            "searches of whole trainings: those that stop some spend epochs, not queries (`Trajectory.frame` has both)"
        )
        raise InvalidValueError("searches", f"{first}: {_words(problem)}", expected)
    for name, other in others:
        if (other.bench.name, other.settings()) != (problem.bench.name, problem.settings()):
            raise InvalidValueError(
                "searches", f"{name}: {_words(other)}", f"searches of the problem of {first}: {_words(problem)}"
            )
    return problem


def _words(problem: TableProblem) -> str:
    """Return what a problem is: ``digits: metrics pgd_acc@0.1#validation, dataset digits, split validation``."""
    told = {name: ", ".join(value) if name == "metrics" else value for name, value in problem.settings().items()}
    return f"{problem.bench.name}: {', '.join(f'{name} {value}' for name, value in told.items() if value is not None)}"


def most_queries(searches: Mapping[str, Repeats]) -> int:
    """Return how many queries the longest search made."""
    return max(len(trajectory) for repeats in searches.values() for trajectory in repeats.trajectories)
