"""Parquet files of tables: written whole or not at all, read in parts, damage told in one sentence.

A table is a file or a folder of shards of the same schema; `tables` says what the columns are.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..arrays import Booleans
from ..errors import MissingDataError, TableError
from ..files import (
    ONE_AT_A_TIME,
    as_path,
    checked,
    checksum,
    entries,
    is_file,
    is_folder,
    is_there,
    readable,
    write_with,
)
from .arrays import numpy_column
from .damage import damage
from .info import METADATA_KEY, ReleaseInfo
from .schema import RUN_COLUMNS, may_lack

_PACKAGE = Path(__file__).parents[1]
# What a table may take in memory, whatever its footer says: so much, or so many times the size of its file.
MOST_BYTES, MOST_TIMES = 2**29, 64
_ZSTD_LEVEL = 19  # a table is written once and carried by everyone; reading is as fast at any level


def write_table(
    table: pa.Table, path: str | os.PathLike[str], *, replace: bool = True, floats: Sequence[str] = ()
) -> bool:
    """Write a table to one Parquet file that appears whole or not at all, one row group per data set.

    Parameters
    ----------
    table : pyarrow.Table
    path : path
        The folder is made if it is not there.
    replace : bool
        Whether a file of that name is replaced. If not, it stays, also when two processes write at once.
    floats : sequence of str
        Columns of measured floats, which hardly repeat: stored byte by byte they compress better.

    Returns
    -------
    bool
        Whether the file at `path` is the one that was written.
    """

    def write(beside: Path) -> None:
        with pq.ParquetWriter(
            beside,
            table.schema,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            write_page_checksum=True,
            use_dictionary=[name for name in table.column_names if name not in floats] if floats else True,
            use_byte_stream_split=list(floats) or False,
        ) as writer:
            for part in _by_dataset(table):
                writer.write_table(part, row_group_size=max(1, part.num_rows))

    return write_with(Path(path), write, replace=replace)


def _by_dataset(table: pa.Table) -> Iterator[pa.Table]:
    """Cut a table wherever the data set changes, so that a reader of one data set skips the others."""
    if not table.num_rows or "dataset" not in table.column_names or not _is_text(table.schema.field("dataset").type):
        yield table
        return
    names = table.column("dataset").combine_chunks()
    encoded = names if pa.types.is_dictionary(names.type) else names.dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    codes, _ = numpy_column(pa.chunked_array([encoded.indices]))  # its own conversion imports pandas
    starts = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist()]
    for start, end in zip(starts, [*starts[1:], len(names)], strict=True):
        yield table.slice(start, end - start)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_dictionary(type_))


class Reader:
    """Columns of one table kept in a file, in a folder of shards or in memory.

    Of a single file only the asked columns are read, when they are asked for; shards are read at once. Any number of
    threads may read. Pickled, a reader of a file is the file's place and hash, and is opened again when it is first
    read; where the file was replaced meanwhile, as of shards and of tables in memory, the table itself is pickled.

    Parameters
    ----------
    source : path or pyarrow.Table
        A Parquet file, a folder whose Parquet files are shards of one table, or a table. A file with a manifest beside
        it that names it is checked against that.
    place : path, optional
        Where a table in memory comes from.

    Raises
    ------
    MissingDataError
        If there is no such file, or no Parquet file in the folder.
    UnreadableError
        If a file cannot be read now.
    TableError
        If a file is not Parquet, is cut or damaged or not the one of its manifest, or if shards describe different
        releases.
    """

    def __init__(self, source: str | os.PathLike[str] | pa.Table, *, place: Path | None = None) -> None:
        self._table: Any = None  # either a table or a file is there
        self._file: Any = None
        self._digest = ""
        self.commit: str = ""  # the hash of the manifest that names the file
        if isinstance(source, pa.Table):
            self.paths: list[Path] = [] if place is None else [place]
            self._table = source
        else:
            self.paths = _shards(as_path(source, "source"))
            if len(self.paths) == 1:
                _, self.commit = checked(self.paths[0])
                self._stamp = _stamp(self.paths[0])
                self._file = _open(self.paths[0])
            else:  # there may be more shards than a process may keep open
                self._table = _concatenate(self.paths)
        with damage(Path(self._place)):
            self.schema: pa.Schema = self._table.schema if self._file is None else self._file.schema_arrow
            self._names: list[str] = self.schema.names

    def __getstate__(self) -> dict[str, Any]:
        digest = self._unchanged() if self._table is None else ""
        table = self._table if digest or self._table is not None else self.read()
        inside = [path.is_relative_to(_PACKAGE) for path in self.paths]
        paths = [
            path.relative_to(_PACKAGE) if own else path.absolute() for path, own in zip(self.paths, inside, strict=True)
        ]
        return {"schema": self.schema, "paths": paths, "commit": self.commit, "_table": table, "_digest": digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _file=None, _names=state["schema"].names)
        self.paths = [_PACKAGE / path for path in self.paths]  # one that is absolute stays what it is

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reader):
            return NotImplemented
        hashes = {each._unchanged() if each._table is None else "" for each in (self, other)}
        if self is other or (len(hashes) == 1 and "" not in hashes):
            return True
        return self.schema.equals(other.schema, check_metadata=True) and bool(self.read().equals(other.read()))

    def __hash__(self) -> int:
        return hash((Reader, tuple(self._names)))

    def __repr__(self) -> str:
        return f"<Reader of {', '.join(map(str, self.paths[:1])) or 'a table in memory'}: {len(self._names)} columns>"

    def _unchanged(self) -> str:
        """Return the hash of the file, or nothing where it is no longer the one that was opened."""
        if self._file is None:
            return self._digest
        with contextlib.suppress(OSError):
            if self._stamp == _stamp(self.paths[0]):
                self._digest = self._digest or checksum(self.paths[0])
                return self._digest
        return ""

    def info(self) -> ReleaseInfo:
        """Return the description in the metadata of a runs table; `TableError` if there is none."""
        name = self._place
        text = (self.schema.metadata or {}).get(METADATA_KEY)
        if text is None:
            raise TableError(name, "no release description in its metadata: not a runs table of nasbench-robust")
        try:
            return ReleaseInfo.from_json(text)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise TableError(name, f"its release description cannot be read: {error}") from None

    def read(self, columns: Sequence[str] | None = None, *, dataset: str | None = None) -> pa.Table:
        """Return a table with the named columns and, if a data set is given, only its rows.

        Row groups of other data sets are not read, going by the statistics in the footer.
        """
        for name in sorted({*(columns or ()), *(["dataset"] if dataset is not None else [])}):
            self._check_type(name)
            if self._names.count(name) != 1 and not (name not in self._names and self._may_lack(name)):
                problem = f"column {name!r} stands twice" if name in self._names else f"no column {name!r}"
                raise TableError(self._place, problem)
        lacking = [name for name in columns or () if name not in self._names]
        wanted = None if columns is None else list(dict.fromkeys([*columns, *(["dataset"] if dataset else [])]))
        wanted = wanted and [name for name in wanted if name not in lacking]
        if self._table is None:
            with ONE_AT_A_TIME:  # threads that read one file together end the process, or get each other's bytes
                if self._file is None:
                    self._stamp, self._file = _open_again(self.paths[0], self._digest)
                table = _read(self.paths[0], self._file, wanted, dataset)
        else:
            table = self._table if wanted is None else self._table.select(wanted)
        if dataset is not None:
            table = _rows_of(table, dataset)
        for name in lacking:
            table = table.append_column(RUN_COLUMNS[name].field, pa.nulls(table.num_rows, RUN_COLUMNS[name].type))
        return table if columns is None else table.select(list(columns))

    def numbers(self, dataset: str, name: str) -> tuple[npt.NDArray[Any], Booleans]:
        """Return the values of a column of numbers, of the rows of a data set, and which of them there are."""
        column = self.read([name], dataset=dataset).column(name)
        if pa.types.is_null(column.type):
            column = column.cast(pa.float64())
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise TableError(self._place, f"column {name!r} is {column.type}, expected numbers")
        return numpy_column(column)

    @property
    def _place(self) -> Path | str:
        return self.paths[0] if self.paths else "table"

    def _check_type(self, name: str) -> None:
        """Raise `TableError` where a column of runs holds values of another kind than it should."""
        if name in RUN_COLUMNS and self._names.count(name) == 1:
            expected, stored = RUN_COLUMNS[name].type, self.schema.field(name).type
            if not is_like(stored, expected):
                raise TableError(self._place, f"column {name!r} is {stored}, expected {expected}")

    def _may_lack(self, name: str) -> bool:
        """Return whether the table may be without a column, which is null then."""
        return METADATA_KEY in (self.schema.metadata or {}) and may_lack(name, self.info().format)


def is_like(stored: pa.DataType, expected: pa.DataType) -> bool:
    """Return whether a column can be read as one of the expected type: numbers as numbers, strings as strings."""
    if pa.types.is_dictionary(stored):
        stored = stored.value_type
    if pa.types.is_string(expected):
        return bool(pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_null(stored))
    if pa.types.is_integer(expected) or pa.types.is_floating(expected):
        return bool(pa.types.is_integer(stored) or pa.types.is_floating(stored) or pa.types.is_null(stored))
    return bool(stored == expected or (pa.types.is_timestamp(stored) and pa.types.is_timestamp(expected)))


def read_table(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, *, dataset: str | None = None
) -> pa.Table:
    """Read columns and rows of a Parquet table: see `Reader`."""
    return Reader(path).read(columns, dataset=dataset)


def _rows_of(table: pa.Table, dataset: str) -> pa.Table:
    """Return the rows of a data set; the table itself where there are no others."""
    column = table.column("dataset").combine_chunks()
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunks = encoded.chunks if isinstance(encoded, pa.ChunkedArray) else [encoded]
    if all(chunk.dictionary.to_pylist() == [dataset] for chunk in chunks):
        return table
    keep = [name == dataset for chunk in chunks for name in chunk.to_pylist()]
    return table.filter(pa.array(keep, pa.bool_()))


def _shards(path: Path) -> list[Path]:
    if not is_there(path):
        raise MissingDataError(f"no file or folder {path}", "check the path")
    if is_file(path):
        return [path]
    if is_folder(path):
        if shards := [each for entry in entries(path, ".parquet") if is_there(each := path / entry.name)]:
            return shards
        raise MissingDataError(f"no Parquet file in {path}", "name a folder that holds a table")
    raise MissingDataError(f"{path} is neither a file nor a folder", "check the path")


def same_kind(schema: pa.Schema, other: pa.Schema) -> bool:
    """Return whether two tables are of one kind: the same release, and the same columns.

    Columns that came with a later format may be missing in one of them; facts of the release may be in any order.
    """
    if _release(schema) != _release(other):
        return False
    columns, others = (dict(zip(each.names, each.types, strict=True)) for each in (schema, other))
    if any(not may_lack(name, 1) for name in columns.keys() ^ others.keys()):
        return False
    return all(columns[name] == others[name] for name in columns.keys() & others.keys())


def _release(schema: pa.Schema) -> Any:
    """Return the release description in the metadata but for its format, or what stands in its place."""
    text = (schema.metadata or {}).get(METADATA_KEY)
    try:
        described = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text
    return {**described, "format": None} if isinstance(described, dict) else described


def concatenate(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables of one kind as one; where one lacks a column, its rows have no value there."""
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def _concatenate(paths: Sequence[Path]) -> pa.Table:
    """Read shards of one table; refuse those of another."""
    parts: list[pa.Table] = []
    for path in paths:
        with contextlib.closing(_open(path)) as file:
            if parts and not same_kind(file.schema_arrow, parts[0].schema):
                raise TableError(path, f"its columns or its release description differ from those of {paths[0]}")
            parts.append(_read(path, file, None, None))
    return concatenate(parts)


