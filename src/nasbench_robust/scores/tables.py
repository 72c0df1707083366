"""Scores on disk: one tidy table, a row for every score of a cell; shards for what is under way. No torch.

A folder of scores belongs to one set of settings and holds ``scores/``, one Parquet file per cell and seed, which
`worklists` and `runs.shard_name` name as they name the shards of training runs. A damaged one is set aside when they
are collected, so that it counts as missing and is made again.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..engines import provenance
from ..errors import InvalidValueError, MissingDataError, TableError
from ..ntk import Scored
from ..table import KEY, Reader, quarantine, shard_file, shard_name, write_table
from .settings import ScoreSettings

log = logging.getLogger(__name__)

FOLDER = "scores"
_METADATA_KEY = b"nasbench_robust_scores"
SCORES_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("index", pa.int16(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("kernel", pa.string()),
        pa.field("attack", pa.string()),
        pa.field("score", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("failure", pa.string()),
        pa.field("seconds", pa.float32(), nullable=False),
        pa.field("revision", pa.string()),
        pa.field("device", pa.string(), nullable=False),
        pa.field("date", pa.timestamp("s", "UTC"), nullable=False),
    ]
)


def write_scores(
    found: Sequence[Scored], settings: ScoreSettings, index: int, seed: int, folder: str | os.PathLike[str], device: str
) -> Path:
    """Write the shard of a cell and seed, unless it is there, and return its path."""
    key = {
        "dataset": settings.dataset,
        "index": index,
        "seed": seed,
        "revision": provenance.revision(),
        "device": device,
        "date": datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0),
    }
    rows = [{**key, **asdict(scored), "value": _stored(scored.value)} for scored in found]
    path = Path(folder) / FOLDER / shard_name(settings, index, seed)
    metadata = {_METADATA_KEY: json.dumps(settings.to_dict(), sort_keys=True).encode()}
    write_table(pa.Table.from_pylist(rows, SCORES_SCHEMA.with_metadata(metadata)), path, replace=False)
    return path


def _stored(value: float | None) -> float | None:
    """Return a value to 24 bits, as exact as fp32 arithmetic makes it and half as large on disk; counts stay whole."""
    if value is None or float(value).is_integer():
        return value
    fraction, exponent = math.frexp(value)  # and not a cast to fp32, whose range some scores of large networks leave
    return math.ldexp(round(fraction * 2**24), exponent - 24)


@dataclass
class CollectedScores:
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

    Cells and seeds that the file has already stay as they are there.

    Raises
    ------
    MissingDataError
        If there are no sound shards, and no file.
    TableError
        If a shard is of other settings than the others, or than the file.
    """
    report = CollectedScores()
    parts: list[pa.Table] = [Reader(path).read()] if Path(path).exists() else []
    there = {shard_file(*key) for table in parts for key in _keys(table)}
    for shard in sorted((Path(folder) / FOLDER).glob("[!.]*.parquet")):
        if shard.name in there:
            continue
        try:
            part = _read_shard(shard)
        except TableError as error:
            log.warning("%s; it is set aside and counts as missing", error)
            report.quarantined += quarantine(Path(folder), (FOLDER,), shard.name)
            continue
        if parts and not part.schema.equals(parts[0].schema, check_metadata=True):
            raise TableError(shard, "its settings differ from those of other shards")
        parts.append(part)
    if not parts:
        raise MissingDataError(f"no scores in {Path(folder) / FOLDER}", "check the folder")
    table = pa.concat_tables(parts).combine_chunks()
    order: Any = np.lexsort([table.column(name).to_numpy() for name in ("seed", "index")])  # the last one counts most
    write_table(table.take(pa.array(order)), path, floats=("value", "seconds"))
    report.rows, report.hours = table.num_rows, _hours(table)
    return report


def _hours(table: pa.Table) -> float:
    """Return the hours of all kernels and proxies; what the kernels of one cell and attack say was made at once."""
    frame = table.select(["index", "seed", "kernel", "attack", "score", "seconds"]).to_pandas()
    frame["made"] = frame["score"].where(frame["kernel"].isna(), "kernels")
    each = frame.groupby(["index", "seed", "attack", "made"], dropna=False)["seconds"].max()
    return float(each.sum()) / 3600


def _read_shard(path: Path) -> pa.Table:
    """Read a shard, which holds the scores of the cell and seed in its name."""
    table = Reader(path).read()
    settings_of(table.schema, path)
    if table.schema.names != SCORES_SCHEMA.names:
        raise TableError(path, f"has the columns {', '.join(table.schema.names)}")
    if [shard_file(*key) for key in _keys(table)] != [path.name]:
        raise TableError(path, "does not hold the scores of the cell and seed in its name")
    return table


def scored_units(path: str | os.PathLike[str], settings: ScoreSettings) -> set[tuple[int, int]]:
    """Return index and seed of everything that a file of scores has; none if there is no such file.

    Raises
    ------
    InvalidValueError
        If the file has scores of other settings.
    """
    if not Path(path).exists():
        return set()
    reader = Reader(path)
    if settings_of(reader.schema, Path(path)) != settings.to_dict():
        raise InvalidValueError("table", str(path), f"a new file, or one of scores with settings {settings.hash}")
    return {(index, seed) for _, index, seed in _keys(reader.read(KEY))}


def _keys(table: pa.Table) -> set[tuple[str, int, int]]:
    """Return data set, index and seed of all rows."""
    return set(zip(*(table.column(name).to_pylist() for name in KEY), strict=True))


def read_scores(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Return a table of scores as a data frame, and the settings that made it as nested dictionaries.

    Raises
    ------
    MissingDataError, TableError
        If there is no such file, or it is no table of scores.
    """
    table = Reader(path).read()
    return table.to_pandas(), settings_of(table.schema, Path(path))


def settings_of(schema: pa.Schema, path: Path) -> dict[str, Any]:
    """Return the settings in the metadata of a table of scores."""
    try:
        settings: dict[str, Any] = json.loads(schema.metadata[_METADATA_KEY])
    except (TypeError, KeyError, ValueError):
        raise TableError(path, "not a table of scores: its metadata hold no settings") from None
    return settings


def check_folder(folder: str | os.PathLike[str], settings: ScoreSettings) -> None:
    """Raise `InvalidValueError` where a folder holds scores of other settings: they do not belong into one table."""
    for shard in (Path(folder) / FOLDER).glob("[!.]*.parquet"):
        try:
            given = settings_of(Reader(shard).schema, shard)
        except TableError:
            continue  # damaged: `collect_scores` sets it aside, and another one tells
        if given != settings.to_dict():
            expected = f"a new folder, or one of scores with settings {settings.hash}"
            raise InvalidValueError("folder", str(folder), expected)
        return
