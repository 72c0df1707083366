"""A folder of runs kept small: its files moved into the tables of a commit, while others go on working there."""

from __future__ import annotations

import os
from functools import partial
from itertools import islice
from pathlib import Path

from ..errors import MissingDataError
from ..files import commit, expose_again, latest
from ..table import RUNS, Reader, loose_runs, read_loose
from .collecting import Collected, files_of, merge_sources, read_folder, set_aside, write_tables

_MANY, _SOME = 2000, 100


def compact(folder: str | os.PathLike[str]) -> Collected:
    """Move the runs of a folder into the tables of a commit; others may work on in it, and compact it as well.

    Raises
    ------
    MissingDataError, UnreadableError, TableError
        As for `collect`. Nothing is changed then.
    """
    report = Collected()
    while True:
        report = Collected(quarantined=report.quarantined)
        source = read_folder(Path(folder), report)
        if source is None:
            set_aside(report)
            raise MissingDataError(f"no runs in {folder}", "check the folder")
        tables, info = merge_sources([source], report)
        report.describe(tables[RUNS])
        set_aside(report)
        if not source.loose:
            return report
        write = partial(write_tables, tables, info)
        known = source.state is not None and report.repeated == len(source.loose)  # one before was ended too soon
        if known or commit(source.folder, write, source.state) is not None:
            for path in source.loose.values():
                for each in files_of(source.folder, path):  # without the first, the others are no run
                    each.unlink(missing_ok=True)
            expose_again(source.folder)
            return report


def compact_many(folder: str | os.PathLike[str]) -> None:
    """Compact a folder in which so many runs are in files of their own that looking at them takes seconds."""
    if len(loose_runs(Path(folder))) >= _MANY:
        compact(folder)


def peak_memory(folder: Path) -> float | None:
    """Return the most memory that runs of a folder took, in MiB, going by those that are compacted or by some."""
    state = latest(folder)
    if state is not None:
        column = Reader(state.folder / "runs.parquet").read(["peak_memory_mib"])
        return max(filter(None, column["peak_memory_mib"].to_pylist()), default=None)
    some = map(partial(read_loose, folder), islice(loose_runs(folder).values(), _SOME))
    return max((run.row["peak_memory_mib"] for run in some if run and run.row.get("peak_memory_mib")), default=None)
