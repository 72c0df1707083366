"""Whether what is stored is sound: every hash, every count of images, every accuracy made again from the outcomes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..arrays import Booleans, Floats, Integers
from ..errors import MissingDataError, TableError
from ..files import MANIFEST, as_path, is_there, latest, mismatch, read_bytes, read_steadily
from .files import Reader
from .folders import loose_runs, read_loose
from .info import ReleaseInfo
from .run_files import count_column, is_measured
from .shards import RUNS, is_run_folder


def verify(folder: str | os.PathLike[str]) -> list[str]:
    """Check everything that a release, or a folder in which a table is being made, holds.

    Of every file that a manifest names the hash; of every run that its row, curve and outcomes belong together, that
    as many images are correct as its row counts, and that each accuracy is that count over the number of images. What
    was published without outcomes has none to compare.

    Returns
    -------
    list of str
        What is wrong, a sentence each, with the file; empty where all is sound.

    Raises
    ------
    MissingDataError
        If there is no table.
    UnreadableError
        If a file cannot be read now.
    """
    path = as_path(folder, "folder")
    return read_steadily(path, lambda: _verify(path))


def _verify(path: Path) -> list[str]:
    loose = loose_runs(path) if is_run_folder(path) else {}  # before the commit, as everywhere
    state = latest(path)
    tables = path if state is None else state.folder
    there = is_there(tables / "runs.parquet")
    if state is not None and (problem := state.problem()) is not None:
        return [f"{state.folder}: {problem}"]
    if not there and not loose:
        raise MissingDataError(f"no runs.parquet and no folder {RUNS} with runs in {path}", "check the path")
    problems = []
    if there:
        problems += _check_hashes(tables)
        problems += _check_tables(tables) if not problems else []
    for file in loose.values():
        try:
            if read_loose(path, file) is None:
                problems.append(f"{file} has no curve or no outcomes beside it")
        except TableError as error:
            problems.append(str(error))
    return problems


def _check_hashes(folder: Path) -> list[str]:
    manifest = folder / MANIFEST
    try:
        names = list(json.loads(read_bytes(manifest))["files"])
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return [f"{manifest} is no manifest ({error})"]
    problems = []
    for name in names:
        problem = mismatch(manifest, folder / name) if is_there(folder / name) else f"{name} is missing"
        problems += [f"{folder}: {problem}"] if problem else []
    return problems


def _check_tables(folder: Path) -> list[str]:
    try:
        reader = Reader(folder / "runs.parquet")
        runs, info = reader.read(), reader.info()
        order = list(info.datasets)
        known = _codes(runs, order)
        if len(np.unique(known)) < len(known) and is_there(folder / "outcomes.parquet"):
            return [f"{folder / 'runs.parquet'} has runs that stand twice"]
        problems = []
        measured = bool(info.settings) and runs.column("failure").null_count > 0
        for name, check in (("outcomes", _check_outcomes), ("curves", _check_curves)):
            if measured and not is_there(folder / f"{name}.parquet"):
                problems.append(f"{folder}: its runs have no {name}.parquet beside them")
            if is_there(folder / f"{name}.parquet"):
                table = Reader(folder / f"{name}.parquet").read()
                found = _Found(runs, table, known, _codes(table, order), info)
                problems += [f"{folder / name}.parquet: {problem}" for problem in (*found.strangers(), *check(found))]
    except TableError as error:
        return [str(error)]
    return problems


def _codes(table: pa.Table, datasets: list[str]) -> Integers:
    """Return a number for the run of every row."""
    names = table.column("dataset").to_pylist()
    which = np.array([datasets.index(name) for name in dict.fromkeys(names)], np.int64)
    position = dict(zip(dict.fromkeys(names), which, strict=True))
    dataset = np.fromiter((position[name] for name in names), np.int64, len(names))
    index, seed = (table.column(name).fill_null(-1).to_numpy().astype(np.int64) for name in ("index", "seed"))
    codes: Integers = dataset << 46 | index << 32 | seed + 1
    return codes


class _Found:
    """The rows of a table beside runs, and the run of each."""

    def __init__(self, runs: pa.Table, table: pa.Table, known: Integers, codes: Integers, info: ReleaseInfo) -> None:
        order = np.argsort(known)
        at = np.searchsorted(known, codes, sorter=order)
        self.run = order[np.minimum(at, len(known) - 1)]
        self.strange = known[self.run] != codes
        self.runs, self.table, self.info = runs, table, info

    def strangers(self) -> Iterator[str]:
        """Say which rows are of no run of the table, or of another making of it."""
        wrong = self.strange
        if "run" in self.table.column_names and "run" in self.runs.column_names:
            made = np.array(self.runs.column("run").to_pylist(), object)[self.run]
            wrong = wrong | (np.array(self.table.column("run").to_pylist(), object) != made)
        yield from self.say(wrong, "are of no run of the table, or of another making of it")

    def say(self, wrong: Booleans, what: str) -> Iterator[str]:
        """Say of which cells rows are wrong."""
        if wrong.any():
            cells = np.unique(self.table.column("index").to_numpy()[wrong])
            yield f"{int(wrong.sum())} rows {what}: cell {', '.join(map(str, cells[:5]))}{' ...' * (len(cells) > 5)}"

    def of_runs(self, name: str) -> Floats:
        """Return a column of numbers of the runs, for every row."""
        column: Floats = self.runs.column(name).cast(pa.float64()).fill_null(np.nan).to_numpy()
        return column[self.run]


def _check_outcomes(found: _Found) -> Iterator[str]:
    names = np.array(found.table.column("metric").to_pylist())
    images, bits = found.table.column("images").to_numpy(), found.table.column("correct").to_pylist()
    counts = np.array([int.from_bytes(each, "little").bit_count() for each in bits], np.int64)
    sizes = np.array([len(each) for each in bits], np.int64)
    yield from found.say((sizes != -(-images // 8)) | (counts > images), "do not have a bit an image")
    failed = found.runs.column("failure").is_valid().to_numpy()
    for column in filter(is_measured, found.runs.column_names):
        mine, rows = names == column, np.zeros(len(found.runs), np.int64)
        np.add.at(rows, found.run[mine & ~found.strange], 1)
        has_value = found.runs.column(column).is_valid().to_numpy() & ~failed
        if wrong := int(((rows != 1) & has_value).sum()):
            yield f"{wrong} runs have not one row of {column}"
        with np.errstate(invalid="ignore"):
            differs = (found.of_runs(count_column(column)) != counts) | (found.of_runs(column) != counts / images)
        yield from found.say(mine & differs, f"of {column} are not what the run's row says")


def _check_curves(found: _Found) -> Iterator[str]:
    epochs, rows = found.table.column("epoch").to_numpy().astype(np.int64), np.zeros(len(found.runs), np.int64)
    total = rows.copy()
    np.add.at(rows, found.run, 1)
    np.add.at(total, found.run, epochs)
    failed = found.runs.column("failure").is_valid().to_numpy()
    settings = found.runs.column("settings").to_pylist()
    expected = np.array([found.info.settings.get(name or "", {}).get("epochs", -1) for name in settings])
    wrong = (expected >= 0) & ~failed & ((rows != expected) | (total != rows * (rows + 1) // 2))
    if wrong.any():
        yield f"{int(wrong.sum())} runs have not all epochs of their settings"
