"""Unpacking a table, once: where that may be kept, and what is written there."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from .. import files
from ..errors import NasbenchRobustError, TableError
from ..version import __version__
from .unpacked import HEAD, Unpacked, read_about

FORMAT = 1  # to be raised whenever the same table is unpacked to something else
_IDENTITY = ("index", "seed", "seeds", "train_seconds")


def unpack(path: Path, digest: str, commit: str = "") -> Unpacked | Path:
    """Return a table with its numbers unpacked, now or by somebody else before; where they can be kept, else its path.

    They are kept beside the table or, where its folder cannot be written to, with the downloads. Any number of
    processes may do so at once: the file is the same for all, and appears whole.

    Parameters
    ----------
    path : Path
    digest : str
        The SHA-256 of the table, which it was checked against.
    commit : str
        As `Reader.commit`.
    """
    for place in _places(path, f".{digest[:16]}-{__version__}-{FORMAT}.unpacked"):
        if (about := read_about(place, digest)) is not None:
            return Unpacked(path, commit, place, about)
        if os.access(place.parent, os.W_OK):
            with suppress(OSError, MemoryError, NasbenchRobustError):  # a full disk, say
                files.write_bytes(_content(path, digest), place)
            about = read_about(place, digest)
            return path if about is None else Unpacked(path, commit, place, about)
    return path


def _places(path: Path, name: str) -> Iterator[Path]:
    yield path.with_name(name)
    with suppress(OSError, NasbenchRobustError):
        folder = files.home() / "unpacked"
        folder.mkdir(parents=True, exist_ok=True)
        yield folder / name


def _content(path: Path, digest: str) -> bytes:
    """Return what `read_about` and `Unpacked` read: a description, then the parts one behind the other.

    Raises
    ------
    TableError
        If the table is, or became, another one than that of the hash.
    """
    from .info import METADATA_KEY  # with the whole library behind them, which this is there to do without
    from .store import Store

    store, parts = Store(path), {}
    columns: dict[str, dict[str, str]] = {}  # by data set and every name of a metric
    seeds: dict[str, dict[str, list[int]]] = {}
    for dataset in store.info.datasets:
        measured = store.measured(dataset)
        seeds[dataset] = {metric.column: store.seeds(dataset, metric) for metric in measured}
        columns[dataset] = {}
        for name in dict.fromkeys(name for one in measured for name in (one.name, one.long_name, one.column)):
            with suppress(NasbenchRobustError):  # a short name that means a budget which was not measured
                columns[dataset][name] = store.metric(dataset, name).column
        for name in (*_IDENTITY, *(column for one in measured for column in (one.column, one.count_column))):
            values, has_value = store.source.numbers(dataset, name)
            parts[f"{dataset} {name} values"] = values
            parts[f"{dataset} {name} validity"] = has_value
        for metric in measured:
            parts[f"{dataset} {metric.column} answers"] = store.array(dataset, metric, None)
    if files.checksum(path) != digest:
        raise TableError(path, "changed while it was read")
    contents = [array.tobytes() for array in parts.values()]
    starts = [0, *accumulate(map(len, contents))]
    places = {
        name: (start, len(content), zlib.crc32(content), array.dtype.str)
        for (name, array), start, content in zip(parts.items(), starts, contents, strict=False)
    }
    info = store.reader.schema.metadata[METADATA_KEY].decode()
    about: dict[str, Any] = {"sha256": digest, "order": sys.byteorder, "size": starts[-1], "info": info}
    text = json.dumps({**about, "columns": columns, "seeds": seeds, "parts": places}).encode()
    return b"".join((HEAD.pack(len(text), zlib.crc32(text)), text, *contents))
