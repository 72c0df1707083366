"""Folders of runs in every layout, made of runs of the table in the package: nothing is trained."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from nasbench_robust.releases import locate
from nasbench_robust.runs import compact
from nasbench_robust.table import (
    Reader,
    StoredRun,
    release_info_of,
    run_path,
    runs_of,
    shard_file,
    tables_of,
    write_run_file,
    write_table,
)

CELLS = (3, 8, 12, 15)
Tree = dict[str, str]


@lru_cache(maxsize=1)
def bundled() -> list[StoredRun]:
    """Return some runs of the table in the package."""
    place, tables = locate("digits").parent, {}
    for name in ("runs", "curves", "outcomes"):
        table = Reader(place / f"{name}.parquet").read()
        keys = zip(table.column("index").to_pylist(), table.column("seed").to_pylist(), strict=True)
        tables[name] = table.filter(pa.array([index in CELLS and seed == 0 for index, seed in keys]))
    return list(runs_of(tables, Reader(place / "runs.parquet").info().settings, place))


def make_new(folder: Path, runs: list[StoredRun]) -> None:
    for run in runs:
        write_run_file(run, run_path(folder, shard_file(*run.key[:3])))


def make_old(folder: Path, runs: list[StoredRun]) -> None:
    for run in runs:
        for name, table in tables_of([run], release_info_of([run])).items():
            write_table(table, folder / name / shard_file(*run.key[:3]))


def make_committed(folder: Path, runs: list[StoredRun]) -> None:
    make_new(folder, runs[:-1])
    compact(folder)
    make_new(folder, runs[-1:])


LAYOUTS: dict[str, Callable[[Path, list[StoredRun]], None]] = {
    "new": make_new,
    "old": make_old,
    "committed": make_committed,
}


def tree(place: Path) -> Tree:
    """Return all files with the hashes of their contents, and where links lead to."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(place))] = str(path.readlink())
        elif path.is_file():
            found[str(path.relative_to(place))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def settled(found: Tree) -> Tree:
    """Return a tree without the numbers of commits: of every folder of them the last one."""
    last: dict[str, str] = {}
    for name in found:
        if at := re.match(r"(.*commits/)(\d{8})/", name):
            last[at[1]] = max(last.get(at[1], ""), at[2])
    kept = {
        name: value
        for name, value in found.items()
        if not (at := re.match(r"(.*commits/)(\d{8})/", name)) or last[at[1]] == at[2]
    }
    return {re.sub(r"\d{8}/", "N/", name): re.sub(r"\d{8}/", "N/", value) for name, value in kept.items()}