def _open(path: Path) -> pq.ParquetFile:
    with damage(path):
        footer = pq.read_metadata(path)
        size = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
        size += 8 * footer.num_rows * footer.num_columns  # equal values take next to nothing in the file
        if size > max(MOST_BYTES, MOST_TIMES * path.stat().st_size):
            problem = f"would take {size / 2**20:.0f} MiB of memory, {size // path.stat().st_size} times its own size"
            raise TableError(path, f"{problem}: refused as damaged or made to fill the memory")
        encoded = [name for name in footer.schema.names if name == "dataset"]
        return pq.ParquetFile(path, metadata=footer, page_checksum_verification=True, read_dictionary=encoded)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to."""
    with readable(path):
        stat = path.stat()
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)  # a process that is sent one table many times opens it once
def _open_again(path: Path, digest: str) -> tuple[tuple[int, ...], pq.ParquetFile]:
    """Open the file of a pickled table, if it still is that file."""
    try:
        stamp, now = _stamp(path), checksum(path)
    except FileNotFoundError as error:
        remedy = f"the table that was pickled lay there, its SHA-256 is {digest}; put it back, or load a release anew"
        raise MissingDataError(f"cannot read {path} ({error.strerror})", remedy) from None
    if now != digest:
        raise TableError(path, f"not the table that was pickled: its SHA-256 is {now}, expected {digest}")
    return stamp, _open(path)


def _read(path: Path, file: pq.ParquetFile, columns: list[str] | None, dataset: str | None) -> pa.Table:
    with damage(path):
        groups = [group for group in range(file.num_row_groups) if _may_hold(file, group, dataset)]
        table = file.read_row_groups(groups, columns=columns, use_threads=False)
        table.validate(full=True)  # damage to a page's header may go unnoticed until a value is looked at
        return table


def _may_hold(file: pq.ParquetFile, group: int, dataset: str | None) -> bool:
    if dataset is None or file.num_row_groups == 1:
        return True
    # The footer says the same in its statistics, but where it is damaged pyarrow ends the process on looking at them.
    names = file.read_row_group(group, columns=["dataset"], use_threads=False).column("dataset")
    names.validate(full=True)
    if pa.types.is_dictionary(names.type):  # by itself, since `unique` imports what takes a tenth of a first query
        return any(dataset in chunk.dictionary.to_pylist() for chunk in names.chunks)
    return dataset in names.unique().to_pylist()
