"""The methods of this package by name: comparisons go through the table, and a new method is a file and a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .evolution import LocalSearch, RandomSearch, RegularisedEvolution
from .fidelities import ASHA, CurveExtrapolation, Hyperband
from .nsga2 import NSGA2
from .predictor import PredictorGuided
from .reinforce import Reinforce
from .simulation import Searcher


@dataclass(frozen=True)
class SearchMethod:
    """A search method on a table, with its settings.

    Attributes
    ----------
    name, summary, source : str
    kind : callable
        Its class: takes a generator, then settings by name.
    settings : dict of str
        Those that are not the defaults of the class.
    """

    name: str
    kind: Callable[..., Searcher]
    summary: str
    source: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def several(self) -> bool:
        """Whether it takes several objectives."""
        return bool(getattr(self.kind, "several", True))

    @property
    def make(self) -> Callable[[np.random.Generator], Searcher]:
        """What `repeat` calls for each of its searches: takes a generator, and returns a fresh search."""
        return partial(self.kind, **self.settings) if self.settings else self.kind


_LOCAL = "White, Nolen and Savani, UAI 2021"
_ALL = (
    SearchMethod("random search", RandomSearch, "uniform draws with replacement", "Li and Talwalkar, UAI 2019"),
    SearchMethod("REINFORCE", Reinforce, "a policy over operations, moved along its gradient", "Williams, 1992"),
    SearchMethod("regularised evolution", RegularisedEvolution, "mutants; the oldest dies", "Real et al., AAAI 2019"),
    SearchMethod(
        "local search", LocalSearch, "to the best neighbour", _LOCAL, {"initial": 1, "first_improvement": False}
    ),
    SearchMethod("local search, first improvement", LocalSearch, "to the first better neighbour", _LOCAL),
    SearchMethod("predictor-guided", PredictorGuided, "the best mutants by regressors", "White et al., AAAI 2021"),
    SearchMethod("NSGA-II", NSGA2, "evolution towards the front of several objectives", "Deb et al., 2002"),
)
SEARCHERS: dict[str, SearchMethod] = {method.name: method for method in _ALL}
_BY_EPOCH = (
    SearchMethod("Hyperband", Hyperband, "successive halving in brackets", "Li et al., JMLR 2018"),
    SearchMethod("ASHA", ASHA, "successive halving without waiting", "Li et al., MLSys 2020"),
    SearchMethod("curve extrapolation", CurveExtrapolation, "hopeless trainings are given up", "Baker et al., 2017"),
)
# Those that ask for epochs: on a problem with ``fidelity="epoch"``, where all others train every cell to the end.
EPOCH_SEARCHERS: dict[str, SearchMethod] = {method.name: method for method in _BY_EPOCH}
