"""Folders in which a table is being made: runs in files of their own, and a commit of those that were compacted.

``runs/093/digits-09312-0.parquet`` is a run, see `run_files`. `compact` moves runs into the tables of a commit, see
`files.commits`. Folders of the first version are read as they are: there a run is three files, one called alike in each
of ``runs/``, ``curves/`` and ``outcomes/``.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import MissingDataError, TableError
from ..files import Commit, entries, is_folder, is_there, latest, read_steadily
from .describing import release_info_of
from .files import Reader, concatenate
from .run_files import Outcome, StoredRun, read_run_file, tables_of
from .schema import CURVE_COLUMNS, CURVES_SCHEMA, OUTCOMES_SCHEMA, runs_table
from .shards import KEY, RUNS, is_run_folder, shard_file

log = logging.getLogger(__name__)

_OLD = ("curves", "outcomes")  # beside runs, in folders of the first version
_NAME = re.compile(r".+-\d+-\d+\.parquet")  # see `shard_file`


def run_path(folder: Path, name: str) -> Path:
    """Return where the file of a run belongs, given what `shard_name` calls it: a few hundred files to a folder."""
    return folder / RUNS / f"{int(name.rsplit('-', 2)[1]) // 100:03d}" / name


def loose_runs(folder: Path) -> dict[str, Path]:
    """Return the files of runs that are not compacted, by what `shard_name` calls them, in the order of the names."""
    found: dict[str, Path] = {}
    for entry in _files_of_runs(folder):
        found.setdefault(entry.name, Path(entry.path))
    return dict(sorted(found.items()))


def _files_of_runs(folder: Path) -> Iterator[os.DirEntry[str]]:
    top = entries(folder / RUNS)
    below = (Path(entry.path) for entry in top if not entry.name.endswith(".parquet"))
    for entry in chain(top, *map(entries, below)):
        if entry.name.endswith(".parquet"):
            yield entry


def committed_runs(folder: Path) -> frozenset[str]:
    """Return what `shard_name` calls the runs of a folder that are compacted."""

    def read() -> frozenset[str]:
        state = latest(folder)
        return frozenset() if state is None else _names_in(state)

    return read_steadily(folder, read)


@lru_cache(maxsize=4)  # a commit never changes
def _names_in(state: Commit) -> frozenset[str]:
    columns = Reader(state.folder / "runs.parquet").read(list(KEY)).columns
    return frozenset(map(shard_file, *(column.to_pylist() for column in columns)))


def present_runs(folder: Path) -> set[str]:
    """Return what `shard_name` calls the runs that a folder holds, compacted or not, going by their names.

    A run of the first version whose curve or outcomes are missing is not there, unless it failed and has none.
    """
    loose = loose_runs(folder)  # first: what is compacted meanwhile is in the commit then
    flat = {name: path for name, path in loose.items() if path.parent.name == RUNS}
    beside = [{entry.name for entry in entries(folder / table)} for table in _OLD] if flat else []
    whole = {name for name in loose if name not in flat or all(name in names for names in beside)}
    return whole | {name for name in flat.keys() - whole if _has_failed(flat[name])} | committed_runs(folder)


def has_run(folder: Path, name: str) -> bool:
    """Return whether a folder holds the run of this name."""
    if is_there(run_path(folder, name)) or name in committed_runs(folder):
        return True
    flat = folder / RUNS / name
    return is_there(flat) and (all(is_there(folder / table / name) for table in _OLD) or _has_failed(flat))


def _has_failed(path: Path) -> bool:
    try:
        return bool(Reader(path).read(["failure"]).column("failure").null_count == 0)
    except (TableError, FileNotFoundError):
        return True  # damaged: `collect` says so and sets it aside


def settings_in(folder: Path) -> str | None:
    """Return the hash of the settings of a folder's runs, going by any one of them; None where there is none."""
    return read_steadily(folder, lambda: _settings_in(folder))


def _settings_in(folder: Path) -> str | None:
    state = latest(folder)
    if state is not None:
        return next(iter(Reader(state.folder / "runs.parquet").info().settings), None)
    for entry in _files_of_runs(folder):
        path = Path(entry.path)
        with suppress(FileNotFoundError):  # compacted meanwhile
            if path.parent.name == RUNS:
                return next(iter(Reader(path).info().settings), None)
            return str(read_run_file(path).row["settings"])
    state = latest(folder)
    return None if state is None else next(iter(Reader(state.folder / "runs.parquet").info().settings), None)


def read_loose(folder: Path, path: Path) -> StoredRun | None:
    """Read the run of a file; None where parts of it, of the first version, are not there.

    Raises
    ------
    FileNotFoundError
        If the file is gone: compacted by another process.
    UnreadableError
        If a file cannot be read now.
    TableError
        If it is damaged, contradicts itself, or is another run than its name says.
    """
    run = _read_old(folder, path) if path.parent.name == RUNS else read_run_file(path)
    if run is not None and shard_file(*run.key[:3]) != path.name:
        raise TableError(path, "holds rows of another run than its name says")
    return run


