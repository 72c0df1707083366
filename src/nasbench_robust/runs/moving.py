"""Tables as people move them: folders put together, a part of a table cut out, and what to do about what is broken."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from ..arrays import Record
from ..cells import Cell
from ..errors import InvalidValueError, MissingDataError, MissingResultError, TableError, UnreadableError
from ..files import (
    COMMITS,
    as_path,
    commit,
    entries,
    expose,
    expose_again,
    is_abandoned,
    is_folder,
    is_there,
    latest,
    sweep,
)
from ..table import RUNS, Reader, has_run, is_run_folder, loose_runs, quarantine, read_loose, verify
from .collecting import (
    Collected,
    files_of,
    merge_sources,
    read_folder,
    read_folders,
    release_folder,
    set_aside,
    write_tables,
)
from .requests import adopt_requests
from .worklists import is_claimed


def merge(folders: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Collected:
    """Put folders of runs of the same settings together in one, in which more runs can be made.

    Parameters
    ----------
    folders : sequence of path
        Folders of runs, or releases; they stay as they are, but for damaged runs, which are set aside.
    out : path
        The folder; what is there already stays, and is one of those that are put together.

    Raises
    ------
    MissingDataError, UnreadableError, TableError, ConflictError
        As for `runs.collect`. Nothing is changed then.
    """
    target, report = as_path(out, "out"), Collected()
    while True:
        report, before = Collected(quarantined=report.quarantined), latest(target)
        there = read_folder(target, report)
        others = [path for path in map(Path, folders) if os.path.realpath(path) != os.path.realpath(target)]
        sources = [*([] if there is None else [there]), *(read_folders(others, report) if others else [])]
        settings = {name for source in sources for name in source.info.settings}
        if len(settings) > 1:
            raise TableError(target, f"would hold runs of several settings, {', '.join(sorted(settings))}: see collect")
        tables, info = merge_sources(sources, report)
        report.describe(tables[RUNS])
        set_aside(report)
        (target / RUNS).mkdir(parents=True, exist_ok=True)
        if commit(target, lambda folder: write_tables(tables, info, folder), before) is not None:  # noqa: B023
            expose_again(target)
            adopt_requests(others, target)
            return report


def split(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    datasets: Collection[str] | None = None,
    cells: Collection[int] | None = None,
    seeds: Collection[int] | None = None,
) -> int:
    """Write some of the runs of a release, or of a folder of runs, as a release of their own; return their number.

    Parameters
    ----------
    folder : path
        It stays as it is.
    out : path
        Folder of the release.
    datasets, cells, seeds : collection, optional
        What is taken: names of data sets as the release has them, indices of cells, seeds. By default all.

    Raises
    ------
    MissingDataError, UnreadableError, TableError
        If there is no table, or it cannot be read.
    MissingResultError
        If none of the runs is one of those.
    """
    source = read_folder(as_path(folder, "folder"), Collected())
    if source is None:
        raise MissingDataError(f"no runs in {folder}", "check the folder")
    if datasets is not None and (strangers := set(datasets) - source.info.datasets.keys()):
        raise InvalidValueError("datasets", sorted(strangers), f"some of {', '.join(source.info.datasets)}")
    wanted = {
        "dataset": datasets,
        "index": None if cells is None else {Cell.from_index(index).representative for index in cells},
        "seed": seeds,
    }
    tables = {name: _some_rows(table, wanted) for name, table in source.tables.items()}
    if not tables[RUNS].num_rows:
        raise MissingResultError(f"{folder} has no such runs")
    there = {name: set(tables[RUNS].column(name).to_pylist()) for name in ("dataset", "settings")}
    info = replace(
        source.info,
        datasets={name: value for name, value in source.info.datasets.items() if name in there["dataset"]},
        settings={name: value for name, value in source.info.settings.items() if name in there["settings"]},
    )
    part, info = merge_sources([replace(source, tables=tables, info=info)], Collected())
    target, state = release_folder(out), None
    while state is None:
        state = commit(target, lambda place: write_tables(part, info, place), latest(target))
    expose(target)
    return int(part[RUNS].num_rows)


def _some_rows(table: pa.Table, wanted: dict[str, Collection[str] | Collection[int] | None]) -> pa.Table:
    for name, values in wanted.items():
        if values is not None:
            chosen = set(values)
            table = table.filter(pa.array([value in chosen for value in table.column(name).to_pylist()], pa.bool_()))
    return table


@dataclass(repr=False)
class Repaired(Record):
    """What a repair found.

    Attributes
    ----------
    runs : int
        Runs that are whole.
    quarantined : list of Path
        Files that are damaged; where they are now, or where they still are if nothing was to be changed.
    incomplete : list of Path
        Files of runs that lack their curve or outcomes.
    removed : list of Path
        What dead processes left, and checkpoints of runs that are there.
    problems : list of str
        What only a person can repair, and how.
    """

    runs: int = 0
    quarantined: list[Path] = field(default_factory=list)
    incomplete: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def repair(folder: str | os.PathLike[str], *, dry_run: bool = False) -> Repaired:
    """Set aside what is damaged in a folder of runs, or a release, and remove what dead processes left.

    Parameters
    ----------
    folder : path
        What is whole stays as it is.
    dry_run : bool
        Whether to say what would be done, and to do nothing.

    Raises
    ------
    MissingDataError
        If there is no table.
    UnreadableError
        If a file cannot be read now. Nothing that is not damaged is ever touched.
    """
    path, report = as_path(folder, "folder"), Repaired()
    if not is_run_folder(path) and latest(path) is None and not is_there(path / "runs.parquet"):
        raise MissingDataError(f"no runs.parquet and no folder {RUNS} with runs in {path}", "check the path")
    _repair_commits(path, report, dry_run)
    for file in loose_runs(path).values():
        try:
            run = read_loose(path, file)
        except FileNotFoundError:  # compacted meanwhile
            continue
        except TableError:
            damaged = [each for each in files_of(path, file) if is_there(each)]
            report.quarantined += damaged if dry_run else [quarantine(path, each) for each in damaged]
        else:
            report.runs += run is not None
            report.incomplete += [file] if run is None else []
    for left in _left(path):
        report.removed.append(left)
        if not dry_run:
            left.unlink(missing_ok=True)
    return report


def _repair_commits(path: Path, report: Repaired, dry_run: bool) -> None:
    """Go back to the state before where the last one is damaged; `verify` says of the older what it says of it."""
    if not dry_run and is_folder(path / COMMITS):
        report.removed += sweep(path)
    while (state := latest(path)) is not None or is_there(path / "runs.parquet"):
        tables = path if state is None else state.folder
        problems = verify(tables) if state is None or state.problem() is None else [f"{tables}: {state.problem()}"]
        if not problems:
            report.runs += Reader(tables / "runs.parquet").read([]).num_rows
            return
        report.problems += problems
        older = state is not None and is_there(state.folder.parent / f"{state.number - 1:08d}")
        if dry_run and older:
            report.problems.append(f"would go back to the state before {tables}")
            return
        if state is None or not older:
            report.problems.append(f"put a sound copy of {tables} in its place, or remove it and make its runs again")
            return
        aside = quarantine(path, state.folder)
        report.quarantined.append(aside)
        report.problems.append(f"went back to the state before {aside}; runs of that one count as missing")


def _left(path: Path) -> Iterator[Path]:
    """Yield unfinished files of dead processes, claims that nobody holds, and checkpoints of runs that are there."""
    for place, _, names in os.walk(path, onerror=_stop):
        files = (Path(place, name) for name in names if name.startswith(".") and name.endswith(".tmp"))
        yield from filter(is_abandoned, files)
    for entry in entries(path / "claims", ".lock"):
        if not is_claimed(path, entry.name.removesuffix(".lock")):
            yield Path(entry.path)
    for entry in entries(path / "checkpoints", ".parquet.ckpt"):
        if has_run(path, entry.name.removesuffix(".ckpt")):
            yield Path(entry.path)


def _stop(error: OSError) -> None:
    raise UnreadableError(error.filename, error)
