"""What the tables hold: Arrow schemas.

Four tables, each a Parquet file or a folder of shards of the same schema: ``runs``, ``cells``, ``curves``, ``outcomes``
(docs/schema.md describes every column).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .. import cells
from .info import METADATA_KEY, ReleaseInfo


@dataclass(frozen=True)
class Column:
    """One column of the runs table, beside those of its metrics.

    Attributes
    ----------
    name : str
    type : pyarrow.DataType
    required : bool
        Whether every row has a value.
    since : int
        The format that has it first: a table of an older format without it is no error, and has no values there.
    circumstance : bool
        Whether it may differ between two makings of the same run.
    """

    name: str
    type: pa.DataType
    required: bool = False
    since: int = 1
    circumstance: bool = False

    @property
    def field(self) -> pa.Field:
        """The column in an Arrow schema."""
        return pa.field(self.name, self.type, nullable=not self.required)


# In the order of the file; the columns of metrics stand behind those that are required.
RUN_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("release", pa.string(), required=True),
        Column("dataset", pa.string(), required=True),
        Column("index", pa.int32(), required=True),
        Column("seed", pa.int32()),
        Column("seeds", pa.int16(), required=True),
        Column("test_images", pa.int32(), required=True),
        Column("failure", pa.string()),
        Column("settings", pa.string()),
        Column("engine", pa.string()),
        Column("train_seconds", pa.float64(), circumstance=True),
        Column("eval_seconds", pa.float64(), circumstance=True),
        Column("train_cpu_seconds", pa.float64(), since=3, circumstance=True),
        Column("eval_cpu_seconds", pa.float64(), since=3, circumstance=True),
        Column("peak_memory_mib", pa.float64(), circumstance=True),
        Column("device", pa.string(), circumstance=True),
        Column("versions", pa.string(), circumstance=True),
        Column("revision", pa.string(), circumstance=True),
        Column("date", pa.timestamp("ms", tz="UTC"), circumstance=True),
        Column("run", pa.string(), since=2, circumstance=True),
    )
}
_LAST_BEFORE_METRICS = "test_images"


def runs_schema(info: ReleaseInfo) -> pa.Schema:
    """Return the schema of a release's runs: fixed columns, and two for every metric."""
    fields = [column.field for column in RUN_COLUMNS.values()]
    split = list(RUN_COLUMNS).index(_LAST_BEFORE_METRICS) + 1
    measured = [pa.field(metric.column, pa.float64()) for metric in info.metrics]
    counted = [pa.field(metric.count_column, pa.int32()) for metric in info.metrics]
    fields = [*fields[:split], *measured, *counted, *fields[split:]]
    return pa.schema(fields, metadata={METADATA_KEY: info.to_json()})


def may_lack(name: str, format_: int) -> bool:
    """Return whether a runs table of a format may be without a column."""
    return name in RUN_COLUMNS and RUN_COLUMNS[name].since > format_


def _schema(**types: pa.DataType) -> pa.Schema:
    """Return the schema of a table with rows of one run: what the run is, columns by name, and the run's name."""
    what = {name: RUN_COLUMNS[name].type for name in ("release", "dataset", "index", "seed")}
    fields = [pa.field(name, type_, nullable=False) for name, type_ in {**what, **types}.items()]
    return pa.schema([*fields, RUN_COLUMNS["run"].field])


# Numbers of an epoch, in the order in which files of runs hold them.
CURVE_COLUMNS = ("learning_rate", "train_loss", "train_acc", "clean_acc", "pgd_acc")
CURVES_SCHEMA = _schema(
    epoch=pa.int16(),
    **dict.fromkeys(CURVE_COLUMNS[:3], pa.float64()),
    split=pa.string(),
    **dict.fromkeys(CURVE_COLUMNS[3:], pa.float64()),
)
OUTCOMES_SCHEMA = _schema(metric=pa.string(), images=pa.int32(), correct=pa.binary())


def runs_table(info: ReleaseInfo, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Build a runs table from dictionaries; columns that a row does not name are null.

    Rows are ordered by data set (in the order of `info.datasets`), index, seed and number of seeds.
    """
    order = {name: position for position, name in enumerate(info.datasets)}
    schema = runs_schema(info)
    ordered = sorted(
        rows,
        key=lambda row: (order[row["dataset"]], row["index"], row.get("seed") is None, row.get("seed"), -row["seeds"]),
    )
    filled = [{"release": info.name, **row} for row in ordered]
    return pa.Table.from_pylist(filled, schema=schema)


def cells_table(info: ReleaseInfo) -> pa.Table:
    """Build the cells table of a release: all 15,625 cells, parameters and FLOPs for each of its skeletons."""
    columns: dict[str, Any] = {
        "index": pa.array(range(cells.SIZE), pa.int32()),
        "arch": [str(cells.Cell.from_index(index)) for index in range(cells.SIZE)],
        "representative": pa.array(cells.representatives().tolist(), pa.int32()),
        "connected": cells.connected().tolist(),
    }
    for operation in cells.OPERATIONS:
        columns[operation] = pa.array(cells.operation_counts(operation).tolist(), pa.int8())
    convolutions = cells.operation_counts("nor_conv_1x1"), cells.operation_counts("nor_conv_3x3")
    for name, described in info.datasets.items():
        columns[f"parameters@{name}"] = described.skeleton.parameters(*convolutions).tolist()
        columns[f"flops@{name}"] = described.skeleton.flops(*convolutions).tolist()
    return pa.table(columns)
