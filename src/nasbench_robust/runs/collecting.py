"""From the files of runs to the tables of a release, in one commit: merge, refuse conflicts, set damaged runs aside.

`collect` makes a release of folders and releases. It may be repeated, and may be going on twice.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..arrays import Record
from ..errors import ConflictError, InvalidValueError, MissingDataError, TableError
from ..files import Commit, as_path, commit, expose, is_there, latest, read_steadily
from ..table import (
    CURVES_SCHEMA,
    FORMAT,
    KEY,
    OUTCOMES_SCHEMA,
    RUN_COLUMNS,
    RUNS,
    Reader,
    ReleaseInfo,
    StoredRun,
    cells_table,
    concatenate,
    is_run_folder,
    loose_runs,
    merged_info,
    quarantine,
    read_loose,
    release_info_of,
    runs_of,
    runs_schema,
    shard_file,
    tables_of,
    whole,
    write_table,
)

log = logging.getLogger(__name__)

TABLES = (RUNS, "curves", "outcomes")
_RUNS_FILE = "runs.parquet"
_BATCH = 2000  # runs in memory at a time, before they become tables
Key = tuple[str, int, int]


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
        Runs that were there more than once, and said the same.
    quarantined : list of Path
        Files of damaged runs, where they are now.
    incomplete : list of Path
        Files of runs, of the first version, that lack their curve or outcomes: the runs count as missing.
    damaged : list of tuple
        Folders and files of damaged runs that are still where they were.
    """

    runs: int = 0
    failed: list[tuple[str, int, int, str]] = field(default_factory=list)
    repeated: int = 0
    quarantined: list[Path] = field(default_factory=list)
    incomplete: list[Path] = field(default_factory=list)
    damaged: list[tuple[Path, Path]] = field(default_factory=list)

    def describe(self, runs: pa.Table) -> None:
        """Take the number of runs of a table, and which of them failed."""
        self.runs = runs.num_rows
        failed = runs.filter(runs.column("failure").is_valid()).select([*KEY, "failure"])
        self.failed = list(zip(*(column.to_pylist() for column in failed.columns), strict=True))


@dataclass(frozen=True, eq=False)
class Source:
    """What one folder holds."""

    folder: Path
    state: Commit | None
    loose: dict[str, Path]  # that were read
    tables: dict[str, pa.Table]
    info: ReleaseInfo

    def place(self, key: Key) -> Path:
        """Return the file that holds a run."""
        base = self.state.folder if self.state else self.folder
        return self.loose.get(shard_file(*key), base / _RUNS_FILE)


def collect(
    folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], names: Sequence[str] = ()
) -> Collected:
    """Merge folders of runs, and releases, into one release.

    Where they hold one data set under several settings, its rows are of as many data sets in the release,
    ``digits@short`` and ``digits@long``.

    Parameters
    ----------
    folders : sequence of path
        Folders that `nasbench_robust.runs.write_run` wrote to, or releases.
    out : path
        Folder of the release. Its tables are replaced in one step, once everything has been read and checked.
    names : sequence of str, optional
        What the settings of each folder are called behind the ``@``; by default the first digits of their hash.

    Raises
    ------
    MissingDataError
        If there is no run in any folder.
    UnreadableError
        If a file cannot be read now. Nothing is changed then.
    TableError
        If tables do not go together.
    ConflictError
        If two files disagree about a run. Nothing is written then.
    """
    if names and (len(set(names)) < len(folders) or not all(re.fullmatch(r"[\w.-]+", name) for name in names)):
        expected = "a different name for each folder, of letters, digits, '.', '_' and '-'"
        raise InvalidValueError("names", list(names), expected)
    target, labels = release_folder(out), dict(zip(map(Path, folders), names, strict=True)) if names else {}
    report = Collected()
    while True:
        before = latest(target)  # before all else: what is read later is not older than that
        report = Collected(quarantined=report.quarantined)
        sources = read_folders(map(Path, folders), report)
        tables, info = merge_sources(tell_apart(sources, labels), report)
        report.describe(tables[RUNS])
        set_aside(report)
        if commit(target, partial(write_tables, tables, info), before) is not None:
            expose(target)
            return report


def release_folder(out: str | os.PathLike[str]) -> Path:
    """Return the folder of a release; refuse one in which a table is being made: its runs would be replaced."""
    path = as_path(out, "out")
    if is_run_folder(path):
        raise InvalidValueError("out", str(path), "another folder than one of runs, which merge adds to")
    return path


def read_folders(folders: Iterable[Path], report: Collected) -> list[Source]:
    """Read folders; refuse one that is none of runs and no release, as by a wrong name, and where no run is at all."""
    sources = []
    for folder in folders:
        source = read_folder(folder, report)
        if source is None and not is_run_folder(folder):
            raise MissingDataError(f"no runs in {folder}", "check the folder")
        sources += [] if source is None else [source]
    if not sources:
        set_aside(report)
        raise MissingDataError("no runs in any of the folders", "check them")
    return sources


