"""The query API: one release as a `Benchmark` that answers by cell, data set and metric.

Nothing is imputed: a question that the table has no answer to raises `MissingResultError` and says what there is.
Answers are deterministic. A cell is answered by its class's representative, the only one trained; `lookup` says which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import cells
from ..errors import InvalidValueError, MissingResultError
from .detailed import Detailed
from .unpacked import Unpacked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa

    from ..arrays import Floats
    from ..cells import Cell
    from ..metrics import Metric
    from . import frames
    from .files import Reader
    from .info import ReleaseInfo
    from .result import Result
    from .store import Store
else:  # a first query does without
    from .._door import np, waiting

    frames = waiting(f"{__package__}.frames")


class Benchmark(Detailed):
    """A table of adversarially trained cells.

    `nasbench_robust.load` makes one from a release; the constructor takes a runs table directly.

    Parameters
    ----------
    source : path, pyarrow.Table or Reader
        A runs table: a Parquet file, a folder of its shards, or a table in memory.

    Notes
    -----
    Any number of threads may ask. Pickled, a table in a file is the file's place and hash: another process opens it
    again, and refuses another file. Benchmarks of the same table are equal.

    Raises
    ------
    MissingDataError, TableError
        If there is no table, or it cannot be read.
    """

    def __init__(self, source: str | os.PathLike[str] | pa.Table | Reader | Unpacked) -> None:
        self._source = source
        if not isinstance(source, Unpacked):
            _ = self._store  # or says what is wrong with it
        # Answers by (dataset, metric, eps, seed, split) as the caller wrote them: one list of floats by cell index.
        self._answers: dict[tuple[Any, ...], list[float]] = {}
        self._index_of_string: Mapping[str, int] = {}  # until the first string is asked for

    @cached_property
    def _store(self) -> Store:
        from .store import Store

        return Store(self._source)

    @cached_property
    def _frame_of(self) -> Callable[[frames.Choice], pd.DataFrame]:
        return frames.taking(self._store)

    @cached_property
    def info(self) -> ReleaseInfo:
        """What the release says about itself."""
        return self._store.info

    # ------------------------------------------------------------------ single answers

    def query(
        self,
        arch: Cell | int | str,
        dataset: str | None = None,
        metric: str = "",
        *,
        eps: float | str | None = None,
        seed: int | None = None,
        split: str | None = None,
    ) -> float:
        """Return one accuracy.

        Parameters
        ----------
        arch : Cell, int or str
            A cell, its index (0 to 15,624) or its NAS-Bench-201 string.
        dataset : str, optional
            Any usual spelling; may be left out where the release has one data set.
        metric : str
            ``clean_acc``, ``fgsm_acc``, ``pgd_acc``, ``autoattack_acc``, or with its budget ``pgd_acc@3/255``;
            `metrics` lists them.
        eps : float or str, optional
            Budget in pixels of [0, 1], 3/255 for example. Default: the data set's own, 8/255 on natural images.
        seed : int, optional
            One training run. Default: the mean over all seeds there are.
        split : str, optional
            ``"test"`` or ``"validation"``. Default: the one that the metric names, as ``pgd_acc#validation`` does, else
            ``"test"``; another one than the metric's is an error.

        Returns
        -------
        float
            Accuracy in [0, 1].

        Raises
        ------
        InvalidCellError, UnknownNameError, InvalidValueError
            If an argument names nothing; the message suggests the nearest valid value.
        MissingResultError
            If the release has no such result, for example a seed that was not run.
        """
        try:
            answers = self._answers[dataset, metric, eps, seed, split]
        except Exception:  # a new question, or an odd object that cannot be a key
            answers = None  # whatever is wrong is said outside of this clause, and so in one traceback
        if answers is None or (seed is not None and type(seed) is not int):  # True and 1.0 equal a seed, and are none
            answers = self._prepare(dataset, metric, eps, seed, split)
        if type(arch) is int and 0 <= arch < len(answers):  # by itself, since a Cell takes longer than all the rest
            value = answers[arch]
        else:
            index = self._index_of_string.get(arch) if type(arch) is str else None
            value = answers[self._index(arch) if index is None else index]
        if value != value:  # NaN marks a cell without a result
            self._store.raise_missing(cells.Cell.of(arch), *self._store.resolve(dataset, metric, eps, seed, split))
        return value

    def lookup(
        self,
        arch: Cell | int | str,
        dataset: str | None = None,
        metric: str = "",
        *,
        eps: float | str | None = None,
        seed: int | None = None,
        split: str | None = None,
    ) -> Result:
        """Return one accuracy with everything known about it; parameters and errors are those of `query`."""
        value = self.query(arch, dataset, metric, eps=eps, seed=seed, split=split)
        return self._store.result(cells.Cell.of(arch).index, value, (dataset, metric, eps, seed, split))

    def query_many(
        self,
        archs: Iterable[Cell | int | str] | npt.NDArray[Any],
        dataset: str | None = None,
        metric: str = "",
        *,
        eps: float | str | None = None,
        seed: int | None = None,
        split: str | None = None,
    ) -> Floats:
        """Return many accuracies at once.

        Parameters
        ----------
        archs : iterable or integer array
            Cells, indices or strings, mixed as you like. The other parameters and the errors are those of `query`.

        Returns
        -------
        ndarray of float64, shape (len(archs),), in their order
        """
        from .views import indices_of

        name, measured, seed = self._store.resolve(dataset, metric, eps, seed, split)
        answers = self._store.array(name, measured, seed)
        indices = indices_of(archs)
        values = answers[indices]
        missing = np.isnan(values)
        if missing.any():
            self._store.raise_missing(cells.Cell.from_index(int(indices[missing.argmax()])), name, measured, seed)
        return values

    def values(
        self,
        dataset: str | None = None,
        metric: str = "",
        *,
        eps: float | str | None = None,
        seed: int | None = None,
        split: str | None = None,
    ) -> Floats:
        """Return the answers for all cells at once, by cell index.

        Parameters
        ----------
        dataset, metric, eps, seed, split
            As in `query`; ``"train_seconds"`` as metric is what training a cell cost by the clock,
            ``"train_cpu_seconds"`` what it cost in seconds of processors, on no split and at no budget.

        Returns
        -------
        ndarray of float64, shape (15625,)
            Read only; nan where there is no result.

        The errors are those of `query`, but for cells without a result.
        """
        return self._store.values(dataset, metric, eps, seed, split)

    def train_seconds(self, arch: Cell | int | str, dataset: str | None = None, *, seed: int | None = None) -> float:
        """Return what training the cell cost: seconds of one run, that of a seed or the mean over all seeds."""
        cell, seconds = cells.Cell.of(arch), self.values(dataset, "train_seconds", seed=seed)
        if np.isnan(seconds[cell.index]):
            of = f"cell {cell.representative}" if seed is None else f"seed {seed} of cell {cell.representative}"
            raise MissingResultError(f"{self.name} records no training time for {of} on {self._store.dataset(dataset)}")
        return float(seconds[cell.index])

    # ------------------------------------------------------------------ the whole table

    def frame(
        self, dataset: str | None = None, metrics: Sequence[str] | None = None, cells: str = "representatives"
    ) -> pd.DataFrame:
        """Return the table as a data frame, one row per data set and cell.

        Parameters
        ----------
        dataset : str, optional
            Only this data set.
        metrics : sequence of str, optional
            Metric names as in `query`; all by default.
        cells : str
            ``"representatives"`` (6,466 rows a data set), ``"connected"`` (those of them whose output depends on the
            input), ``"smallest"`` (of each class the smallest member, see `cells.smallest_members`: for accuracy
            against size) or ``"all"`` (15,625; cells of one class repeat their representative's results).

        Returns
        -------
        pandas.DataFrame
            ``dataset, index, arch, representative, connected, parameters, flops`` and a column per metric, called as it
            was asked for, by its long name where none was: means over seeds, NaN where there is no result. Size is
            that of the row's own cell, whichever member of its class was trained. Rows are labelled by cell index, in
            all frames: ``frame["clean_acc"].idxmax()`` is a cell.
        """
        return frames.as_frame(frames.everything(self._store, dataset, metrics, cells))

    def arrow(
        self, dataset: str | None = None, metrics: Sequence[str] | None = None, cells: str = "representatives"
    ) -> pa.Table:
        """Return the rows and columns of `frame` as an Arrow table, which polars and duckdb take as it is."""
        return frames.as_arrow(frames.everything(self._store, dataset, metrics, cells))

    def metrics(self) -> pd.DataFrame:
        """Return what was measured: a row per data set and metric.

        Returns
        -------
        pandas.DataFrame
            Name, long name, unit, range, split, number of images, settings of the attack, seeds per cell, number of
            cells with a result, whether it is what the short name means, description and source.
        """
        return frames.metrics(self._store)

    def measured(self, dataset: str | None = None) -> dict[Metric, tuple[int, ...]]:
        """Return the metrics that a data set has any result of, with the seeds that were run for each.

        No seeds stand where the source gives only means, or does not name them.
        """
        name = self._store.dataset(dataset)
        seeds = {metric: self._store.seeds(name, metric) for metric in self._store.measured(name)}
        return {metric: tuple(seed for seed in ran if seed >= 0) for metric, ran in seeds.items()}

    def best(
        self,
        dataset: str | None = None,
        metric: str = "",
        k: int = 10,
        *,
        eps: float | str | None = None,
        cells: str = "representatives",
    ) -> pd.DataFrame:
        """Return the `k` best classes of cells, best first; equal values in the order of their index.

        Parameters
        ----------
        dataset, metric, eps
            As in `query`.
        k : int
            How many, at least 1.
        cells : str
            As in `frame`: ``"smallest"`` answers with the smallest member of each class.

        Returns
        -------
        pandas.DataFrame
            Rows and columns as in `frame`, with this metric alone.
        """
        return self._frame_of(frames.best(self._store, dataset, metric, k, eps, cells))

    def pareto(
        self,
        dataset: str | None = None,
        metrics: Sequence[str] = ("clean_acc", "pgd_acc"),
        cells: str = "representatives",
    ) -> pd.DataFrame:
        """Return the cells that no other beats: at least as good in every metric and better in one.

        Parameters
        ----------
        dataset : str, optional
            As in `query`.
        metrics : sequence of str
            Metric names, two or more; higher is better in all of them.
        cells : str
            As in `frame`.

        Returns
        -------
        pandas.DataFrame
            Rows and columns as in `frame`, with these metrics, the best in the first metric on top.
        """
        return self._frame_of(frames.pareto(self._store, dataset, metrics, cells))

    def join(self, other: Benchmark, cells: str = "representatives") -> pd.DataFrame:
        """Put two releases side by side on the cell.

        Parameters
        ----------
        other : Benchmark
            Another release, or another version of this one.
        cells : str
            As in `frame`.

        Returns
        -------
        pandas.DataFrame
            Indexed by cell index. Columns have three levels (release, dataset, metric), so that ``joined["digits"]``
            is one release; a release is called ``name@version`` where both have the same name.
        """
        if not isinstance(other, Benchmark):
            raise InvalidValueError("other", other, "a Benchmark")
        return frames.join(self._store, other._store, cells)

    @property
    def name(self) -> str:
        """Name of the release."""
        return self.info.name

    @property
    def version(self) -> str:
        """Version of the release; behind a ``+``, where there is a manifest, the hash that names this state of it."""
        return self._store.version

    @property
    def datasets(self) -> tuple[str, ...]:
        """Canonical names of the data sets."""
        return tuple(self.info.datasets)

    def cite(self) -> str:
        """Return the BibTeX entry to cite for these numbers; of a table made by this package, as of its last run."""
        from .info import complete_citation

        return complete_citation(self.info, self._store.last_year())

    def __repr__(self) -> str:
        return f"<Benchmark {self.name} {self.version}: {', '.join(self.datasets)}>"

    def _repr_html_(self) -> str:
        import html

        columns = ["dataset", "long_name", "split", "test_images", "seeds", "cells"]
        return f"<p>{html.escape(repr(self))}</p>{self.metrics()[columns].to_html(index=False)}"

    def __eq__(self, other: object) -> bool:
        return self._store.reader == other._store.reader if isinstance(other, Benchmark) else NotImplemented

    def __hash__(self) -> int:
        return hash((Benchmark, self.name, self.info.version))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._store.reader,)  # what was read is read again

    def _index(self, arch: Any) -> int:
        if not self._index_of_string and isinstance(arch, str):
            self._index_of_string = cells.index_of_string()
        return cells.Cell.of(arch).index

    def _prepare(self, dataset: Any, metric: Any, eps: Any, seed: Any, split: Any) -> list[float]:
        """Read the answers to a question once; the next query with the same arguments is a dictionary look-up."""
        answers = None
        if isinstance(self._source, Unpacked) and eps is seed is split is None:
            answers = self._source.plain(dataset, metric)
        if answers is None:
            answers = self._store.array(*self._store.resolve(dataset, metric, eps, seed, split)).tolist()
        with suppress(Exception):  # an array of one eps, say, is a valid argument and no key
            self._answers[dataset, metric, eps, seed, split] = answers
        return answers
