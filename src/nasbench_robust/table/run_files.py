"""One run in one file: a small Parquet table of all that was measured, with the run's row and settings in its metadata.

The table is a tidy one: ``metric``, ``epoch``, ``value``, and for what the trained network was measured by (``epoch``
is null) ``images`` and ``correct``, the outcomes as a bit an image. A run cannot come apart, and its file is a tenth of
three with the columns of a release. A hash of everything names the run: two makings of one cell and seed differ in it.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..arrays import Floats, Integers, Record
from ..errors import TableError
from ..files import read_bytes, write_bytes
from .arrays import numpy_column, plain_table
from .damage import damage, parquet_of
from .info import ReleaseInfo
from .schema import CURVE_COLUMNS, CURVES_SCHEMA, OUTCOMES_SCHEMA, runs_table

_KEY = b"nasbench_robust_run"
_SCHEMA = pa.schema(
    [
        pa.field("metric", pa.string(), nullable=False),
        pa.field("epoch", pa.int16()),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("images", pa.int32()),
        pa.field("correct", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """Which images were classified correctly, of a metric or after a part of an AutoAttack.

    Attributes
    ----------
    name : str
        Column of the metric, ``>`` and the part behind it if it is one.
    images : int
        Of the metric's split.
    correct : bytes
        A bit an image, image 0 in the lowest bit of the first byte.
    """

    name: str
    images: int
    correct: bytes

    @property
    def count(self) -> int:
        """How many there are."""
        return int.from_bytes(self.correct, "little").bit_count()


@dataclass(frozen=True, eq=False, repr=False)
class StoredRun(Record):
    """A run as it is on the disk.

    Attributes
    ----------
    row : dict
        Of the runs table; what has no value is left out.
    settings : dict
        The settings that its hash in the row stands for.
    epochs : ndarray of int, shape (epochs,)
    curve : ndarray of float, shape (epochs, 5)
        In the order of `CURVE_COLUMNS`.
    split : str
        That of the curve.
    outcomes : list of Outcome
    """

    row: dict[str, Any]
    settings: dict[str, Any]
    epochs: Integers
    curve: Floats
    split: str
    outcomes: list[Outcome]

    @property
    def key(self) -> tuple[str, int, int, str]:
        """Data set, index, seed and settings: what there is once in a table."""
        row = self.row
        return row["dataset"], row["index"], row["seed"], row.get("settings", "")

    @property
    def failed(self) -> bool:
        """Whether the run has no result."""
        return "failure" in self.row

    def problem(self) -> str | None:
        """Return how row, curve and outcomes contradict each other, or None."""
        if self.failed:
            return None
        outcomes = {outcome.name: outcome for outcome in self.outcomes}
        for column in filter(is_measured, self.row):
            if column not in outcomes:
                return f"it has no outcomes of {column}"
            here, said = outcomes[column], (self.row.get(count_column(column)), self.row[column])
            if len(here.correct) != -(-here.images // 8) or (here.count, here.count / here.images) != said:
                return f"by its outcomes {here.count} of {here.images} images count for {column}, by its row {said[0]}"
        expected = self.settings.get("epochs", len(self.epochs))
        if self.epochs.tolist() != list(range(1, expected + 1)):
            return f"its curve has {len(self.epochs)} epochs, its settings {expected}"
        return None


def is_measured(column: str) -> bool:
    """Return whether a column of runs is an accuracy."""
    return "_acc" in column


def count_column(column: str) -> str:
    """Return the column with the count behind an accuracy."""
    return column.replace("_acc", "_correct", 1)


def write_run_file(run: StoredRun, path: Path) -> bool:
    """Write a run, unless its file is there: the first one stays. Return whether the file is this run's."""
    plain_row = {name: value for name, value in run.row.items() if not is_measured(name) and "_correct" not in name}
    if "date" in plain_row:
        plain_row["date"] = plain_row["date"].isoformat()
    about = json.dumps({"row": plain_row, "split": run.split, "settings": run.settings}, allow_nan=False)
    table = _tidy(run)
    metadata = {_KEY: json.dumps({"run": _identity(about, table), "about": about})}

    content = io.BytesIO()
    options: Any = {"compression": "zstd", "write_statistics": False, "write_page_checksum": True}
    with pq.ParquetWriter(content, _SCHEMA, store_schema=False, use_dictionary=["metric"], **options) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)  # and not in the schema, which would be stored beside itself
    return write_bytes(content.getvalue(), path, replace=False)


