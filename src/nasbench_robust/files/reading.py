"""Paths and small files that a user names: what is wrong with one becomes one sentence, whatever the system says."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError, MissingDataError, NasbenchRobustError, SourceFormatError, UnreadableError


def as_path(given: object, name: str = "path") -> Path:
    """Return a path that can be asked for, its ``~`` expanded.

    Raises
    ------
    InvalidValueError
        If it is no path or an empty name, holds a zero byte, or starts at the home of a user who is not known here.
    """
    if not isinstance(given, (str, os.PathLike)) or not isinstance(text := os.fspath(given), str) or not text:
        raise InvalidValueError(name, given, "a path")
    if "\0" in text:
        raise InvalidValueError(name, given, "a path without zero bytes")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or no home at all
        raise InvalidValueError(name, given, "a path from / on: that home folder is not known here") from None


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say `UnreadableError` of a path where the system does not let it be read now; that nothing is there passes."""
    try:
        yield
    except (FileNotFoundError, NasbenchRobustError):
        raise
    except (OSError, MemoryError) as error:
        raise UnreadableError(path, error) from None


def is_there(path: Path) -> bool:
    """Return whether there is a file or folder; a name that the system refuses, as too long say, is none.

    Unlike the same question to pathlib it never takes what cannot be seen now for what is not there: `UnreadableError`.
    """
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Return whether there is a file; raises as `is_there`."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; raises as `is_there`."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    try:
        with readable(path):
            return path.stat().st_mode
    except (FileNotFoundError, ValueError):  # the second of names that no file can have
        return None
    except UnreadableError as error:
        if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):
            return None
        raise


def entries(folder: Path, suffix: str = "") -> list[os.DirEntry[str]]:
    """Return what a folder holds under names that end so, by name; nothing where there is no folder.

    What is unfinished, under a name with a dot before it, is left out. Unlike `Path.glob` it never takes a folder that
    cannot be read now for an empty one: `UnreadableError`.
    """
    try:
        with readable(folder), os.scandir(folder) as found:
            kept = [each for each in found if each.name.endswith(suffix) and not each.name.startswith(".")]
    except FileNotFoundError:
        return []
    except UnreadableError as error:
        if error.errno == errno.ENOTDIR:
            return []
        raise
    return sorted(kept, key=lambda entry: entry.name)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    UnreadableError
        If the system does not let it be read now, which says nothing about what it holds.
    """
    with readable(path):
        return path.read_bytes()


def read_text(path: str | os.PathLike[str], what: str = "") -> str:
    """Return a file of UTF-8 text; `what` it is called in messages.

    Raises
    ------
    MissingDataError, SourceFormatError
        If it cannot be read, or is no such text.
    """
    try:
        return as_path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise MissingDataError(f"cannot read {what}{os.fspath(path)} ({error.strerror})", "check the path") from None
    except UnicodeDecodeError as error:
        raise SourceFormatError(path, f"byte {error.start}", "not UTF-8 text") from None


def parse_json(text: str, path: str | os.PathLike[str], where: str = "") -> Any:
    """Return what JSON text holds; `SourceFormatError` where it is none, or nested too deep to be read."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceFormatError(path, where, f"not JSON: {error}") from None
