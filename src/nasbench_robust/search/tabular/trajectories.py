"""What a search found, query by query: best so far, regret, hypervolume, and what that is worth on other images."""

from __future__ import annotations

import html
import json
import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ... import cells
from ...arrays import Floats, Integers, Record, read_only
from ...checks import integer, items
from ...errors import InvalidValueError, TableError, UnknownNameError
from ...releases import load as load_release
from ...table import Benchmark, read_table, write_table
from .pareto import non_dominated, running_hypervolume
from .problems import TableProblem

if TYPE_CHECKING:
    import pandas as pd

_METADATA_KEY = b"nasbench_robust_searches"


class Trainings:
    """The trainings under way of every class, each at some epoch: the one place that says what an epoch costs.

    A question for an epoch goes on with the farthest training that is not there yet, or begins a new one.
    """

    def __init__(self) -> None:
        self._reached: dict[int, list[int]] = {}  # epochs in ascending order, by representative

    def farthest(self, known: int) -> int:
        """Return the epoch of the farthest training of a class, by its representative; 0 if there is none."""
        return self._reached.get(known, [0])[-1]

    def cost(self, known: int, epoch: int) -> int:
        """Return how many epochs have to be trained for a class to be at an epoch, from 1."""
        reached = self._reached.get(known, [])
        place = bisect_left(reached, epoch)
        return epoch - (reached[place - 1] if place else 0)

    def go_on(self, known: int, epoch: int) -> int:
        """Train a class up to an epoch, and return what that cost."""
        cost, reached = self.cost(known, epoch), self._reached.setdefault(known, [])
        place = bisect_left(reached, epoch)
        reached[max(place - 1, 0) : place] = [epoch]  # all that follow are as far at least, so the order stays
        return cost


