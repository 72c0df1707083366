"""From shards to a release: merge, refuse conflicts, set damaged files aside. Safe to run twice."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from .errors import MissingDataError, NasbenchRobustError, TableError
from .tables import Reader, ReleaseInfo, cells_table, write_table

__all__ = ["Collected", "ConflictError", "collect"]

log = logging.getLogger(__name__)

TABLES = ("runs", "curves", "outcomes")
# What may differ between two makings of the same run.
_CIRCUMSTANCES = frozenset(
    {"train_seconds", "eval_seconds", "peak_memory_mib", "device", "versions", "revision", "date"}
)
Key = tuple[Any, ...]


class ConflictError(NasbenchRobustError, ValueError):
    """Two files hold different results for the same run.

    Attributes
    ----------
    first, second : str
        The files.
    key : tuple
        Data set, index and seed.
    columns : tuple of str
        Where they differ.
    """

    def __init__(self, first: Path, second: Path, key: Key, columns: Sequence[str]) -> None:
        self.first, self.second, self.key, self.columns = str(first), str(second), key, tuple(columns)
        super().__init__(
            f"different results for {'/'.join(map(str, key))} in {', '.join(columns)}: {first} and {second}; "
            "keep one of the two files"
        )


@dataclass
class Collected:
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
        Damaged files, where they are now.
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
    merged = {name: _merge([Path(folder) for folder in folders], name, report) for name in TABLES}
    runs = merged["runs"]
    if runs is None:
        raise MissingDataError(f"no runs in {', '.join(map(str, folders))}", "check the folders")
    info = Reader(runs).info()
    report.runs = runs.num_rows
    columns = ["dataset", "index", "seed", "failure"]
    rows = runs.select(columns).to_pylist()
    report.failed = [tuple(row[column] for column in columns) for row in rows if row["failure"] is not None]
    _write(merged, info, Path(out))
    return report


def _write(merged: dict[str, pa.Table | None], info: ReleaseInfo, out: Path) -> None:
    for name in ("outcomes", "curves"):
        if merged[name] is not None:
            write_table(merged[name], out / f"{name}.parquet")
    write_table(cells_table(info), out / "cells.parquet")
    write_table(merged["runs"], out / "runs.parquet")


def _merge(folders: Sequence[Path], name: str, report: Collected) -> pa.Table | None:
    """Read all shards of one table and return them sorted, every key once."""
    kept: dict[Key, tuple[Path, pa.Table]] = {}
    schema = None
    for folder in folders:
        for path in sorted((folder / name).glob("*.parquet")):
            table = _read_or_quarantine(path, folder, report)
            if table is None:
                continue
            if schema is None:
                schema = table.schema
            elif not table.schema.equals(schema, check_metadata=True):
                raise TableError(path, "its columns or its release description differ from those of the other shards")
            _keep(kept, path, table, report if name == "runs" else None)
    if not kept:
        return None
    return pa.concat_tables([kept[key][1] for key in sorted(kept)]).combine_chunks()


def _keep(kept: dict[Key, tuple[Path, pa.Table]], path: Path, table: pa.Table, report: Collected | None) -> None:
    """Add a shard, unless another one says the same."""
    rows = table.to_pylist()
    key = tuple(rows[0][column] for column in ("dataset", "index", "seed"))
    if key not in kept:
        kept[key] = path, table
        return
    first, other = kept[key]
    different = sorted(
        {
            column
            for mine, theirs in zip(rows, other.to_pylist(), strict=False)
            for column in mine
            if column not in _CIRCUMSTANCES and mine[column] != theirs[column]
        }
    )
    if different or table.num_rows != other.num_rows:
        raise ConflictError(first, path, key, different or ["number of rows"])
    if report is not None:
        report.repeated += 1


def _read_or_quarantine(path: Path, folder: Path, report: Collected) -> pa.Table | None:
    """Return a shard's rows; move a file that cannot be read to ``quarantine/``, where nothing looks for rows."""
    try:
        table = Reader(path).read()
        if table.num_rows:
            return table
        problem = "holds no rows"
    except TableError as error:
        problem = error.problem
    aside = folder / "quarantine" / path.parent.name / path.name
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, aside)
    report.quarantined.append(aside)
    log.warning("%s: %s; moved to %s", path, problem, aside)
    return None
