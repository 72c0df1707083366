"""What may happen to a shard; each takes its path, and the name of another shard beside it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nasbench_robust.table import Reader, write_table


def cut(path: Path, _: str = "") -> None:
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path, _: str) -> None:
    path.write_bytes(b"")


def take_rows(path: Path, _: str) -> None:
    write_table(Reader(path).read().slice(0, 0), path)


def misplace(path: Path, other: str) -> None:
    path.write_bytes((path.parent / other).read_bytes())


def change_a_value(path: Path, _: str = "") -> None:
    """Change what was measured, all else being sound."""
    table = pq.read_table(path)
    position = table.schema.get_field_index("value")
    column = pa.array([value / 2 for value in table.column("value").to_pylist()])
    pq.write_table(table.set_column(position, table.schema.field(position), column), path)


def change_the_row(path: Path, _: str = "") -> None:
    """Change what the metadata of a run's file say."""
    table = pq.read_table(path)
    changed = {key: value.replace(b"epochs", b"epochz") for key, value in (table.schema.metadata or {}).items()}
    pq.write_table(table.replace_schema_metadata(changed), path)


def double(path: Path, other: str) -> None:
    write_table(pa.concat_tables([Reader(path).read(), Reader(path.parent / other).read()]), path)


def replace_by_another_table(path: Path, _: str = "") -> None:
    write_table(pa.table({"index": [1]}), path)


def take_a_column(path: Path, _: str) -> None:
    write_table(Reader(path).read().drop_columns(["value"]), path)
