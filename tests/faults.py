"""Disks that fail: every read below a folder is counted, and one of them raises what a test wants."""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ERRNOS = ("EACCES", "ESTALE", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ETIMEDOUT", "EPERM", "ELOOP", "ENXIO")
OTHERS: dict[str, Exception] = {
    "MemoryError": MemoryError(),
    "ArrowMemoryError": pa.ArrowMemoryError("malloc of size 64 failed"),
    "codec": pa.ArrowNotImplementedError("Support for codec 'zstd' not built"),
}
OF_SYSTEM = (*ERRNOS, "MemoryError")
OF_ARROW = (*ERRNOS[:4], *OTHERS)


def error_of(kind: str, path: object) -> Exception:
    """Return an error of a kind in `ERRNOS` or `OTHERS`, about a path."""
    if kind in OTHERS:
        return OTHERS[kind]
    number = getattr(errno, kind)
    return OSError(number, os.strerror(number), os.fspath(path) if isinstance(path, (str, os.PathLike)) else None)


class Reads:
    """Counts reads, and fails one of them.

    Attributes
    ----------
    number : int
        How many there were.
    failed : str
        What was failed, for messages.
    """

    def __init__(
        self,
        folder: Path,
        at: int = 0,
        kind: Callable[[tuple[str, ...]], str] = lambda kinds: kinds[0],
        *,
        unfinished: bool = False,
    ) -> None:
        self.folder, self.at, self.kind, self.unfinished = str(folder), at, kind, unfinished
        self.number, self.failed = 0, ""

    def is_watched(self, path: object) -> bool:
        """Return whether a path is below the folder, and not what a writer has under its hands."""
        text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
        return isinstance(text, str) and text.startswith(self.folder) and (self.unfinished or ".tmp" not in text)

    def count(self, what: str, path: object, kinds: tuple[str, ...] = OF_SYSTEM) -> Exception | None:
        """Count a read; return the error where it is the one to fail."""
        self.number += 1
        if self.number != self.at:
            return None
        kind = self.kind(kinds)
        self.failed = f"{kind} at {what} of {path}"
        return error_of(kind, path)


class _Broken(io.FileIO):
    """A file that opens, and cannot be read."""

    error: Exception

    def readall(self) -> bytes:
        raise self.error

    def readinto(self, _: Any) -> int:
        raise self.error


def _opening(real: Callable[..., Any], reads: Reads) -> Callable[..., Any]:
    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not set("wax+") & set(mode) and reads.is_watched(file):
            if error := reads.count("open", file):
                raise error
            if error := reads.count("read", file):
                broken = _Broken(file)
                broken.error = error
                return io.BufferedReader(broken) if "b" in mode else io.TextIOWrapper(io.BufferedReader(broken))
        return real(file, mode, *arguments, **options)

    return opened


def _asking(name: str, real: Callable[..., Any], reads: Reads) -> Callable[..., Any]:
    @functools.wraps(real)
    def asked(*arguments: Any, **options: Any) -> Any:
        path = arguments[0] if arguments else options.get("path")
        reading = name != "open" or not arguments[1] & (os.O_WRONLY | os.O_RDWR)
        if reading and "dir_fd" not in options and reads.is_watched(path) and (error := reads.count(name, path)):
            raise error
        return real(*arguments, **options)

    return asked


def _parsing(name: str, real: Callable[..., Any], reads: Reads, place: int) -> Callable[..., Any]:
    @functools.wraps(real)
    def parsed(*arguments: Any, **options: Any) -> Any:
        source = arguments[place] if place < len(arguments) else None
        named = isinstance(source, (str, os.PathLike))
        if (not named or reads.is_watched(source)) and (error := reads.count(name, source, OF_ARROW)):
            raise error
        return real(*arguments, **options)

    return parsed


@contextmanager
def watched(reads: Reads) -> Iterator[Reads]:
    """Count, and fail, the reads of a block."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", _opening(open, reads))
        for name in ("stat", "lstat", "scandir", "listdir", "readlink", "open"):
            patch.setattr(os, name, _asking(name, getattr(os, name), reads))
        patch.setattr(pq, "read_metadata", _parsing("read_metadata", pq.read_metadata, reads, 0))
        for name in ("__init__", "read", "read_row_groups", "read_row_group"):
            real = getattr(pq.ParquetFile, name)
            patch.setattr(
                pq.ParquetFile, name, _parsing(f"ParquetFile.{name}", real, reads, int(name == "__init__") or 9)
            )
        yield reads


@contextmanager
def watched_writes(writes: Reads) -> Iterator[Reads]:
    """Count, and fail, the writes of a block."""

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set("wax+") & set(mode) and writes.is_watched(file) and (error := writes.count("open", file)):
            raise error
        return real_open(file, mode, *arguments, **options)

    def flushed(descriptor: int) -> None:
        if error := writes.count("fsync", str(descriptor)):
            raise error
        real_fsync(descriptor)

    real_open, real_fsync = open, os.fsync
    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", opened)
        for name in ("mkdir", "rename", "replace", "link", "symlink"):
            patch.setattr(os, name, _asking(name, getattr(os, name), writes))
        patch.setattr(os, "fsync", flushed)
        patch.setattr(pq.ParquetWriter, "write_table", _parsing("write_table", pq.ParquetWriter.write_table, writes, 9))
        patch.setattr(pq.ParquetWriter, "__init__", _parsing("ParquetWriter", pq.ParquetWriter.__init__, writes, 1))
        yield writes
