"""One release from several tables: every run is taken from the first table that has it. Refuses contradictions."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..errors import ConflictError
from ..files import commit, expose, latest
from ..table import ReleaseInfo, read_table, runs_table, write_table
from .worklists import Unit

Run = tuple[str, int, int]  # data set, index, seed


def assemble(
    folders: Sequence[str | os.PathLike[str]],
    info: ReleaseInfo,
    out: str | os.PathLike[str],
    units: Collection[Unit] | None = None,
) -> int:
    """Write ``runs.parquet``, ``curves.parquet``, ``outcomes.parquet`` and their ``manifest.json``.

    Parameters
    ----------
    folders : sequence of path
        Folders of tables with one seed a row, as `nasbench_robust.runs.collect` writes them. A run in several of
        them, made with other settings of the evaluation perhaps, is taken from the first; what the others measured too
        must be the same.
    info : ReleaseInfo
        Description of the release; metrics that a run was not measured by are null.
    out : path
        Folder of the release; may be one of `folders`.
    units : collection of Unit, optional
        The cells and seeds that the release holds, as far as they are there; by default all.

    Returns
    -------
    int
        Number of runs.

    Raises
    ------
    ConflictError
        If two tables contradict each other. Nothing is written then.
    """
    places = [Path(folder) for folder in folders]
    wanted = None if units is None else set(units)
    owner: dict[Run, int] = {}
    rows: dict[Run, dict[str, Any]] = {}
    for number, place in enumerate(places):
        for row in read_table(_tables_in(place) / "runs.parquet").to_pylist():
            run = row["dataset"], row["index"], row["seed"]
            if wanted is not None and Unit(*run[1:]) not in wanted:
                continue
            if run in rows:
                _compare(rows[run], row, info, run, places[owner[run]], place)
            else:
                owner[run], rows[run] = number, row
    merged = {name: _merge(name, places, owner) for name in ("curves", "outcomes")}
    target = Path(out)
    names = {column.name for column in runs_table(info, []).schema}
    kept = [{name: value for name, value in row.items() if name in names} for row in rows.values()]

    def write(folder: Path) -> dict[str, Any]:
        for name, table in {**merged, "runs": runs_table(info, kept)}.items():
            write_table(table, folder / f"{name}.parquet")
        return {"name": info.name}

    state = None
    while state is None:
        state = commit(target, write, latest(target))
    expose(target)
    return len(kept)


def _tables_in(folder: Path) -> Path:
    state = latest(folder)
    return folder if state is None else state.folder


def _compare(
    first: dict[str, Any], second: dict[str, Any], info: ReleaseInfo, run: Run, one: Path, other: Path
) -> None:
    """Refuse two rows of a run whose counts differ in a metric that both have."""
    columns = [metric.count_column for metric in info.metrics]
    pairs = [(name, first.get(name), second.get(name)) for name in columns]
    different = [name for name, a, b in pairs if a is not None and b is not None and a != b]
    if different:
        raise ConflictError(one / "runs.parquet", other / "runs.parquet", run, different)


def _merge(name: str, places: Sequence[Path], owner: dict[Run, int]) -> pa.Table:
    """Return the rows of one table, each run's from the place that it is taken from, in the order of runs."""
    parts = []
    for number, place in enumerate(places):
        table = read_table(_tables_in(place) / f"{name}.parquet")
        mine = {run for run, which in owner.items() if which == number}
        runs = zip(*(table.column(column).to_pylist() for column in ("dataset", "index", "seed")), strict=True)
        parts.append(table.filter(pa.array([run in mine for run in runs], pa.bool_())))
    table = pa.concat_tables(parts, promote_options="default").combine_chunks()
    columns: list[npt.NDArray[Any]] = [np.array(table.column(key).to_pylist()) for key in ("seed", "index", "dataset")]
    return table.take(pa.array(np.lexsort(columns)))  # lexsort is stable: the rows of a run keep their order
