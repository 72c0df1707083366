"""Files that appear whole or not at all, and the hash that names their content: the one writer of the package."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from .reading import is_there, readable

_DAY = 86400.0


def write_with(path: Path, write: Callable[[Path], object], *, replace: bool = True) -> bool:
    """Write a file that appears whole or not at all.

    The file is written beside its place under a name that no reader looks at, flushed to the disk and renamed.

    Parameters
    ----------
    path : Path
        The file; its folder is made if it is not there.
    write : callable
        Writes the content to the path that it is given.
    replace : bool
        Whether a file of that name is replaced. If not, it stays, also when two processes write at once.

    Returns
    -------
    bool
        Whether the file at `path` is the one that was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)

    def write_and_flush(beside: Path) -> None:
        write(beside)
        flush(beside)

    return _write(path, write_and_flush, replace)


def write_bytes(content: bytes, path: Path, *, replace: bool = True) -> bool:
    """Write bytes to a file that appears whole or not at all, as `write_with` does, in as few operations as can be."""

    def write_and_flush(beside: Path) -> None:
        with open(beside, "wb") as file:  # with a buffer, since a bare write may end before all is written
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    try:
        return _write(path, write_and_flush, replace)
    except (FileNotFoundError, NotADirectoryError):
        path.parent.mkdir(parents=True, exist_ok=True)
        return _write(path, write_and_flush, replace)


def write_output(content: bytes, path: Path) -> None:
    """Write what a user asked for at the name that they gave, as `write_bytes` does.

    A link stays, and what it leads to is written; a pipe or a device takes the content and is replaced by nothing.
    """
    if is_stream(path):
        with open(path, "wb") as file:
            file.write(content)
    else:
        write_bytes(content, Path(os.path.realpath(path)))


def is_stream(path: Path) -> bool:
    """Return whether a name is that of a pipe or a device; what stands in ``/dev`` is, wherever it leads."""
    if path.absolute().parts[1:2] == ("dev",):
        return True
    try:
        kind = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)


def _write(path: Path, write: Callable[[Path], None], replace: bool) -> bool:
    beside = unfinished(path)
    written = moved = False
    with naming(path, beside):
        try:
            write(beside)
            written, moved = _put(beside, path, replace)
        finally:
            if not moved:
                beside.unlink(missing_ok=True)
    flush_folder(path.parent)
    return written


@contextlib.contextmanager
def naming(path: Path, beside: Path) -> Iterator[None]:
    """Let an error of the system name a path, not what is hidden beside it, in the system's words, not in pyarrow's."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.strerror = os.strerror(error.errno)
            if error.filename is None or str(beside) in f"{error.filename} {error.filename2}":
                error.filename = str(path)
                del error.filename2
        raise


def unfinished(path: Path) -> Path:
    """Return a name beside a path for what is not finished, which no reader looks at and which tells who writes it."""
    return path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.{os.urandom(4).hex()}.tmp")


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return what tells where numbers of processes mean the same: nodes and containers may share one name."""
    known = [os.uname().nodename]
    with contextlib.suppress(OSError):  # where there is no Linux
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").stat().st_ino)]
    return json_hash(known)[:8]


def is_abandoned(path: Path) -> bool:
    """Return whether the writer of something unfinished is gone: a process of this machine that ended, or a day ago.

    Clocks of machines differ: the day is one by the clock of the disk, from the last change to its folder.
    """
    parts = path.name.rsplit(".", 4)
    if len(parts) == 5 and parts[1] == _machine() and parts[2].isdecimal():
        try:
            os.kill(int(parts[2]), 0)
        except ProcessLookupError:
            return True
        except OSError:  # it is another user's
            pass
        return False
    try:
        with readable(path):
            return path.parent.stat().st_mtime - path.stat().st_mtime > _DAY
    except FileNotFoundError:
        return False


def free_name(path: Path) -> Path:
    """Return a path, or the first of ``path.1``, ``path.2`` and so on where nothing is yet."""
    return next(each for n in count() if not is_there(each := path.with_name(path.name + (f".{n}" if n else ""))))


def sweep_unfinished(folder: Path) -> list[Path]:
    """Remove what writers left unfinished in a folder that are gone; return what was removed."""
    from shutil import rmtree  # by itself, since reading needs none of it

    removed = []
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if is_abandoned(path):
                rmtree(path) if path.is_dir() else path.unlink()
                removed.append(path)
    return removed


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content as hexadecimal digits."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with readable(path), open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def json_hash(values: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of plain values, written as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def _put(beside: Path, path: Path, replace: bool) -> tuple[bool, bool]:
    """Give a finished file its name, unless that is taken and not to be replaced; return whether, and if it moved."""
    if replace:
        os.replace(beside, path)
        return True, True
    try:
        os.link(beside, path)  # fails if the name is taken, in one step
    except FileExistsError:
        return beside.samefile(path), False  # over a network the answer to a link may be lost, and asked again
    except OSError:  # a file system without hard links
        if is_there(path):
            return False, False
        os.replace(beside, path)
        return True, True
    return True, False


def flush(path: Path) -> None:
    """Flush a file to the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Flush a rename to the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