def _read_old(folder: Path, path: Path) -> StoredRun | None:
    """Read a run of the first version, three files."""
    if not is_there(path):
        raise FileNotFoundError(path)
    reader = Reader(path)
    tables = {RUNS: reader.read()}
    failed = "failure" in reader.schema.names and tables[RUNS].column("failure").null_count == 0
    for name in _OLD:
        beside = folder / name / path.name
        if is_there(beside):
            tables[name] = Reader(beside).read()
        elif not failed:
            return None
    [run, *others] = runs_of(tables, reader.info().settings, path)
    if others:
        raise TableError(path, "holds rows of several runs")
    if problem := run.problem():
        raise TableError(path, f"its files contradict each other: {problem}")
    return run


def runs_of(tables: dict[str, pa.Table], settings: dict[str, dict[str, Any]], path: Path) -> Iterator[StoredRun]:
    """Yield the runs of tables of a release, with their curves and outcomes."""
    for table in tables.values():
        if not table.num_rows or not set(KEY) <= set(table.column_names):
            raise TableError(path, "holds no rows of a run")
    curves, outcomes = (_by_run(tables.get(name)) for name in _OLD)
    for full in tables[RUNS].to_pylist():
        row = {name: value for name, value in full.items() if value is not None}
        key = tuple(row.get(name) for name in KEY)
        curve = curves.pop(key, [])
        yield StoredRun(
            row,
            settings.get(row.get("settings", ""), {}),
            np.array([epoch["epoch"] for epoch in curve], np.int64),
            np.array([[epoch[name] for name in CURVE_COLUMNS] for epoch in curve]).reshape(-1, len(CURVE_COLUMNS)),
            curve[0]["split"] if curve else "",
            [Outcome(each["metric"], each["images"], each["correct"]) for each in outcomes.pop(key, [])],
        )
    if left := {**curves, **outcomes}:
        raise TableError(path, f"has curves or outcomes of another run: {next(iter(left))}")


def _by_run(table: pa.Table | None) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.to_pylist() if table is not None else ():
        found.setdefault(tuple(row[name] for name in KEY), []).append(row)
    return found


def whole(state: Commit) -> Commit:
    """Return a commit, or raise `TableError` where files of it are missing."""
    if (problem := state.problem()) is not None and is_there(state.folder):
        raise TableError(state.folder, f"{problem}; nasbench-robust repair goes back to the state before")
    return state


def open_folder(folder: Path) -> Reader:
    """Open the runs table of a folder; parameters and errors are those of `open_table`."""
    if folder.name == RUNS and is_folder(folder) and not is_run_folder(folder):
        folder = folder.parent
    if not is_run_folder(folder) and latest(folder) is None:
        return Reader(folder)
    return read_steadily(folder, lambda: _open_folder(folder))


def read_beside(folder: Path, name: str) -> pa.Table:
    """Return the table ``curves`` or ``outcomes`` of all runs of a folder; errors are those of `open_table`."""
    return read_steadily(folder, lambda: _read_beside(folder, name))


def _read_beside(folder: Path, name: str) -> pa.Table:
    loose, state = loose_runs(folder), latest(folder)
    known = frozenset() if state is None else _names_in(state)
    read = [read_loose(folder, path) for file, path in loose.items() if file not in known]
    runs = [run for run in read if run is not None]
    tables = [tables_of(runs, release_info_of(runs))[name]] if runs else []
    if state is not None:
        before = Reader(whole(state).folder / f"{name}.parquet").read()
        plain = {"curves": CURVES_SCHEMA, "outcomes": OUTCOMES_SCHEMA}[name]  # what is read names data sets by number
        tables.insert(0, before.cast(pa.schema([plain.field(column) for column in before.column_names])))
    return concatenate(tables)


def _open_folder(folder: Path) -> Reader:
    loose = loose_runs(folder)  # before the commit: what is compacted meanwhile is in the commit then
    state = latest(folder)
    if state is None and not any(map(_NAME.fullmatch, loose)):
        return Reader(folder / RUNS)  # shards of a table, however they are called
    base = None if state is None else Reader(whole(state).folder / "runs.parquet")
    known = frozenset() if state is None else _names_in(state)
    new = {name: path for name, path in loose.items() if name not in known}
    if not new and base is not None:
        return base
    info, rows = None if base is None else base.info(), []
    for path in new.values():
        if (run := read_loose(folder, path)) is not None:
            info = info or release_info_of([run])
            rows.append(run.row)  # and not the rest, which takes ten times the memory
            if run.row.get("settings") not in info.settings:
                stored = ", ".join(info.settings)
                raise TableError(path, f"is a run of settings {run.row.get('settings')}, in a folder of {stored}")
    if info is None:
        raise MissingDataError(f"no run in {folder} is whole", "nasbench-robust repair says what is missing")
    table = runs_table(info, rows)
    if base is not None:
        before = base.read()
        fields = [field for field in table.schema if field.name in before.column_names]  # an older format has fewer
        table = concatenate([before.cast(pa.schema(fields, table.schema.metadata)), table])
    return Reader(table, place=folder)
