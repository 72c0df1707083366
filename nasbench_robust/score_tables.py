"""Scores on disk: one tidy table, a row for every score of a cell; shards for what is under way. No torch.

A folder of scores belongs to one set of settings and holds ``scores/``, one Parquet file per cell and seed, which
`worklists` and `runs.shard_name` name as they name the shards of training runs.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from . import provenance
from .errors import InvalidValueError, TableError
from .runs import shard_name
from .tables import Reader, write_table

if TYPE_CHECKING:
    from .scoring import Scored, ScoreSettings

__all__ = ["FOLDER", "SCORES_SCHEMA", "collect_scores", "read_scores", "settings_of", "write_scores"]

FOLDER = "scores"
_METADATA_KEY = b"nasbench_robust_scores"
_TEXT = pa.dictionary(pa.int32(), pa.string())
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
    return value if value is None or float(value).is_integer() else float(np.float32(value))


def collect_scores(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """Merge the shards of a folder into one file, sorted by cell and seed, and return the number of its rows.

    Raises
    ------
    MissingDataError
        If there are no shards.
    TableError
        If a shard is damaged, or of other settings than the others.
    """
    table = Reader(Path(folder) / FOLDER).read()
    settings_of(table.schema, Path(folder) / FOLDER)
    order: Any = np.lexsort([table.column(name).to_numpy() for name in ("index", "seed")])
    write_table(table.take(pa.array(order)), path)
    return int(table.num_rows)


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
        raise TableError(path, "is not a table of scores: its metadata hold no settings") from None
    return settings


def check_folder(folder: str | os.PathLike[str], settings: ScoreSettings) -> None:
    """Raise `InvalidValueError` where a folder holds scores of other settings: they do not belong into one table."""
    shards = Path(folder) / FOLDER
    some = next(shards.glob("[!.]*.parquet"), None) if shards.is_dir() else None
    if some is not None and settings_of(Reader(some).schema, some) != settings.to_dict():
        raise InvalidValueError("folder", str(folder), f"a new folder, or one of scores with settings {settings.hash}")
