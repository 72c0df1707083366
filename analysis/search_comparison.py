"""What search methods find in a table of adversarially trained cells, for how many queries.

Every method searches the published table many times, selecting by clean, FGSM and PGD accuracy; what it found is
judged by every accuracy of the table. Then the two questions that one number hides: how much of the trade-off between
clean and robust accuracy a search uncovers (hypervolume), and what it costs to select on validation images instead of
the test images that are reported, on digits, whose table has both. Run: ``python analysis/search_comparison.py``. It
writes a CSV in long form and a figure, and prints the tables and what follows from them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from search_comparison_report import draw, print_conclusion

import nasbench_robust as nbr
from nasbench_robust import search
from nasbench_robust.cli.command import guarded
from nasbench_robust.errors import InvalidValueError, MissingResultError

Floats = npt.NDArray[np.float64]
METHODS = {
    "random search": search.RandomSearch,
    "REINFORCE": search.Reinforce,
    "regularised evolution": search.RegularisedEvolution,
    "local search": partial(search.LocalSearch, initial=1, first_improvement=False),
    "local search, first improvement": search.LocalSearch,
    "predictor-guided": search.PredictorGuided,
}
NSGA2 = "NSGA-II, clean and PGD"
CRITERIA = ("clean_acc", "fgsm_acc", "pgd_acc")  # at the data set's default budget
COLUMNS = ["table", "dataset", "selected by", "split", "method", "queries", "judged by"]
STATISTICS = ["mean", "std", "low", "median", "high", "repeats"]
POINTS = 40  # of a curve


@dataclass(frozen=True)
class Effort:
    """How often every method searches, for how many queries, and from which seed."""

    repeats: int
    queries: tuple[int, ...]  # the budgets of the tables; a search runs for the largest
    seed: int

    @property
    def budget(self) -> search.Budget:
        """The budget of one search."""
        return search.Budget(queries=max(self.queries))

    @property
    def grid(self) -> npt.NDArray[np.int64]:
        """Numbers of queries at which curves are kept."""
        points = np.geomspace(1, max(self.queries), POINTS).round().astype(np.int64)
        return np.union1d(points, self.queries)


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

    @property
    def labels(self) -> tuple[str, str, str, str]:
        """The first columns of a row."""
        return self.bench.name, self.dataset, self.metric, self.split


Row = tuple[Any, ...]


# ------------------------------------------------------------------ searching


def compare(bench: nbr.Benchmark, dataset: str, effort: Effort) -> Iterator[Row]:
    """Yield the rows of all methods and criteria on one data set, selecting and judging on test images."""
    measured = bench.metrics().query("dataset == @dataset and split == 'test'")
    judges = measured["long_name"].tolist()
    both = search.TableProblem(bench, ("clean_acc", "pgd_acc"), dataset, split="test")
    front = search.repeat(both, search.NSGA2, effort.budget, repeats=effort.repeats, seed=effort.seed)
    yield from volumes(bench, dataset, NSGA2, front.trajectories, both, effort)
    for criterion in CRITERIA:
        place = Place(bench, dataset, criterion, "test")
        problem = place.problem
        found = {
            name: search.repeat(problem, make, effort.budget, repeats=effort.repeats, seed=effort.seed).trajectories
            for name, make in METHODS.items()
        }
        found[NSGA2] = tuple(seen_by(problem, trajectory.index) for trajectory in front.trajectories)
        for name, trajectories in found.items():
            yield from rows_of(place, name, trajectories, judges, effort)
            if criterion == "pgd_acc" and name != NSGA2:
                yield from volumes(bench, dataset, name, trajectories, both, effort)


def seen_by(problem: search.TableProblem, index: npt.NDArray[np.int64]) -> search.Trajectory:
    """Return the same queries as a search of another problem: what it would have selected among them."""
    return search.Trajectory(problem, index, problem.means[index])


def rows_of(
    place: Place, name: str, trajectories: Sequence[search.Trajectory], judges: Sequence[str], effort: Effort
) -> Iterator[Row]:
    """Yield the regret of one method along its curve, and what its incumbents are worth at the budgets."""
    regrets = np.array([trajectory.regret for trajectory in trajectories])
    for number in effort.grid.tolist():
        yield (*place.labels, name, number, "regret", *statistics(regrets[:, number - 1]))
    for number in effort.queries:
        at = number - 1
        yield (*place.labels, name, number, "best cell found", *statistics(regrets[:, at] < 1e-12))
        incumbents = np.array([trajectory.incumbents[at] for trajectory in trajectories])
        for judge in judges:
            yield (*place.labels, name, number, judge, *statistics(trajectories[0].problem.judge(judge)[incumbents]))


def volumes(
    bench: nbr.Benchmark,
    dataset: str,
    name: str,
    trajectories: Sequence[search.Trajectory],
    both: search.TableProblem,
    effort: Effort,
) -> Iterator[Row]:
    """Yield how much of the hypervolume of the table's front, clean against PGD, a method's queries miss."""
    selected = "clean_acc, pgd_acc" if name == NSGA2 else "pgd_acc"
    share = np.array([seen_by(both, trajectory.index).regret for trajectory in trajectories]) / both.optimum
    for number in effort.grid.tolist():
        row = statistics(share[:, number - 1])
        yield (bench.name, dataset, selected, "test", name, number, "hypervolume missed", *row)


def splits(bench: nbr.Benchmark, dataset: str, effort: Effort) -> Iterator[Row]:
    """Yield the PGD accuracy on test of what is selected on validation and on test images, along the curves."""
    judge = search.TableProblem(bench, "pgd_acc", dataset, split="test").columns[0]
    for split in ("validation", "test"):
        place = Place(bench, dataset, "pgd_acc", split)
        problem = place.problem
        for name, make in METHODS.items():
            found = search.repeat(problem, make, effort.budget, repeats=effort.repeats, seed=effort.seed)
            worth = found.curves(judge, [judge])
            promised = found.curves("best", [])
            for number in effort.grid.tolist():
                yield (*place.labels, name, number, judge, *statistics(worth[:, number - 1]))
            for number in effort.queries:
                yield (*place.labels, name, number, "what the search saw", *statistics(promised[:, number - 1]))


def statistics(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return mean, standard deviation, the 10th, 50th and 90th percentile, and the number of repeats."""
    column = np.asarray(values, np.float64)
    spread = float(column.std(ddof=1)) if len(column) > 1 else np.nan
    low, middle, high = np.quantile(column, [0.1, 0.5, 0.9]).tolist()
    return float(column.mean()), spread, low, middle, high, len(column)


