"""Scores under way: a shard for every cell and seed, what is missing, and the table that shards are merged into.

A folder of scores belongs to one set of settings and holds ``scores/``, one Parquet file per cell and seed, which
`table.shard_name` names as it names the shards of training runs. A shard grows like a table, see `tables`. A damaged
one is set aside when they are collected, so that it counts as missing and is made again. No torch.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..arrays import Record
from ..engines import provenance
from ..errors import MissingDataError, TableError
from ..files import entries, is_there
from ..ntk import Scored
from ..proxies import PROXIES
from ..table import Reader, plain_table, quarantine, shard_file, shard_name, write_table
from .keys import ScoreKey, score_keys
from .settings import ScoreSettings
from .tables import IDENTITY, SCORES_SCHEMA, Units, check_settings, merged, settings_of, units_of, with_settings

log = logging.getLogger(__name__)

FOLDER = "scores"


def write_scores(
    rows: Sequence[Scored], settings: ScoreSettings, index: int, seed: int, folder: str | os.PathLike[str], device: str
) -> Path:
    """Write scores of a cell and seed to their shard, or add to it those that it lacks, and return its path.

    Of two processes that add to one shard at the same time the rows of one are lost, and count as missing again: hold
    the shard's `runs.claim`.

    Raises
    ------
    TableError
        If the shard is damaged, or of other settings.
    """
    path = Path(folder) / FOLDER / shard_name(settings, index, seed)
    circumstances = {
        "dataset": settings.dataset,
        "index": index,
        "seed": seed,
        "revision": provenance.revision(),
        "device": device,
        "date": int(time.time()),
    }
    entries = [{**circumstances, **asdict(row), "value": _rounded(row.value)} for row in rows]
    columns = {name: [entry[name] for entry in entries] for name in SCORES_SCHEMA.names}
    table = with_settings(plain_table(columns, SCORES_SCHEMA), settings.to_dict())
    if not is_there(path) and write_table(table, path, replace=False):
        return path
    stored = read_shard(path)
    grown = merged([stored.cast(SCORES_SCHEMA.with_metadata(stored.schema.metadata)), table], [path, path])
    if len(grown) > len(stored):
        write_table(grown, path)
    return path


def _rounded(value: float | None) -> float | None:
    """Return a value to 24 bits, as exact as fp32 arithmetic makes it and half as large on disk; counts stay whole."""
    if value is None or float(value).is_integer():
        return value
    fraction, exponent = math.frexp(value)  # and not a cast to fp32, whose range some scores of large networks leave
    return math.ldexp(round(fraction * 2**24), exponent - 24)


def read_shard(path: Path) -> pa.Table:
    """Read a shard, which holds the scores of the cell and seed in its name."""
    table = Reader(path).read()
    settings_of(table.schema, path)
    if table.schema.names != SCORES_SCHEMA.names:
        raise TableError(path, f"has the columns {', '.join(table.schema.names)}")
    names = {
        shard_file(dataset, *unit) for dataset in table["dataset"].unique().to_pylist() for unit in units_of(table)
    }
    if names != {path.name}:
        raise TableError(path, "does not hold the scores of the cell and seed in its name")
    return table


def missing_scores(
    folder: str | os.PathLike[str], settings: ScoreSettings, index: int, seed: int, units: Units | None = None
) -> list[ScoreKey]:
    """Return which scores of a cell and seed are neither in the folder's shard nor in a table.

    Parameters
    ----------
    folder : path
        A folder of scores. A damaged shard counts as whole, until `collect_scores` sets it aside.
    settings : ScoreSettings
        They say which scores there should be.
    index, seed : int
        The cell, a representative, and the seed of its initial weights.
    units : dict, optional
        What a table has, from `scored_units`.
    """
    path = Path(folder) / FOLDER / shard_name(settings, index, seed)
    present = set((units or {}).get((index, seed), ()))
    if is_there(path):
        try:
            present |= units_of(Reader(path).read(IDENTITY)).get((index, seed), set())
        except TableError:
            return []
    return [key for key in score_keys(settings) if key not in present]


def check_folder(folder: str | os.PathLike[str], settings: ScoreSettings) -> None:
    """Raise `InvalidValueError` where a folder holds scores of other settings: they do not belong into one table."""
    for entry in entries(Path(folder) / FOLDER, ".parquet"):
        shard = Path(entry.path)
        try:
            stored = settings_of(Reader(shard).schema, shard)
        except TableError:
            continue  # damaged: `collect_scores` sets it aside, and another one tells
        check_settings("folder", folder, stored, settings)
        return


@dataclass(repr=False)
class CollectedScores(Record):
    """What a collection found.

    Attributes
    ----------
    rows : int
        Of the file that was written.
    quarantined : list of Path
        Damaged shards, where they are now.
    hours : float
        Core hours that the scores took, by the times in the rows; what several scores share counts once.
    """

    rows: int = 0
    quarantined: list[Path] = field(default_factory=list)
    hours: float = 0.0


def collect_scores(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> CollectedScores:
    """Merge the shards of a folder into one file, sorted by cell and seed; set damaged ones aside.

    Scores that the file has already stay as they are there.

    Raises
    ------
    MissingDataError
        If there are no sound shards, and no file.
    UnreadableError
        If a file cannot be read now. Nothing is changed then.
    TableError
        If a shard is of other settings than the others, or than the file.
    """
    report, tables, paths = CollectedScores(), [], []
    if is_there(Path(path)):
        tables, paths = [Reader(path).read()], [Path(path)]
    damaged = []
    for entry in entries(Path(folder) / FOLDER, ".parquet"):
        shard = Path(entry.path)
        try:
            tables.append(read_shard(shard))
            paths.append(shard)
        except TableError as error:
            log.warning("%s; it is set aside and counts as missing", error)
            damaged.append(shard)
    report.quarantined = [quarantine(Path(folder), shard) for shard in damaged]  # once all others were read
    if not tables:
        raise MissingDataError(f"no scores in {Path(folder) / FOLDER}", "check the folder")
    table = merged(tables, paths)
    order: Any = np.lexsort([table.column(name).to_numpy() for name in ("seed", "index")])  # the last one counts most
    write_table(table.take(pa.array(order)), path, floats=("value", "seconds"))
    report.rows, report.hours = table.num_rows, _hours(table)
    return report


def _hours(table: pa.Table) -> float:
    """Return the hours of all kernels and proxies; what the kernels of one cell and attack say was made at once."""
    frame = table.select(["index", "seed", "kernel", "attack", "score", "seconds"]).to_pandas()
    functions = {name: str(proxy.function) for name, proxy in PROXIES.items()}  # one may serve several proxies
    frame["made"] = frame["score"].replace(functions).where(frame["kernel"].isna(), "kernels")
    each = frame.groupby(["index", "seed", "attack", "made"], dropna=False)["seconds"].max()
    return float(each.sum()) / 3600