def read_run_file(path: Path) -> StoredRun:
    """Read a run.

    Raises
    ------
    FileNotFoundError
        If there is no such file (any more).
    UnreadableError
        If it cannot be read now.
    TableError
        If it is damaged, is no run, or contradicts itself.
    """
    content = read_bytes(path)
    with damage(path):
        with parquet_of(content) as file:
            metadata, table = file.metadata.metadata or {}, file.read(use_threads=False)
        if _KEY not in metadata:
            raise TableError(path, "it is no run of nasbench-robust")
        if not table.schema.equals(_SCHEMA):
            raise TableError(path, f"it has the columns {', '.join(table.schema.names)}")
        stored = json.loads(metadata[_KEY])
        if not isinstance(stored, dict) or stored.get("run") != _identity(stored.get("about", ""), table):
            raise TableError(path, "damaged: it is not what was written")
        run = _rebuild(json.loads(stored["about"]), table, stored["run"])
    if problem := run.problem():
        raise TableError(path, f"it contradicts itself: {problem}")
    return run


def _tidy(run: StoredRun) -> pa.Table:
    epochs, outcomes = run.epochs.tolist(), run.outcomes
    columns = {
        "metric": [name for name in CURVE_COLUMNS for _ in epochs] + [outcome.name for outcome in outcomes],
        "epoch": epochs * len(CURVE_COLUMNS) + [None] * len(outcomes),
        "value": run.curve.T.ravel().tolist() + [outcome.count / outcome.images for outcome in outcomes],
        "images": [None] * run.curve.size + [outcome.images for outcome in outcomes],
        "correct": [None] * run.curve.size + [outcome.correct for outcome in outcomes],
    }
    return plain_table(columns, _SCHEMA)


def _identity(about: str, table: pa.Table) -> str:
    """Return the name of a run: the hash of everything about it."""
    digest = hashlib.sha256(about.encode())
    plain = [table.column(name).to_pylist() for name in ("metric", "epoch", "images")]
    digest.update(json.dumps(plain).encode())
    digest.update(numpy_column(table.column("value"))[0].astype("<f8").tobytes())
    for bits in table.column("correct").to_pylist():
        digest.update(bits or b"")
    return digest.hexdigest()[:16]


def _rebuild(about: dict[str, Any], table: pa.Table, name: str) -> StoredRun:
    row = {**about["row"], "run": name}
    if "date" in row:
        row["date"] = datetime.datetime.fromisoformat(row["date"])
    metric, epoch, images, correct = (table.column(key).to_pylist() for key in ("metric", "epoch", "images", "correct"))
    size = len(epoch) - epoch.count(None)
    epochs = epoch[: size // len(CURVE_COLUMNS)]
    curve = numpy_column(table.column("value"))[0][:size].reshape(len(CURVE_COLUMNS), len(epochs)).T
    outcomes = [Outcome(*each) for each in zip(metric[size:], images[size:], correct[size:], strict=True)]
    for outcome in outcomes:
        if ">" not in outcome.name:
            row[outcome.name] = outcome.count / outcome.images
            row[count_column(outcome.name)] = outcome.count
    return StoredRun(row, about["settings"], np.array(epochs, np.int64), curve, about["split"], outcomes)


def tables_of(runs: Sequence[StoredRun], info: ReleaseInfo) -> dict[str, pa.Table]:
    """Return runs as the tables of a release: ``runs``, ``curves`` and ``outcomes``."""
    outcomes = [outcome for run in runs for outcome in run.outcomes]
    curve = np.concatenate([run.curve for run in runs]) if runs else np.empty((0, len(CURVE_COLUMNS)))
    epochs = [len(run.epochs) for run in runs]
    curves = {
        "epoch": np.concatenate([run.epochs for run in runs]) if runs else [],
        "split": np.repeat(np.array([run.split for run in runs], object), epochs),
        **dict(zip(CURVE_COLUMNS, curve.T, strict=True)),
    }
    measured = {
        "metric": [outcome.name for outcome in outcomes],
        "images": [outcome.images for outcome in outcomes],
        "correct": [outcome.correct for outcome in outcomes],
    }
    return {
        "runs": runs_table(info, [run.row for run in runs]),
        "curves": _long(CURVES_SCHEMA, info, runs, epochs, curves),
        "outcomes": _long(OUTCOMES_SCHEMA, info, runs, [len(run.outcomes) for run in runs], measured),
    }


def _long(
    schema: pa.Schema, info: ReleaseInfo, runs: Sequence[StoredRun], lengths: list[int], columns: dict[str, Any]
) -> pa.Table:
    """Return a table with so many rows of each run."""
    what = {name: [run.row.get(name) for run in runs] for name in ("dataset", "index", "seed", "run")}
    which = pa.array(np.repeat(np.arange(len(runs)), lengths))
    repeated = {name: pa.array(values, schema.field(name).type).take(which) for name, values in what.items()}
    columns = {"release": pa.array([info.name] * sum(lengths), pa.string()), **repeated, **columns}
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema)