def write_tables(tables: dict[str, pa.Table], info: ReleaseInfo, folder: Path) -> dict[str, Any]:
    """Write the tables of a release and return what its manifest says of it."""
    for name, table in {**tables, "cells": cells_table(info)}.items():
        if table.num_rows:
            write_table(table, folder / f"{name}.parquet")
    return {"name": info.name, "version": info.version, "format": FORMAT}


# ------------------------------------------------------------------ reading


def read_folder(folder: Path, report: Collected) -> Source | None:
    """Read all runs of a folder, or None where there are none; what is compacted stands before what is not."""

    def read() -> tuple[Source | None, Collected]:
        mine = Collected()
        return _read_once(folder, mine), mine

    source, found = read_steadily(folder, read)
    report.repeated += found.repeated
    report.incomplete += found.incomplete
    report.damaged += found.damaged
    return source


def _read_once(folder: Path, report: Collected) -> Source | None:
    loose, state = loose_runs(folder), latest(folder)  # in this order: what is compacted between them is in the commit
    base = whole(state).folder if state is not None else folder
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    info, known = None, frozenset[str]()
    if is_there(base / _RUNS_FILE):
        info = Reader(base / _RUNS_FILE).info()
        for name in TABLES:
            if is_there(base / f"{name}.parquet"):
                parts[name].append(_plain(Reader(base / f"{name}.parquet").read()))
        known = frozenset(shard_file(*key) for key in _keys(parts[RUNS][0]))
    read: dict[str, Path] = {}
    for batch in _batches(_sound_runs(folder, loose, report)):
        info = info or release_info_of([batch[0][1]])
        read |= {path.name: path for path, _ in batch}
        for path, run in batch:
            if run.row.get("settings") not in info.settings:
                raise TableError(
                    path, f"is a run of settings {run.row.get('settings')}, not {', '.join(info.settings)}"
                )
        new = [run for path, run in batch if path.name not in known]
        report.repeated += len(batch) - len(new)
        for name, table in tables_of(new, info).items():
            parts[name].append(table)
    if info is None:
        return None
    tables = {name: concatenate(tables) for name, tables in parts.items() if tables}
    return Source(folder, state, read, tables, info)


def _sound_runs(folder: Path, loose: dict[str, Path], report: Collected) -> Iterator[tuple[Path, StoredRun]]:
    """Yield the runs of files; note what is damaged, and what is not whole."""
    for path in loose.values():
        try:
            run = read_loose(folder, path)
        except TableError as error:
            log.warning("%s; its run is set aside and counts as missing", error)
            report.damaged.append((folder, path))
            continue
        if run is None:
            log.warning("%s has no curve or no outcomes: its run counts as missing", path)
            report.incomplete.append(path)
        else:
            yield path, run


def set_aside(report: Collected) -> None:
    """Move what was found damaged to quarantine, once everything else could be read."""
    for folder, path in report.damaged:
        for each in files_of(folder, path):
            with suppress(FileNotFoundError):  # old runs may lack the others, and another collector moves them too
                report.quarantined.append(quarantine(folder, each))
    report.damaged.clear()


def files_of(folder: Path, path: Path) -> list[Path]:
    """Return the file of a run, or the files that it has in folders of the first version, that in ``runs`` first."""
    beside = [folder / table / path.name for table in TABLES[1:]] if path.parent.name == RUNS else []
    return [path, *beside]


def _batches(runs: Iterable[tuple[Path, StoredRun]]) -> Iterator[list[tuple[Path, StoredRun]]]:
    runs = iter(runs)
    while batch := list(islice(runs, _BATCH)):
        yield batch


def _keys(table: pa.Table) -> list[Key]:
    """Return the run of every row."""
    return list(zip(*(table.column(name).to_pylist() for name in KEY), strict=True))


def _plain(table: pa.Table) -> pa.Table:
    """Return a table whose names of data sets are text, however a reader encodes them."""
    position = table.schema.get_field_index("dataset")
    return table.set_column(
        position, pa.field("dataset", pa.string(), False), table.column("dataset").cast(pa.string())
    )


# ------------------------------------------------------------------ several settings


def tell_apart(sources: Sequence[Source], labels: dict[Path, str]) -> list[Source]:
    """Give a data set that was trained on under several settings a name for each of them."""
    settings = [_settings_by_dataset(source) for source in sources]
    all_of: dict[str, set[str]] = {}
    for each in settings:
        for name, stored in each.items():
            all_of.setdefault(name, set()).update(stored)
    ambiguous = {name for name, stored in all_of.items() if len(stored) > 1}
    named: dict[str, str] = {}  # by settings, what a release calls them already
    for each in settings:
        for name, stored in each.items():
            if "@" in name and len(stored) == 1:
                named.setdefault(next(iter(stored)), name)
    renamed = []
    for source, each in zip(sources, settings, strict=True):
        new = {name: named[one] for name, stored in each.items() for one in stored if named.get(one, name) != name}
        for name in (ambiguous & each.keys()) - new.keys():
            label = labels.get(source.folder) or "-".join(sorted(stored[:8] for stored in each[name]))
            new[name] = f"{name}@{label}"
        renamed.append(_renamed(source, new) if new else source)
    return renamed