def with_provenance(results: pd.DataFrame, benches: Sequence[nbr.Benchmark]) -> pd.DataFrame:
    """Add the version of each table and the largest number of seeds that a cell has in it."""
    versions = {bench.name: bench.version for bench in benches}
    seeds = {bench.name: int(bench.metrics()["seeds"].max()) for bench in benches}
    table = results["table"]
    results.insert(1, "version", table.map(versions))
    return results.assign(seeds=table.map(seeds))


# ------------------------------------------------------------------ the program


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, write, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--published", metavar="TABLE", default="nas-robbench-201", help="default: nas-robbench-201")
    parser.add_argument("--dataset", default="cifar10", help="of the published table (default: cifar10)")
    parser.add_argument("--digits", metavar="TABLE", help="table with a validation split (default: the package's own)")
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: analysis/results)")
    parser.add_argument("--repeats", type=int, default=200, help="searches per method and criterion (default: 200)")
    parser.add_argument("--queries", type=int, nargs="+", default=[150, 500], help="budgets (default: 150 500)")
    parser.add_argument("--seed", type=int, default=0, help="of the searches (default: 0)")
    args = parser.parse_args(arguments)
    return guarded("search_comparison.py", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    start = time.perf_counter()
    if min(args.queries) < 1:
        raise InvalidValueError("queries", args.queries, "positive budgets", "150 500")
    effort = Effort(args.repeats, tuple(sorted(set(args.queries))), args.seed)
    published = nbr.load(args.published)
    digits = nbr.load(args.digits) if args.digits is not None else nbr.load()
    dataset = search.TableProblem(published, "clean_acc", args.dataset, split="test").dataset  # its canonical name
    rows = list(compare(published, dataset, effort))
    try:
        rows += splits(digits, digits.datasets[0], effort)
    except MissingResultError as error:
        print(f"validation against test is left out: {error}\n")
    results = with_provenance(pd.DataFrame(rows, columns=COLUMNS + STATISTICS), (digits, published))
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "search_comparison.csv"
    results.to_csv(table, index=False, float_format="%.6g")
    written = [table, *draw(results, folder / "search_comparison")]
    print_conclusion(results, [published, digits], effort.queries)
    print(f"\nwrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
