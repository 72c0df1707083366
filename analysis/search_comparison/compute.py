"""Many searches of a table by every method, and what they found, judged by every accuracy of the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import search

METHODS = {name: method.make for name, method in search.SEARCHERS.items() if name != "NSGA-II"}
NSGA2 = "NSGA-II, clean and PGD"
CRITERIA = ("clean_acc", "fgsm_acc", "pgd_acc")  # at the data set's default budget
COLUMNS = ["table", "dataset", "selected by", "split", "method", "queries", "judged by"]
STATISTICS = ["mean", "std", "low", "median", "high", "repeats"]
POINTS = 40  # of a curve
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Effort:
    """How often every method searches, for how many queries, and from which seed."""

    repeats: int
    queries: tuple[int, ...]  # the budgets of the tables; a search runs for the largest
    seed: int

    @property
    def grid(self) -> list[int]:
        """Numbers of queries at which curves are kept."""
        points = np.geomspace(1, max(self.queries), POINTS).round().astype(np.int64)
        return np.union1d(points, self.queries).tolist()

    def searches(self, problem: search.TableProblem, make: Any) -> search.Repeats:
        """Search so often for the largest budget."""
        budget = search.Budget(queries=max(self.queries))
        return search.repeat(problem, make, budget, repeats=self.repeats, seed=self.seed)


@dataclass(frozen=True)
class Place:
    """Which table, and what a search in it selects by."""

    bench: nbr.Benchmark
    dataset: str
    metric: str
    split: str

    @property
    def problem(self) -> search.TableProblem:
        """The search problem."""
        return search.TableProblem(self.bench, self.metric, self.dataset, split=self.split)

    def row(self, method: str, queries: int, judged_by: str, values: npt.NDArray[Any]) -> Row:
        """Return a row: where it is, and what the repeats of a search gave."""
        place = (self.bench.name, self.dataset, self.metric, self.split, method, queries, judged_by)
        return *place, *statistics(values)


def compare(bench: nbr.Benchmark, dataset: str, effort: Effort) -> Iterator[Row]:
    """Yield the rows of all methods and criteria on one data set, selecting and judging on test images."""
    dataset = search.TableProblem(bench, "clean_acc", dataset, split="test").dataset  # its canonical name
    measured = bench.metrics().query("dataset == @dataset and split == 'test'")
    judges = measured["long_name"].tolist()
    both = search.TableProblem(bench, ("clean_acc", "pgd_acc"), dataset, split="test")
    front = effort.searches(both, search.NSGA2).trajectories
    yield from volumes(Place(bench, dataset, "clean_acc, pgd_acc", "test"), NSGA2, front, both, effort)
    for criterion in CRITERIA:
        place = Place(bench, dataset, criterion, "test")
        problem = place.problem
        searches = {name: effort.searches(problem, make).trajectories for name, make in METHODS.items()}
        for name, trajectories in searches.items():
            yield from regrets(place, name, trajectories, judges, effort)
            if criterion == "pgd_acc":
                yield from volumes(place, name, trajectories, both, effort)
        yield from regrets(place, NSGA2, [seen_by(problem, each.index) for each in front], judges, effort)


def seen_by(problem: search.TableProblem, index: npt.NDArray[np.int64]) -> search.Trajectory:
    """Return the same queries as a search of another problem: what it would have selected among them."""
    return search.Trajectory(problem, index, problem.means[index])


def regrets(
    place: Place, name: str, trajectories: Sequence[search.Trajectory], judges: Sequence[str], effort: Effort
) -> Iterator[Row]:
    """Yield the regret of one method along its curve, and what its incumbents are worth at the budgets."""
    regret = np.array([trajectory.regret for trajectory in trajectories])
    for number in effort.grid:
        yield place.row(name, number, "regret", regret[:, number - 1])
    for number in effort.queries:
        yield place.row(name, number, "best cell found", regret[:, number - 1] < 1e-12)
        incumbents = np.array([trajectory.incumbents[number - 1] for trajectory in trajectories])
        for judge in judges:
            yield place.row(name, number, judge, trajectories[0].problem.judge(judge)[incumbents])


def volumes(
    place: Place, name: str, trajectories: Sequence[search.Trajectory], both: search.TableProblem, effort: Effort
) -> Iterator[Row]:
    """Yield how much of the hypervolume of the table's front, clean against PGD, a method's queries miss."""
    missed = np.array([seen_by(both, trajectory.index).regret for trajectory in trajectories]) / both.optimum
    for number in effort.grid:
        yield place.row(name, number, "hypervolume missed", missed[:, number - 1])


def splits(bench: nbr.Benchmark, effort: Effort) -> Iterator[Row]:
    """Yield the PGD accuracy on test of what is selected on validation and on test images, along the curves."""
    dataset = bench.datasets[0]
    judge = search.TableProblem(bench, "pgd_acc", dataset, split="test").columns[0]
    for split in ("validation", "test"):
        place = Place(bench, dataset, "pgd_acc", split)
        problem = place.problem
        for name, make in METHODS.items():
            searches = effort.searches(problem, make)
            worth, promised = searches.curves(judge, [judge]), searches.curves("best", [])
            for number in effort.grid:
                yield place.row(name, number, judge, worth[:, number - 1])
            for number in effort.queries:
                yield place.row(name, number, "what the search saw", promised[:, number - 1])


def statistics(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return mean, standard deviation, the 10th, 50th and 90th percentile, and the number of repeats."""
    column = np.asarray(values, np.float64)
    spread = float(column.std(ddof=1)) if len(column) > 1 else np.nan
    low, middle, high = np.quantile(column, [0.1, 0.5, 0.9]).tolist()
    return float(column.mean()), spread, low, middle, high, len(column)


def as_table(rows: Sequence[Row], benches: Sequence[nbr.Benchmark]) -> pd.DataFrame:
    """Return rows with the version of each table and the largest number of seeds that a cell has in it."""
    results = pd.DataFrame(rows, columns=COLUMNS + STATISTICS)
    names = results["table"]
    results.insert(1, "version", names.map({bench.name: bench.info.version for bench in benches}))
    return results.assign(seeds=names.map({bench.name: int(bench.metrics()["seeds"].max()) for bench in benches}))
