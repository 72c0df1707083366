"""The tables on disk: Arrow schemas, what a release says about itself, reading in parts, writing whole or not at all.

Four tables, each a Parquet file or a folder of shards of the same schema: ``runs``, ``cells``, ``curves``, ``outcomes``
(docs/schema.md describes every column). The metadata of a runs table carries the release's description as JSON, so that
a file cannot be separated from what its columns mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from . import cells
from .errors import InvalidValueError, MissingDataError, TableError
from .metrics import Metric, checked_eps, metric_from_dict
from .skeletons import Skeleton

__all__ = [
    "CURVES_SCHEMA",
    "OUTCOMES_SCHEMA",
    "DatasetInfo",
    "Reader",
    "ReleaseInfo",
    "cells_table",
    "numpy_column",
    "read_table",
    "runs_schema",
    "runs_table",
    "same_kind",
    "write_table",
]

FORMAT = 1
_METADATA_KEY = b"nasbench_robust"
_ZSTD_LEVEL = 19  # a table is written once and carried by everyone; reading is as fast at any level


@dataclass(frozen=True)
class DatasetInfo:
    """What a release says about one of its data sets.

    Attributes
    ----------
    images : dict of str to int
        Number of images of every split that was measured.
    eps : float
        Budget that a metric name without one means.
    skeleton : Skeleton
        The network around the cells.
    """

    images: dict[str, int]
    eps: float
    skeleton: Skeleton

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checked_eps(self.eps))
        if not isinstance(self.images, dict) or not all(
            type(images) is int and 0 < images < 2**31 for images in self.images.values()
        ):
            raise InvalidValueError("images", self.images, "a positive number by split")


@dataclass(frozen=True)
class ReleaseInfo:
    """What a release says about itself; stored in the metadata of its runs table.

    Attributes
    ----------
    name, version, title, licence : str
        As they are to be cited.
    citation : str
        BibTeX.
    source : str
        Where the numbers come from: an address with its SHA-256, or the program that made them.
    datasets : dict of str to DatasetInfo
        By canonical name.
    metrics : tuple of Metric
        The measured columns. A data set may lack some: its cells are null there.
    settings : dict of str to dict
        Training settings by the hash that rows refer to; empty where the source does not give them.
    """

    name: str
    version: str
    title: str
    licence: str
    citation: str
    source: str
    datasets: dict[str, DatasetInfo]
    metrics: tuple[Metric, ...]
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the description as JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> ReleaseInfo:
        """Rebuild a description; raises `ValueError`, `KeyError` or `TypeError` where it is not one."""
        facts = json.loads(text)
        if facts.pop("format") != FORMAT:
            raise ValueError("a format that this version does not know; upgrade nasbench-robust")
        facts["datasets"] = {
            name: DatasetInfo(info["images"], info["eps"], Skeleton(**info["skeleton"]))
            for name, info in facts["datasets"].items()
        }
        facts["metrics"] = tuple(metric_from_dict(metric) for metric in facts["metrics"])
        return cls(**facts)


def runs_schema(info: ReleaseInfo) -> pa.Schema:
    """Return the schema of a release's runs: fixed columns, and two for every metric."""
    measured = [pa.field(metric.column, pa.float64()) for metric in info.metrics]
    counted = [pa.field(metric.count_column, pa.int32()) for metric in info.metrics]
    return pa.schema(
        [
            pa.field("release", pa.string(), nullable=False),
            pa.field("dataset", pa.string(), nullable=False),
            pa.field("index", pa.int32(), nullable=False),
            pa.field("seed", pa.int32()),
            pa.field("seeds", pa.int16(), nullable=False),
            pa.field("test_images", pa.int32(), nullable=False),
            *measured,
            *counted,
            pa.field("failure", pa.string()),
            pa.field("settings", pa.string()),
            pa.field("engine", pa.string()),
            pa.field("train_seconds", pa.float64()),
            pa.field("eval_seconds", pa.float64()),
            pa.field("peak_memory_mib", pa.float64()),
            pa.field("device", pa.string()),
            pa.field("versions", pa.string()),
            pa.field("revision", pa.string()),
            pa.field("date", pa.timestamp("ms", tz="UTC")),
        ],
        metadata={_METADATA_KEY: info.to_json()},
    )


