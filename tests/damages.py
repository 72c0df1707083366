"""What may happen to a shard; each takes its path, and the name of another shard beside it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from nasbench_robust.table import Reader, write_table


def cut(path: Path, _: str = "") -> None:
    path.write_bytes(path.read_bytes()[:-40])


def empty(path: Path, _: str) -> None:
    path.write_bytes(b"")


def take_rows(path: Path, _: str) -> None:
    write_table(Reader(path).read().slice(0, 0), path)


def misplace(path: Path, other: str) -> None:
    path.write_bytes(path.with_name(other).read_bytes())


def double(path: Path, other: str) -> None:
    write_table(pa.concat_tables([Reader(path).read(), Reader(path.with_name(other)).read()]), path)


def replace_by_another_table(path: Path, _: str = "") -> None:
    write_table(pa.table({"index": [1]}), path)


def take_a_column(path: Path, _: str) -> None:
    write_table(Reader(path).read().drop_columns(["value"]), path)