def holds_searches(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file that `Repeats.save` wrote; no other file is read beyond its schema."""
    try:
        return _METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowInvalid):
        return False


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory(Record):
    """The charged queries of one search, in order; arrays have one entry per query.

    Attributes
    ----------
    problem : TableProblem
        What was searched.
    index : ndarray of int64, shape (n,)
        The cells.
    values : ndarray of float64, shape (n, objectives)
        What the search was told.
    epoch : ndarray of int64, shape (n,), or None
        Up to which epoch the cells were trained, on a problem with ``fidelity="epoch"``.
    """

    problem: TableProblem
    index: Integers
    values: Floats
    epoch: Integers | None = None

    def __post_init__(self) -> None:
        read_only(self.index), read_only(self.values)
        if self.epoch is not None:
            read_only(self.epoch)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<Trajectory of {len(self)} queries on {self.problem!r}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.frame().tail(1).to_html(index=False)}"

    @property
    def seconds(self) -> Floats:
        """Training time spent up to and including each query; errors as for `TableProblem.seconds`."""
        seconds = self.problem.seconds[self.index]
        if self.problem.curve is not None:
            seconds = seconds * np.diff(self.epochs, prepend=0) / self.problem.curve.shape[1]
        return np.cumsum(seconds)

    @property
    def epochs(self) -> Integers:
        """Epochs of training spent up to and including each query, on a problem with ``fidelity="epoch"``."""
        if self.epoch is None:
            raise InvalidValueError("problem", self.problem, "one that counts epochs", "fidelity='epoch'")
        trainings, classes = Trainings(), cells.representatives()[self.index].tolist()
        spent = [trainings.go_on(known, epoch) for known, epoch in zip(classes, self.epoch.tolist(), strict=True)]
        return np.cumsum(spent, dtype=np.int64)

    @property
    def best(self) -> Floats:
        """Value of the incumbent, as the search was told it: the best so far of the one objective."""
        return self._single()[self._leading()]

    @property
    def incumbents(self) -> Integers:
        """Index of the cell with the best value so far, of equal ones the first; among those trained the farthest."""
        return self.index[self._leading()]

    def _leading(self) -> Integers:
        """Return the place of the incumbent after each query."""
        values = self._single()
        if self.epoch is not None:
            values = values + 2 * self.epoch  # accuracies are at most 1: any value after more epochs counts more
        before = np.append(-np.inf, np.maximum.accumulate(values)[:-1])
        return np.maximum.accumulate(np.where(values > before, np.arange(len(values)), 0))

    @property
    def front(self) -> Integers:
        """Indices of the cells that no other queried cell dominated, in the order they were found."""
        return np.array(list(dict.fromkeys(self.index[non_dominated(self.values)].tolist())), np.int64)

    @property
    def regret(self) -> Floats:
        """What is missing to the best that the table has, at least 0.

        One objective: the best mean accuracy of any cell, minus the mean accuracy of the incumbent (the mean over
        seeds, even where single runs were queried). Several: the hypervolume of all cells minus that of the queried
        ones, both of means, from the reference 0.
        """
        means, several = self.problem.means, self.problem.objectives > 1
        reached = running_hypervolume(means[self.index]) if several else means[self.incumbents, 0]
        return self.problem.optimum - reached

    def hypervolume(self, reference: Sequence[float] | None = None) -> Floats:
        """Return the hypervolume of the values so far; see `pareto.hypervolume` for the reference and its errors."""
        return running_hypervolume(self.values, reference)

    def judged(self, metric: str, *, eps: float | str | None = None, split: str | None = None) -> Floats:
        """Return another accuracy of the incumbents: what they are worth on other images, or under another attack.

        Parameters
        ----------
        metric, eps, split
            As in `Benchmark.query`; means over seeds.
        """
        return self.problem.judge(metric, eps=eps, split=split)[self.incumbents]

    def frame(self, judges: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the search as a tidy table, one row per query.

        Parameters
        ----------
        judges : sequence of str, optional
            Accuracies of the incumbent to add, named as in `Benchmark.query`, on the test split unless they say
            otherwise (``"pgd_acc#validation"``); by default the searched metric on the test split.

        Returns
        -------
        pandas.DataFrame
            ``query`` (from 1), ``index``, ``seconds`` where they are known, and for one objective ``value, best,
            incumbent, regret`` and a column per judge, for several ``value <metric>`` each, ``hypervolume, regret``.
        """
        import pandas as pd

        return pd.DataFrame(self._columns(judges))

    def _columns(self, judges: Sequence[str] | None) -> dict[str, npt.NDArray[Any]]:
        columns: dict[str, npt.NDArray[Any]] = {"query": np.arange(1, len(self) + 1), "index": self.index}
        if self.problem.has_seconds:
            columns["seconds"] = self.seconds
        if self.epoch is not None:
            columns |= {"epoch": self.epoch, "epochs": self.epochs}
        if self.problem.objectives > 1:
            if judges:
                expected = "none: of several objectives there is a front, and no one cell to judge"
                raise InvalidValueError("judges", judges, expected)
            columns |= {f"value {name}": self.values[:, place] for place, name in enumerate(self.problem.columns)}
            return {**columns, "hypervolume": self.hypervolume(), "regret": self.regret}
        columns |= {"value": self.values[:, 0], "best": self.best, "incumbent": self.incumbents, "regret": self.regret}
        names = self.problem.judges if judges is None else items("judges", judges, "a sequence of metric names")
        return columns | {name: self.judged(name) for name in names}

    def _single(self) -> Floats:
        if self.problem.objectives > 1:
            expected = "one objective; of several there is a front, and no best cell"
            raise InvalidValueError("problem", ", ".join(self.problem.columns), expected)
        return self.values[:, 0]


@dataclass(frozen=True, eq=False, repr=False)
class Repeats(Record):
    """Many searches of one problem.

    Attributes
    ----------
    trajectories : tuple of Trajectory
        In the order of the repeats.
    settings : dict
        Method, budget and seed, where `repeat` made them, and the column that queries are ``charged`` by.
    """

    trajectories: tuple[Trajectory, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the searches to a Parquet file, with their settings and those of the problem in its metadata.

        Columns are ``repeat``, ``query``, ``index``, a column per searched metric, what the search was told, and
        ``epoch`` where the problem counts them. A name that does not end in ``.parquet`` is refused.
        """
        if not os.fspath(path).lower().endswith(".parquet"):
            raise InvalidValueError("path", path, "a name that ends in .parquet", f"{os.fspath(path)}.parquet")
        problem = self.trajectories[0].problem
        lengths = [len(trajectory) for trajectory in self.trajectories]
        values = np.concatenate([trajectory.values for trajectory in self.trajectories])
        table = pa.table(
            {
                "repeat": np.repeat(np.arange(len(self)), lengths),
                "query": np.concatenate([np.arange(1, length + 1) for length in lengths]),
                "index": np.concatenate([trajectory.index for trajectory in self.trajectories]),
                **{name: values[:, place] for place, name in enumerate(problem.columns)},
                **self._epochs(),
            }
        )
        release = {"name": problem.bench.name, "version": problem.bench.version}
        about = {"format": 1, "release": release, "problem": problem.settings(), "settings": self.settings}
        about |= {"repeats": len(self)}
        write_table(table.replace_schema_metadata({_METADATA_KEY: json.dumps(about)}), path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], bench: Benchmark | None = None) -> Repeats:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        bench : Benchmark, optional
            The table that was searched; by default the release of its name.

        Raises
        ------
        MissingDataError, TableError
            If there is no such file, or it does not hold searches.
        InvalidValueError
            If `bench` is another release, or another version of it.
        """
        table = read_table(path)
        try:
            about = json.loads((table.schema.metadata or {})[_METADATA_KEY])
            release, problem, number = about["release"], about["problem"], about["repeats"]
            columns = np.stack([table.column(name).to_numpy() for name in problem["metrics"]], axis=1)
            repeat, index = (table.column(name).to_numpy() for name in ("repeat", "index"))
            epoch = table.column("epoch").to_numpy() if problem.get("fidelity") else None
        except (KeyError, ValueError, TypeError):
            raise TableError(path, "no searches that Repeats.save wrote") from None
        bench = load_release(release["name"]) if bench is None else bench
        known = (bench.version, bench.info.version)  # the second stands in files of the first version
        if bench.name != release["name"] or release["version"] not in known:
            raise InvalidValueError("bench", bench, f"{release['name']} {release['version']}, which was searched")
        searched = TableProblem(bench, **problem)
        mine = [repeat == each for each in range(number)]
        parts = ((index[rows], columns[rows], None if epoch is None else epoch[rows]) for rows in mine)
        return cls(tuple(Trajectory(searched, *arrays) for arrays in parts), about["settings"])

    def _epochs(self) -> dict[str, Integers]:
        """Return the epochs of all queries as a column, where there are any."""
        parts = [each.epoch for each in self.trajectories if each.epoch is not None]
        return {"epoch": np.concatenate(parts)} if parts else {}

    def __len__(self) -> int:
        return len(self.trajectories)

    def __repr__(self) -> str:
        lengths = sorted({len(trajectory) for trajectory in self.trajectories})
        queries = " to ".join(map(str, dict.fromkeys((lengths[0], lengths[-1]))))
        return f"<Repeats: {len(self)} searches of {queries} queries on {self.trajectories[0].problem!r}>"

    def _repr_html_(self) -> str:
        longest = max(map(len, self.trajectories))
        return f"<p>{html.escape(repr(self))}</p>{self.summary([longest]).to_html(index=False)}"

    def frame(self, judges: Sequence[str] | None = None) -> pd.DataFrame:
        """Return all searches as one tidy table: a column ``repeat``, and the columns of `Trajectory.frame`."""
        import pandas as pd

        number = np.repeat(np.arange(len(self)), [len(trajectory) for trajectory in self.trajectories])
        columns = {name: np.concatenate(each) for name, each in self._columns(judges).items()}
        return pd.DataFrame({"repeat": number, **columns})

    def curves(self, column: str, judges: Sequence[str] | None = None) -> Floats:
        """Return one column of `frame` as a matrix, shape (repeats, queries).

        Searches that ended early keep their last value: nothing is found after the end.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        """
        columns = self._columns(judges)
        if column not in columns:
            raise UnknownNameError("column", column, tuple(columns))
        longest = max(map(len, self.trajectories))
        padded = [np.pad(values, (0, longest - len(values)), mode="edge") for values in columns[column]]
        return np.array(padded, np.float64)

    def summary(self, at: Sequence[int], judges: Sequence[str] | None = None) -> pd.DataFrame:
        """Return mean, standard deviation and deciles over the repeats after so many queries.

        Parameters
        ----------
        at : sequence of int
            Numbers of queries, at least 1; searches that ended before count with their last value.
        judges : sequence of str, optional
            As in `Trajectory.frame`.

        Returns
        -------
        pandas.DataFrame
            One row per number of queries and column: ``query, column, mean, std`` (n - 1), ``low, median, high`` (the
            10th, 50th and 90th percentile over repeats) and ``repeats``.
        """
        import pandas as pd

        numbers = [integer(1)("at", number) for number in items("at", at, "a sequence of numbers of queries")]
        rows = []
        for name, columns in self._columns(judges).items():
            for number in numbers if name not in ("query", "index", "incumbent", "epoch") else ():
                values = np.array([column[min(number, len(column)) - 1] for column in columns])
                spread = values.std(ddof=1) if len(values) > 1 else np.nan
                deciles = np.quantile(values, [0.1, 0.5, 0.9])
                rows.append((number, name, values.mean(), spread, *deciles, len(values)))
        return pd.DataFrame(rows, columns=["query", "column", "mean", "std", "low", "median", "high", "repeats"])

    def _columns(self, judges: Sequence[str] | None) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the columns of all searches by name."""
        searches = [trajectory._columns(judges) for trajectory in self.trajectories]
        return {name: [columns[name] for columns in searches] for name in searches[0]}