CURVES_SCHEMA = pa.schema(
    [
        pa.field("release", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("epoch", pa.int16(), nullable=False),
        pa.field("learning_rate", pa.float64(), nullable=False),
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("train_acc", pa.float64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("clean_acc", pa.float64(), nullable=False),
        pa.field("pgd_acc", pa.float64(), nullable=False),
    ]
)

OUTCOMES_SCHEMA = pa.schema(
    [
        pa.field("release", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("index", pa.int32(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("images", pa.int32(), nullable=False),
        pa.field("correct", pa.binary(), nullable=False),
    ]
)


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
    for name, facts in info.datasets.items():
        columns[f"parameters@{name}"] = facts.skeleton.parameters(*convolutions).tolist()
        columns[f"flops@{name}"] = facts.skeleton.flops(*convolutions).tolist()
    return pa.table(columns)


def write_table(
    table: pa.Table, path: str | os.PathLike[str], *, replace: bool = True, floats: Sequence[str] = ()
) -> bool:
    """Write a table to one Parquet file that appears whole or not at all, one row group per data set.

    The file is written beside its place under a name that no reader looks at, flushed to the disk and renamed.

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
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
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
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        written = _put(beside, path, replace)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
    _flush_folder(path.parent)
    return written


def _put(beside: Path, path: Path, replace: bool) -> bool:
    """Give a finished file its name; return False if the name is taken and is not to be replaced."""
    if replace:
        os.replace(beside, path)
        return True
    try:
        os.link(beside, path)  # fails if the name is taken, in one step
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        os.replace(beside, path)
    return True


def _by_dataset(table: pa.Table) -> Iterator[pa.Table]:
    """Cut a table wherever the data set changes, so that a reader of one data set skips the others."""
    if "dataset" not in table.column_names or not table.num_rows:
        yield table
        return
    names = table.column("dataset").to_pylist()
    starts = [row for row in range(len(names)) if row == 0 or names[row] != names[row - 1]]
    for start, end in zip(starts, [*starts[1:], len(names)], strict=True):
        yield table.slice(start, end - start)


def _flush_folder(folder: Path) -> None:
    """Flush a rename to the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Reader:
    """Columns of one table kept in a file, in a folder of shards or in memory.

    Of a single file only the asked columns are read, when they are asked for; shards are read at once.

    Parameters
    ----------
    source : path or pyarrow.Table
        A Parquet file, a folder whose Parquet files are shards of one table, or a table.

    Raises
    ------
    MissingDataError
        If there is no such file, or no Parquet file in the folder.
    TableError
        If a file is not Parquet, is cut or damaged, or if shards describe different releases.
    """

    def __init__(self, source: str | os.PathLike[str] | pa.Table) -> None:
        self._table: Any = None  # either a table or a file is there
        self._file: Any = None
        if isinstance(source, pa.Table):
            self.paths: list[Path] = []
            self._table = source
        else:
            self.paths = _shards(Path(source))
            if len(self.paths) == 1:
                self._file = _open(self.paths[0])
            else:  # there may be more shards than a process may keep open
                self._table = _concatenate(self.paths)
        with _damage(self.paths[0] if self.paths else Path("table")):
            self.schema: pa.Schema = self._file.schema_arrow if self._file else self._table.schema
            self._names: list[str] = self.schema.names

    def info(self) -> ReleaseInfo:
        """Return the description in the metadata of a runs table; `TableError` if there is none."""
        name = self.paths[0] if self.paths else "table"
        text = (self.schema.metadata or {}).get(_METADATA_KEY)
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
            if self._names.count(name) != 1:
                problem = f"column {name!r} stands twice" if name in self._names else f"no column {name!r}"
                raise TableError(self.paths[0] if self.paths else "table", problem)
        wanted = None if columns is None else list(dict.fromkeys([*columns, *(["dataset"] if dataset else [])]))
        if self._file is not None:
            table = _read(self.paths[0], self._file, wanted, dataset)
        else:
            table = self._table if wanted is None else self._table.select(wanted)
        if dataset is not None:
            table = _rows_of(table, dataset)
        return table if columns is None else table.select(list(columns))


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
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(child for child in path.glob("*.parquet") if not child.name.startswith("."))
        if found:
            return found
        raise MissingDataError(f"no Parquet file in {path}", "name a folder that holds a table")
    raise MissingDataError(f"no file or folder {path}", "check the path")


def same_kind(schema: pa.Schema, other: pa.Schema) -> bool:
    """Return whether two tables have the same columns and the same release description, its facts in whatever order."""
    return bool(schema.equals(other) and _facts(schema) == _facts(other))


def _facts(schema: pa.Schema) -> Any:
    """Return the release description in the metadata, or what stands in its place."""
    text = (schema.metadata or {}).get(_METADATA_KEY)
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _concatenate(paths: Sequence[Path]) -> pa.Table:
    """Read shards of one table; refuse those of another."""
    parts: list[pa.Table] = []
    for path in paths:
        with contextlib.closing(_open(path)) as file:
            if parts and not same_kind(file.schema_arrow, parts[0].schema):
                raise TableError(path, f"its columns or its release description differ from those of {paths[0]}")
            parts.append(_read(path, file, None, None))
    return pa.concat_tables(parts).combine_chunks()


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a file that is not readable Parquet into a `TableError`."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(path, f"not readable as Parquet, perhaps cut or damaged ({first_line})") from None


def _open(path: Path) -> pq.ParquetFile:
    with _damage(path):
        footer = pq.read_metadata(path)
        encoded = [name for name in footer.schema.names if name == "dataset"]
        return pq.ParquetFile(path, metadata=footer, page_checksum_verification=True, read_dictionary=encoded)


def _read(path: Path, file: pq.ParquetFile, columns: list[str] | None, dataset: str | None) -> pa.Table:
    with _damage(path):
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
    return dataset in names.unique().to_pylist()


def numpy_column(column: pa.ChunkedArray) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return the values of a numeric column and which of them are not null, without importing pandas.

    `pyarrow.ChunkedArray.to_numpy` would import pandas, which costs more than the whole query. The value at a null is
    arbitrary for integers and NaN for floats.
    """
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    dtype = np.dtype(column.type.to_pandas_dtype())
    values, valid = [np.empty(0, dtype)], [np.empty(0, bool)]
    for chunk in chunks:
        validity, data = chunk.buffers()
        end = chunk.offset + len(chunk)
        part = np.frombuffer(data, dtype, count=end)[chunk.offset :]
        if validity is None:
            ok = np.ones(len(chunk), bool)
        else:
            bits = np.unpackbits(np.frombuffer(validity, np.uint8), count=end, bitorder="little")
            ok = bits[chunk.offset :].astype(bool)
        values.append(np.where(ok, part, np.nan) if dtype.kind == "f" else part)
        valid.append(ok)
    return np.concatenate(values), np.concatenate(valid)
