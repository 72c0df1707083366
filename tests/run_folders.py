"""Folders of runs: where the file of a run is, what a folder holds as tables, and the same runs in the first layout."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nasbench_robust import metrics
from nasbench_robust.files import commit, latest
from nasbench_robust.runs import compact, release_info
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.table import (
    loose_runs,
    may_lack,
    open_table,
    read_loose,
    release_info_of,
    run_path,
    shard_name,
    tables_of,
    write_table,
)

OLD = ("runs", "curves", "outcomes")  # the three files of a run in the first layout
KEY = b"nasbench_robust"
# A run of these takes a second.
QUICK = replace(settings_for("digits"), epochs=1, attack=metrics.pgd(0.1, steps=1), evaluation=(metrics.fgsm(0.1),))


def file_of(folder: Path, settings: TrainingSettings, index: int, seed: int) -> Path:
    return run_path(folder, shard_name(settings, index, seed))


def old_file_of(folder: Path, settings: TrainingSettings, index: int, seed: int, table: str = "runs") -> Path:
    return folder / table / shard_name(settings, index, seed)


def rows_in(folder: Path, columns: list[str] | None = None) -> list[dict]:
    """Return the rows of the runs of a folder."""
    return open_table(folder).read(columns).to_pylist()


def tables_in(folder: Path) -> dict[str, pa.Table]:
    """Return the runs of a folder that are not compacted as the tables of a release."""
    runs = [read_loose(folder, path) for path in loose_runs(folder).values()]
    return tables_of(runs, release_info_of(runs))


def write_in_first_layout(folder: Path, settings: TrainingSettings, out: Path) -> Path:
    """Write the runs of a folder to another one as the first version did; a failed one has neither of the others."""
    info = release_info(settings)
    for path in loose_runs(folder).values():
        run = read_loose(folder, path)
        for name, table in tables_of([run], info).items():
            described = {KEY: json.dumps({**json.loads(info.to_json()), "format": 1})} if name == "runs" else None
            if table.num_rows:
                write_table(in_format(1, table).replace_schema_metadata(described), out / name / path.name)
    return out


def in_format(number: int, table: pa.Table) -> pa.Table:
    """Return a table with the columns of a format."""
    return table.select([name for name in table.column_names if not may_lack(name, number)])


def compact_in_second_format(folder: Path) -> None:
    """Compact a folder as the second version did, whose runs have no seconds of processors."""
    compact(folder)
    state = latest(folder)

    def write(target: Path) -> dict:
        for path in state.folder.glob("*.parquet"):
            shutil.copy(path, target)
        runs = pq.read_table(target / "runs.parquet")
        described = {KEY: json.dumps({**json.loads(runs.schema.metadata[KEY]), "format": 2})}
        write_table(in_format(2, runs).replace_schema_metadata(described), target / "runs.parquet")
        return {}

    assert commit(folder, write, state)
