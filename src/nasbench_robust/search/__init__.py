"""Search methods, and tables to try them on.

`TableProblem` makes a search problem of a table, `Budget` says what may be spent, `run` and `repeat` search, and
`Trajectory` and `Repeats` say what was found. A search method is any object with ``ask`` and ``tell``.
"""

from .adapters import optuna_objective
from .evolution import LocalSearch, RandomSearch, RegularisedEvolution
from .nsga2 import NSGA2
from .pareto import crowding_distance, hypervolume, non_dominated, non_dominated_ranks, running_hypervolume
from .predictor import PredictorGuided
from .problems import Budget, TableProblem
from .reinforce import Reinforce
from .simulation import Searcher, Simulator, repeat, run
from .trajectories import Repeats, Trajectory

__all__ = [
    "NSGA2",
    "Budget",
    "LocalSearch",
    "PredictorGuided",
    "RandomSearch",
    "RegularisedEvolution",
    "Reinforce",
    "Repeats",
    "Searcher",
    "Simulator",
    "TableProblem",
    "Trajectory",
    "crowding_distance",
    "hypervolume",
    "non_dominated",
    "non_dominated_ranks",
    "optuna_objective",
    "repeat",
    "run",
    "running_hypervolume",
]
