"""From shards to a release: merge, refuse conflicts, set damaged runs aside. Safe to run twice.

A run is whole or it is not there: where one of its shards is damaged, all of them are set aside, so that the run counts
as missing and is made again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..arrays import Record
from ..errors import ConflictError, MissingDataError, TableError
from ..table import KEY, RUN_COLUMNS, Reader, ReleaseInfo, cells_table, concatenate, quarantine, same_kind, write_table

log = logging.getLogger(__name__)

TABLES = ("runs", "curves", "outcomes")
Key = tuple[Any, ...]
Kept = dict[Key, tuple[Path, pa.Table]]  # by run: a shard, and where it was found


@dataclass(repr=False)
class Collected(Record):
    """What a collection found.

    Attributes
    ----------
    runs : int
        Rows of the runs table that was written.
    failed : list of tuple
        Data set, index, seed and reason of runs without a result.
    repeated : int
        Files that said the same as another.
    quarantined : list of Path
        Files of damaged runs, where they are now.
    """

    runs: int = 0
    failed: list[tuple[str, int, int, str]] = field(default_factory=list)
    repeated: int = 0
    quarantined: list[Path] = field(default_factory=list)


def collect(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Collected:
    """Merge the shards of one or several folders into ``runs.parquet``, ``curves.parquet``, ... of a release.

    Parameters
    ----------
    folders : sequence of path
        Folders that `nasbench_robust.runs.write_run` wrote to; several if several clusters worked on one table.
    out : path
        Folder of the release; its tables are replaced, each in one step, once everything has been read and checked.

    Raises
    ------
    MissingDataError
        If there is no run in any folder.
    TableError
        If folders hold runs of different settings.
    ConflictError
        If two files disagree about a run. Nothing is written then.
    """
    report = Collected()
    kept = _read_all([Path(folder) for folder in folders], report)
    if not kept["runs"]:
        raise MissingDataError(f"no runs in {', '.join(map(str, folders))}", "check the folders")
    merged = {name: _merge(shards) for name, shards in kept.items() if shards}
    info = Reader(merged["runs"]).info()
    report.runs = merged["runs"].num_rows
    columns = [*KEY, "failure"]
    rows = merged["runs"].select(columns).to_pylist()
    report.failed = [tuple(row[column] for column in columns) for row in rows if row["failure"] is not None]
    _write(merged, info, Path(out))
    return report


def _write(merged: dict[str, pa.Table], info: ReleaseInfo, out: Path) -> None:
    for name in ("outcomes", "curves"):
        if name in merged:
            write_table(merged[name], out / f"{name}.parquet")
        else:  # that of an earlier collection is not about these runs
            (out / f"{name}.parquet").unlink(missing_ok=True)
    write_table(cells_table(info), out / "cells.parquet")
    write_table(merged["runs"], out / "runs.parquet")


def _merge(shards: Kept) -> pa.Table:
    """Return the shards of one table as one, sorted by run."""
    return concatenate([shards[key][1] for key in sorted(shards)])


def _read_all(folders: Sequence[Path], report: Collected) -> dict[str, Kept]:
    """Read the shards of all runs, every run once; what stands in ``curves`` or ``outcomes`` alone is no run."""
    kept: dict[str, Kept] = {name: {} for name in TABLES}
    schemas: dict[str, pa.Schema] = {}
    for folder in folders:
        for path in sorted((folder / "runs").glob("*.parquet")):
            tables = _read_or_quarantine(folder, path.name, report)
            for name, table in tables.items():
                place = folder / name / path.name
                if not same_kind(table.schema, schemas.setdefault(name, table.schema)):
                    raise TableError(place, "its columns or its release description differ from those of other shards")
                repeated = _keep(kept[name], place, table)
                report.repeated += repeated and name == "runs"
    return kept


def _keep(kept: Kept, path: Path, table: pa.Table) -> bool:
    """Add a shard, unless another one says the same; return whether one does."""
    key = _keys(table)[0]
    first, other = kept.setdefault(key, (path, table))
    if first == path:
        return False
    rows, others = table.to_pylist(), other.to_pylist()
    if len(rows) != len(others):
        raise ConflictError(first, path, key, ["number of rows"])
    compared = [name for name in table.column_names if name not in RUN_COLUMNS or not RUN_COLUMNS[name].circumstance]
    different = [name for name in compared if any(a[name] != b[name] for a, b in zip(rows, others, strict=True))]
    if different:
        raise ConflictError(first, path, key, sorted(different))
    return True


def _keys(table: pa.Table) -> list[Key]:
    """Return the runs that a shard holds, which is one if it is sound."""
    rows = zip(*(table.column(name).to_pylist() for name in KEY), strict=True)
    return list(dict.fromkeys(rows))


def _read_or_quarantine(folder: Path, name: str, report: Collected) -> dict[str, pa.Table]:
    """Return the tables of the run in the files called `name`; if one is damaged, set all aside and return none."""
    tables: dict[str, pa.Table] = {}
    for table in TABLES:
        path = folder / table / name
        try:
            if path.exists():
                tables[table] = _read_shard(path, tables.get("runs"))
        except TableError as error:
            log.warning("%s; its run is set aside and counts as missing", error)
            report.quarantined += quarantine(folder, TABLES, name)
            return {}
    return tables


def _read_shard(path: Path, run: pa.Table | None) -> pa.Table:
    """Read a shard that holds the rows of one run, that of `run` if it is given."""
    table = Reader(path).read()
    if not table.num_rows or not set(KEY) <= set(table.column_names):
        raise TableError(path, "holds no rows of a run")
    keys = _keys(table)
    if len(keys) > 1 or (run is not None and keys != _keys(run)):
        raise TableError(path, "holds rows of another run")
    return table