def _settings_by_dataset(source: Source) -> dict[str, set[str]]:
    runs, found = source.tables[RUNS], dict[str, set[str]]()
    pairs = zip(runs.column("dataset").to_pylist(), runs.column("settings").to_pylist(), strict=True)
    for name, stored in set(pairs):
        found.setdefault(name, set()).add(stored or source.info.name)
    return found


def _renamed(source: Source, names: dict[str, str]) -> Source:
    tables = {}
    for name, table in source.tables.items():
        column = pa.array([names.get(each, each) for each in table.column("dataset").to_pylist()], pa.string())
        tables[name] = table.set_column(table.schema.get_field_index("dataset"), table.schema.field("dataset"), column)
    datasets = {names.get(name, name): described for name, described in source.info.datasets.items()}
    return replace(source, tables=tables, info=replace(source.info, datasets=datasets))


# ------------------------------------------------------------------ merging


def merge_sources(sources: Sequence[Source], report: Collected) -> tuple[dict[str, pa.Table], ReleaseInfo]:
    """Return the tables of all sources as one set, every run once, in the order of data set, index and seed."""
    info = merged_info([source.info for source in sources], [source.folder for source in sources])
    owner: dict[Key, int] = {}
    for number, source in enumerate(sources):
        repeated = {key for key in _keys(source.tables[RUNS]) if owner.setdefault(key, number) != number}
        report.repeated += len(repeated)
        for other in sorted({owner[key] for key in repeated}):
            _compare(sources[other], source, {key for key in repeated if owner[key] == other})
    merged = {}
    for name in TABLES:
        parts = []
        for number, source in enumerate(sources):
            if name in source.tables:
                table = source.tables[name]
                parts.append(table if len(sources) == 1 else table.filter(_mask(table, owner, number)))
        if parts:
            merged[name] = _ordered(_conformed(concatenate(parts), info, name), info)
    return merged, info


def _mask(table: pa.Table, owner: dict[Key, int], number: int) -> pa.Array:
    return pa.array([owner.get(key) == number for key in _keys(table)], pa.bool_())


def _conformed(table: pa.Table, info: ReleaseInfo, name: str) -> pa.Table:
    """Return a table with the columns of a release of this description."""
    schema = {RUNS: runs_schema(info), "curves": CURVES_SCHEMA, "outcomes": OUTCOMES_SCHEMA}[name]
    for column in schema:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(len(table), column.type))
    release = pa.array(np.repeat(info.name, len(table)), pa.string())
    table = table.set_column(table.schema.get_field_index("release"), schema.field("release"), release)
    return table.select(schema.names).cast(schema)


def _ordered(table: pa.Table, info: ReleaseInfo) -> pa.Table:
    """Return a table in the order of its runs; the rows of one keep theirs."""
    place = {name: number for number, name in enumerate(info.datasets)}
    names = table.column("dataset").combine_chunks().dictionary_encode()
    datasets = np.array([place[name] for name in names.dictionary.to_pylist()], np.int64)[names.indices.to_numpy()]
    seeds = table.column("seed").fill_null(2**31 - 1).to_numpy()  # a mean over seeds comes last
    order = np.lexsort([seeds, table.column("index").to_numpy(), datasets])
    return table if (order[:-1] < order[1:]).all() else table.take(pa.array(order))


def _compare(one: Source, other: Source, keys: set[Key]) -> None:
    """Raise `ConflictError` unless both say the same of runs, but for the circumstances in which they were made."""
    firsts, seconds = ({run.key[:3]: run for run in _some(source, keys)} for source in (one, other))
    for key in sorted(keys):
        first, second = firsts[key], seconds[key]
        names = first.row.keys() | second.row.keys()
        compared = {name for name in names if name not in RUN_COLUMNS or not RUN_COLUMNS[name].circumstance}
        different = {name for name in compared - {"release"} if first.row.get(name) != second.row.get(name)}
        different |= set() if np.array_equal(first.curve, second.curve) else {"curve"}
        different |= {"outcomes"} if first.outcomes != second.outcomes else set()
        if different:
            raise ConflictError(one.place(key), other.place(key), key, sorted(different))


def _some(source: Source, keys: set[Key]) -> Iterator[StoredRun]:
    """Yield the runs of some keys."""
    tables = {}
    for name, table in source.tables.items():
        mine = table.filter(pa.array([key in keys for key in _keys(table)], pa.bool_()))
        if mine.num_rows:
            tables[name] = mine
    return runs_of(tables, source.info.settings, source.folder)
