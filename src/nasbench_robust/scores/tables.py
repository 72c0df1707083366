"""Tables of scores: one tidy row for every score of a cell, and the settings that decide all of them. No torch.

Tables grow: those whose settings differ in the choice of scores alone belong together. What is there stays
as it is, what is lacking is added, and the metadata hold the lists of everything that was asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import InvalidValueError, TableError
from ..files import as_path, is_there
from ..metrics import Attack
from ..settings import build
from ..table import Reader
from .keys import ScoreKey
from .settings import CHOICE, LISTS, ScoreSettings

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
IDENTITY = ("index", "seed", *ScoreKey._fields)  # of a row
Units = dict[tuple[int, int], set[ScoreKey]]  # by index and seed: the scores that are there


def read_scores(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Return a table of scores as a data frame, and the settings that made it as nested dictionaries.

    Raises
    ------
    MissingDataError, TableError
        If there is no such file, or it is no table of scores.
    """
    table = Reader(path).read()
    return table.to_pandas(), settings_of(table.schema, Path(path))


def scored_units(path: str | os.PathLike[str], settings: ScoreSettings) -> Units:
    """Return which scores a file has of each cell and seed; nothing if there is no such file.

    Raises
    ------
    InvalidValueError
        If the file has scores of settings that differ in more than the choice of scores.
    """
    if not is_there(as_path(path)):
        return {}
    reader = Reader(path)
    check_settings("table", path, settings_of(reader.schema, Path(path)), settings)
    return units_of(reader.read(IDENTITY))


def settings_of(schema: pa.Schema, path: Path) -> dict[str, Any]:
    """Return the settings in the metadata of a table of scores."""
    try:
        settings = json.loads(schema.metadata[_METADATA_KEY])
    except (TypeError, KeyError, ValueError, RecursionError):
        settings = None
    if not isinstance(settings, dict):
        raise TableError(path, "not a table of scores: its metadata hold no settings")
    return settings


def with_settings(table: pa.Table, settings: dict[str, Any]) -> pa.Table:
    """Return a table with these settings in its metadata."""
    content = json.dumps(settings, sort_keys=True).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _METADATA_KEY: content})


def check_settings(kind: str, path: str | os.PathLike[str], stored: dict[str, Any], settings: ScoreSettings) -> None:
    """Raise `InvalidValueError` where the settings of a table or folder and others do not belong into one table."""
    if _union(stored, settings.to_dict()) is None:
        new = f"a new {'file' if kind == 'table' else kind}"
        raise InvalidValueError(kind, str(path), f"{new}, or one of scores with settings {settings.identity}")


def _union(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Return settings that choose what either of two chooses; None where they give one score two values."""
    same, others = ({name: value for name, value in each.items() if name not in CHOICE} for each in (first, second))
    lists = {}
    for name in LISTS:
        own = first.get(name, [])
        lists[name] = [*own, *(entry for entry in second.get(name, []) if entry not in own)]
    labels = [build(Attack, "attacks", attack).label for attack in lists["attacks"]]
    # Attacks of one label that differ in their steps, say, would be two scores under one key.
    if same != others or len(set(labels)) < len(labels):
        return None
    with_kernels = first.get("kernels", True) or second.get("kernels", True)
    return {**same, **lists, **({} if with_kernels else {"kernels": False})}


def units_of(table: pa.Table) -> Units:
    """Return the scores that a table has of each cell and seed."""
    units: Units = {}
    same: dict[ScoreKey, ScoreKey] = {}  # equal keys are one object: there are millions of rows
    for index, seed, *names in zip(*(table[name].to_pylist() for name in IDENTITY), strict=True):
        key = ScoreKey(*names)
        units.setdefault((index, seed), set()).add(same.setdefault(key, key))
    return units


def merged(tables: Sequence[pa.Table], paths: Sequence[Path]) -> pa.Table:
    """Return several tables as one; of a score that several have, the row of the first one stays.

    Raises
    ------
    TableError
        If a table has other columns than the first one, or settings that do not belong to those of the others.
    """
    settings = settings_of(tables[0].schema, paths[0])
    for table, path in zip(tables, paths, strict=True):
        union = _union(settings, settings_of(table.schema, path))
        if union is None or not table.schema.equals(tables[0].schema):
            raise TableError(path, "its settings differ from those of other shards, or its columns")
        settings = union
    table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables]).combine_chunks()
    repeated = table.select(IDENTITY).to_pandas().duplicated()
    return with_settings(table.filter(pa.array(~repeated)), settings)
