"""What lies beside the accuracies of runs: curves by epoch and outcomes by image, read when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .. import cells
from ..arrays import Booleans, Floats, Integers, read_only
from ..errors import MissingResultError, TableError
from ..files import is_folder, is_there
from ..registry import BUNDLED
from .arrays import numpy_column
from .files import Reader
from .folders import read_beside
from .info import ReleaseInfo
from .schema import CURVE_COLUMNS

_COLUMNS = {
    "curves": ["index", "seed", "epoch", "split", *CURVE_COLUMNS],
    "outcomes": ["index", "seed", "metric", "images", "correct"],
}


@dataclass(frozen=True)
class Curves:
    """The curves of the runs on one data set, ordered by cell and seed.

    Attributes
    ----------
    index, seed : ndarray of int, shape (runs,)
    values : dict of str to ndarray of float, shape (runs, epochs)
        By the names of `CURVE_COLUMNS`; nan behind the last epoch of a run.
    split : str
        Of ``clean_acc`` and ``pgd_acc``.
    """

    index: Integers
    seed: Integers
    values: dict[str, Floats]
    split: str

    def rows(self, index: int, seed: int | None) -> Integers:
        """Return which runs are those of a representative, and of a seed."""
        first, last = np.searchsorted(self.index, [index, index + 1])
        rows = np.arange(first, last)
        return rows if seed is None else rows[self.seed[rows] == seed]


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of one metric, or one part of an AutoAttack, on one data set.

    Attributes
    ----------
    row : dict of (int, int) to int
        Which row is that of a representative and a seed.
    bits : ndarray of uint8, shape (runs, bytes)
        A bit an image, image 0 in the lowest bit of the first byte.
    images : int
    """

    row: dict[tuple[int, int], int]
    bits: npt.NDArray[Any]
    images: int

    def correct(self, rows: list[int]) -> Booleans:
        """Return rows as booleans, shape (len(rows), images)."""
        return np.unpackbits(self.bits[rows], axis=1, count=self.images, bitorder="little").astype(bool)


class Details:
    """The tables beside a runs table.

    Parameters
    ----------
    reader : Reader
        The runs table: a file ``runs.parquet``, beside which the others lie, or a folder in which a table is made.
    info : ReleaseInfo
    """

    def __init__(self, reader: Reader, info: ReleaseInfo) -> None:
        self._paths, self._info = reader.paths, info
        self.curves = lru_cache(maxsize=None)(self._curves)
        self.outcomes = lru_cache(maxsize=None)(self._outcomes)
        self._table = lru_cache(maxsize=None)(self._read)  # of outcomes: those of every metric stand in one

    def _curves(self, dataset: str) -> Curves:
        """Return the curves of a data set."""
        table = self._read("curves", dataset)
        index, seed, epoch = (
            numpy_column(table.column(name))[0].astype(np.int64) for name in ("index", "seed", "epoch")
        )
        order = np.lexsort((epoch, seed, index))
        index, seed, epoch = index[order], seed[order], epoch[order]
        starts = np.flatnonzero(np.r_[True, (index[1:] != index[:-1]) | (seed[1:] != seed[:-1])])
        run = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(index)]))
        values = {}
        for name in CURVE_COLUMNS:
            values[name] = np.full((len(starts), int(epoch.max())), np.nan)
            values[name][run, epoch - 1] = numpy_column(table.column(name))[0][order]
            read_only(values[name])
        splits = table.column("split").unique().to_pylist()
        if len(splits) > 1:
            raise TableError(self._place, f"its curves are of the splits {' and '.join(splits)}")
        return Curves(index[starts], seed[starts], values, splits[0])

    def _outcomes(self, dataset: str, column: str) -> Outcomes:
        """Return the outcomes of a metric's column, or of a part of an AutoAttack: ``autoattack_acc@0.1>fab_t``."""
        every = self._table("outcomes", dataset)
        table = every.filter(pc.equal(every.column("metric"), column)).combine_chunks()
        if not table.num_rows:
            metric, _, part = column.partition(">")
            names = every.column("metric").unique().to_pylist()
            parts = [name.partition(">")[2] for name in names if name.startswith(f"{metric}>")]
            what = (
                f"{self._info.name} has no outcomes of {f'the part {part!r} of ' if part else ''}{metric} on {dataset}"
            )
            raise MissingResultError(what, parts if part else [name for name in names if ">" not in name])
        index, seed, images = (numpy_column(table.column(name))[0].tolist() for name in ("index", "seed", "images"))
        bits = table.column("correct").combine_chunks().to_pylist()
        if len(set(images)) > 1 or {len(each) for each in bits} != {-(-images[0] // 8)}:
            raise TableError(self._place, f"outcomes of {column} that are not a bit an image; run verify on it")
        row = {key: place for place, key in enumerate(zip(index, seed, strict=True))}
        return Outcomes(row, np.frombuffer(b"".join(bits), np.uint8).reshape(len(bits), -1), images[0])

    def _read(self, name: str, dataset: str) -> pa.Table:
        """Return the rows of a data set of the table ``curves`` or ``outcomes``."""
        place = self._paths[0] if self._paths else None
        source: pa.Table | Path | None = None
        if place is not None and is_folder(place):
            source = read_beside(place, name)
        elif place is not None and place.name == "runs.parquet" and is_there(place.with_name(f"{name}.parquet")):
            source = place.with_name(f"{name}.parquet")
        if source is not None and (table := Reader(source).read(_COLUMNS[name], dataset=dataset)).num_rows:
            return table
        what = {"curves": "curves by epoch", "outcomes": "outcomes by image"}[name]
        told = f"{self._info.name} {self._info.version} has no {what} beside its runs on {dataset}"
        raise MissingResultError(told, hint=f"nasbench_robust.load({BUNDLED!r}) has them, of every run")

    @property
    def _place(self) -> Path | str:
        return self._paths[0] if self._paths else "table"


def by_cell(curves: Curves, name: str, seed: int | None) -> Floats:
    """Return a column of curves for all 15,625 cells, shape (15625, epochs): the mean over seeds, or one seed."""
    chosen = np.ones(len(curves.index), bool) if seed is None else curves.seed == seed
    total = np.zeros((cells.SIZE, curves.values[name].shape[1]))
    number = np.bincount(curves.index[chosen], minlength=cells.SIZE)[:, None]
    np.add.at(total, curves.index[chosen], curves.values[name][chosen])
    means = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return read_only(means[cells.representatives()])
