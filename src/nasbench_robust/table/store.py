"""From the names in a question to arrays of answers: what a `Benchmark` reads, and when.

A column of the table is read when it is first asked for and kept. Names are resolved here, and here alone, so that
every door of the query API accepts the same spellings and gives the same errors.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from .. import cells
from ..arrays import Floats, Integers, read_only
from ..cells import Cell
from ..datasets import canonical_name
from ..errors import InvalidValueError, MissingResultError, TableError, UnknownNameError
from ..metrics import (
    SPLITS,
    UNATTACKED,
    Attack,
    Metric,
    checked_eps,
    format_eps,
    metric_names,
    parse_long_name,
    same_eps,
)
from .arrays import mean_by_index
from .info import ReleaseInfo
from .result import Result, summary
from .unpacked import Unpacked
from .views import view

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from .files import Reader
else:
    from .._door import np


@dataclass(frozen=True)
class Rows:
    """The rows of one data set that have a value of one metric, as arrays of one length."""

    index: Integers
    seed: Integers  # -1: not known, or a mean over seeds
    seeds: Integers
    value: Floats


CLOCK, PROCESSORS = COSTS = ("train_seconds", "train_cpu_seconds")  # columns that say what a training cost
# Seed (-1: not known), number of runs behind the row, value, count of correct images (NaN: not known).
Runs = list[tuple[int, int, float, float]]


class Store:
    """A runs table behind resolved names; parameters and errors are those of `Benchmark`."""

    def __init__(self, source: str | os.PathLike[str] | pa.Table | Reader | Unpacked) -> None:
        self.source = source if isinstance(source, Unpacked) else _opened(source)
        self.info: ReleaseInfo = self.source.info()
        self._arrays: dict[tuple[str, Metric, int | None], Floats] = {}
        self._rankings: dict[tuple[str, Metric, str], Integers] = {}
        self._measurements: dict[tuple[str, Metric], Rows] = {}
        self._identities: dict[tuple[str, str], Integers] = {}
        self._seeds: dict[tuple[str, Metric], list[int]] = {}
        self._resolved: dict[tuple[Any, ...], tuple[str, Metric, int | None]] = {}
        self._runs: dict[tuple[str, Metric, int | None], dict[int, Runs]] = {}

    @property
    def reader(self) -> Reader:
        """The table itself."""
        return self.source.reader if isinstance(self.source, Unpacked) else self.source

    # ------------------------------------------------------------------ names to columns

    def resolve(
        self, dataset: object, metric: object, eps: object, seed: object, split: object
    ) -> tuple[str, Metric, int | None]:
        """Return the data set, the measured metric and the seed that the arguments of a query name."""
        name = self.dataset(dataset)
        measured = self.metric(name, metric, eps, split)
        if seed is not None:
            seed = _checked_seed(seed)
            ran = self.seeds(name, measured)
            if seed not in ran:
                known = [s for s in ran if s >= 0]
                reason = "" if known else "; this release gives no single seeds for it"
                what = f"{self.info.name} has no seed {seed} for {measured.column} on {name}{reason}"
                raise MissingResultError(what, known, "seeds that were run")
        return name, measured, seed

    def dataset(self, dataset: object) -> str:
        """Return the canonical name of a data set of this release; None names the only one."""
        if dataset is None:
            if len(self.info.datasets) == 1:
                return next(iter(self.info.datasets))
            expected = f"one of {', '.join(self.info.datasets)} (dataset=, or -d in the shell)"
            raise InvalidValueError("dataset", None, expected)
        if isinstance(dataset, str) and dataset in self.info.datasets:
            return dataset
        if isinstance(dataset, str) and dataset.partition("@")[0] in metric_names():
            raise InvalidValueError(
                "dataset", dataset, f"one of {', '.join(self.info.datasets)}", f"metric={dataset!r}"
            )
        name = canonical_name(dataset)
        if name not in self.info.datasets:
            self._raise_missing_dataset(name)
        return name

    def _raise_missing_dataset(self, name: str) -> NoReturn:
        from ..registry import release_with

        other = release_with(name)
        hint = f"nasbench_robust.load({other!r}) has it" if other not in (None, self.info.name) else None
        what = f"{self.info.name} has no data set {name!r}"
        raise MissingResultError(what, tuple(self.info.datasets), hint=hint)

    def metric(self, dataset: str, metric: object, eps: object = None, split: object = None) -> Metric:
        """Find the measured metric that a name, long name or column, a budget and a split mean."""
        if metric is None or (isinstance(metric, str) and not metric):
            raise InvalidValueError("metric", metric, f"one of {', '.join(self._long_names(dataset))}")
        if isinstance(metric, str) and metric in COSTS:
            raise InvalidValueError("metric", metric, "an accuracy", f"bench.values(metric={metric!r})")
        if isinstance(metric, str) and ">" in metric:
            raise InvalidValueError(
                "metric",
                metric,
                "one without a part (those are asked for by outcomes)",
                f"bench.outcomes(..., metric={metric!r})",
            )
        if isinstance(metric, str) and "#" in metric:
            whole, (metric, _, named_split) = metric, metric.partition("#")
            if split not in (None, named_split):
                raise InvalidValueError("split", split, f"the one in {whole!r}, or none", f"split={named_split!r}")
            split = named_split
        split = "test" if split is None else split
        if not isinstance(split, str) or split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS)
        short, named, norm = parse_long_name(metric, (one.name for one in self.info.metrics))
        wanted = named if eps is None else checked_eps(eps, norm)
        if named is not None and eps is not None and not same_eps(named, wanted):
            raise InvalidValueError("eps", eps, f"the budget in {metric!r}, or none", format_eps(named))
        if eps is not None and short in UNATTACKED:
            raise InvalidValueError("eps", eps, f"None: {short} has no attack")
        if wanted is None and short not in UNATTACKED:
            wanted = self.info.datasets[dataset].eps
        for candidate in self.info.metrics:
            meant = candidate.name == short and candidate.split == split and same_eps(candidate.eps, wanted)
            meant = meant and candidate.norm in (None, norm)
            if meant and self.seeds(dataset, candidate):
                return candidate
        attack = None if wanted is None else Attack(short.removesuffix("_acc"), wanted, norm)
        what = f"{self.info.name} has no {Metric(short, attack).long_name} on the {split} split of {dataset}"
        raise MissingResultError(what, self._long_names(dataset), "measured there")

    def measured(self, dataset: str) -> list[Metric]:
        """Return the metrics that the data set has any result for."""
        return [metric for metric in self.info.metrics if self.seeds(dataset, metric)]

    def images(self, dataset: str, metric: Metric) -> int:
        """Return the number of images that the metric was measured on."""
        sizes = self.info.datasets[dataset].images
        if metric.split not in sizes:
            problem = f"does not say how many images the {metric.split} split of {dataset} has; run validate on it"
            raise TableError(self._place, problem)
        return sizes[metric.split]

    def _long_names(self, dataset: str) -> list[str]:
        return [metric.column for metric in self.measured(dataset)]

    # ------------------------------------------------------------------ columns to arrays

    @property
    def _place(self) -> str:
        return str(self.source.paths[0]) if self.source.paths else "table"

    @property
    def version(self) -> str:
        """As `Benchmark.version`."""
        commit = self.source.commit
        return f"{self.info.version}+{commit}" if commit else self.info.version

    def seeds(self, dataset: str, metric: Metric) -> list[int]:
        """Return the seeds of the rows that have a value of the metric, -1 for what names none; no rows, no seeds."""
        if isinstance(self.source, Unpacked):
            return self.source.seeds(dataset, metric.column)
        if (dataset, metric) not in self._seeds:
            self._seeds[dataset, metric] = np.unique(self.rows(dataset, metric).seed).tolist()
        return self._seeds[dataset, metric]

    def rows(self, dataset: str, metric: Metric) -> Rows:
        """Return the rows of a data set that have a value of the metric."""
        if (dataset, metric) not in self._measurements:
            index, seed, seeds = (self.integers(dataset, name) for name in ("index", "seed", "seeds"))
            if len(index) and not 0 <= index.min() <= index.max() < cells.SIZE:
                raise TableError(self._place, "holds cell indices out of range; run validate on it")
            if (cells.representatives()[index] != index).any():
                raise TableError(self._place, "holds cells that are not representatives; run validate on it")
            value = self.floats(dataset, metric.column)
            has_value = ~np.isnan(value)
            rows = Rows(index[has_value], seed[has_value], seeds[has_value], value[has_value])
            if _is_ambiguous(rows):
                raise TableError(self._place, f"several {metric.column} for one cell and seed; run validate on it")
            self._measurements[dataset, metric] = rows
        return self._measurements[dataset, metric]

    def runs(self, dataset: str, metric: Metric, seed: int | None) -> dict[int, Runs]:
        """Return the rows behind the answers, by representative."""
        key = dataset, metric, seed
        if key not in self._runs:
            rows, counts = self.rows(dataset, metric), self.counts(dataset, metric)
            chosen = np.ones(len(rows.index), bool) if seed is None else rows.seed == seed
            order = np.flatnonzero(chosen)[np.argsort(rows.index[chosen], kind="stable")]
            columns = (column[order].tolist() for column in (rows.index, rows.seed, rows.seeds, rows.value, counts))
            found: dict[int, Runs] = {}
            for index, *row in zip(*columns, strict=True):
                found.setdefault(index, []).append((row[0], row[1], row[2], row[3]))
            self._runs[key] = found
        return self._runs[key]

    def result(self, index: int, value: float, question: tuple[Any, ...]) -> Result:
        """Return everything known about the answer to a question, the arguments of `resolve`, that was asked before."""
        try:
            resolved = self._resolved[question]
        except Exception:  # a new question, or an odd object that cannot be a key
            resolved = self.resolve(*question)
            with suppress(Exception):
                self._resolved[question] = resolved
        dataset, metric, seed = resolved
        representative = int(cells.representatives()[index])
        return Result(
            value=value,
            **summary(self.runs(dataset, metric, seed)[representative]),
            index=index,
            representative=representative,
            connected=bool(cells.connected()[index]),
            dataset=dataset,
            metric=metric.long_name,
            split=metric.split,
            test_images=self.images(dataset, metric),
            attack=metric.attack,
            release=self.info.name,
            version=self.version,
            source=self.info.source,
        )

    def last_year(self) -> int | None:
        """Return the year of the last run that says when it was made."""
        dates = [date for date in self.reader.read(["date"]).column("date").to_pylist() if date is not None]
        return max(dates).year if dates else None

    def counts(self, dataset: str, metric: Metric) -> Floats:
        """Return the counts of correct images behind `_rows`, NaN where they are not known."""
        has_value = ~np.isnan(self.floats(dataset, metric.column))
        return self.floats(dataset, metric.count_column)[has_value]

    def integers(self, dataset: str, name: str) -> Integers:
        """Return an integer column of a data set's rows, -1 where it is null."""
        if (dataset, name) not in self._identities:
            values, has_value = self.source.numbers(dataset, name)
            with np.errstate(invalid="ignore"):
                whole = np.where(has_value, values, -1).astype(np.int64)
            if (whole != np.where(has_value, values, -1)).any():
                raise TableError(self._place, f"column {name!r} holds numbers that are not whole; run validate on it")
            self._identities[dataset, name] = whole
        return self._identities[dataset, name]

    def floats(self, dataset: str, name: str) -> Floats:
        """Return a column of a data set's rows as floats, NaN where it is null."""
        values, has_value = self.source.numbers(dataset, name)
        return np.where(has_value, values, np.nan)

    def seconds(self, dataset: str, column: str, seed: object = None) -> tuple[Integers, Floats]:
        """Return cell indices and times, a column of `COSTS`, of the runs that have them, of one seed or of all."""
        index, seconds = self.integers(dataset, "index"), self.floats(dataset, column)
        chosen = ~np.isnan(seconds)
        if seed is not None:
            of_seed = self.integers(dataset, "seed") == _checked_seed(seed)
            if not (chosen & of_seed).any():
                raise MissingResultError(f"{self.info.name} records no training time for seed {seed} on {dataset}")
            chosen &= of_seed
        return index[chosen], seconds[chosen]

    def array(self, dataset: str, metric: Metric, seed: int | None) -> Floats:
        """Return the answers for all 15,625 cells: the mean over seeds, or one seed; NaN where there is none."""
        key = dataset, metric, seed
        if key not in self._arrays:
            self._arrays[key] = self._mean(*key)
        return self._arrays[key]

    def ranking(self, dataset: str, metric: Metric, cells: str) -> Integers:
        """Return which rows of a view have a result, best first; equal ones in the order of their index."""
        indices, key = view(cells).indices, (dataset, metric, cells)
        if key not in self._rankings:
            values = self.array(dataset, metric, None)[indices]
            rows = np.flatnonzero(~np.isnan(values))
            self._rankings[key] = read_only(rows[np.argsort(-values[rows], kind="stable")])
        return self._rankings[key]

    def _mean(self, dataset: str, metric: Metric, seed: int | None) -> Floats:
        if (
            seed is None
            and isinstance(self.source, Unpacked)
            and (known := self.source.answers(dataset, metric.column))
        ):
            return np.frombuffer(known)
        rows = self.rows(dataset, metric)
        chosen = np.ones(len(rows.index), bool) if seed is None else rows.seed == seed
        return by_class(rows.index[chosen], rows.value[chosen])

    def values(self, dataset: object, metric: object, eps: object, seed: object, split: object) -> Floats:
        """Return the answers for all 15,625 cells, or, for a column of `COSTS`, mean training times; NaN without."""
        if not isinstance(metric, str) or metric not in COSTS:
            return self.array(*self.resolve(dataset, metric, eps, seed, split))
        for argument, value in (("eps", eps), ("split", split)):
            if value is not None:
                raise InvalidValueError(argument, value, "None: training time has none")
        return by_class(*self.seconds(self.dataset(dataset), metric, seed))

    def raise_missing(self, cell: Cell, dataset: str, metric: Metric, seed: int | None) -> NoReturn:
        """Say that a cell has no result, and which of its seeds were run."""
        rows = self.rows(dataset, metric)
        ran = [int(s) for s in np.unique(rows.seed[rows.index == cell.representative]) if s >= 0]
        which = f"seed {seed} of " if seed is not None else ""
        what = f"{self.info.name} has no {metric.column} on {dataset} for {which}cell {cell.representative}"
        raise MissingResultError(what, ran, "seeds that were run")


def by_class(index: Integers, value: Floats) -> Floats:
    """Return for all 15,625 cells the mean of the values that their representatives have."""
    return read_only(mean_by_index(index, value)[0][cells.representatives()])


def _opened(source: str | os.PathLike[str] | pa.Table | Reader) -> Reader:
    from .opening import open_table  # pyarrow, which an unpacked table does without

    return open_table(source)


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InvalidValueError("seed", seed, "a non-negative integer, or None for the mean over seeds")
    return int(seed)


def _is_ambiguous(rows: Rows) -> bool:
    """Return whether a cell has two results for a seed, or a mean beside single seeds."""
    keys = np.sort(rows.index << 32 | rows.seed + 1)
    doubled = bool((keys[1:] == keys[:-1]).any())
    unseeded = np.zeros(cells.SIZE, bool)
    unseeded[rows.index[rows.seed < 0]] = True
    return doubled or bool(unseeded[rows.index[rows.seed >= 0]].any())
