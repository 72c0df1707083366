"""Folders of runs: where the file of a run is, what a folder holds as tables, and the same runs in the first layout."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from nasbench_robust import metrics
from nasbench_robust.runs import release_info
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.table import (
    loose_runs,
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
                old = table.drop_columns("run").replace_schema_metadata(described)
                write_table(old, out / name / path.name)
    return out
