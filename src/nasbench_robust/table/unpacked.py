"""The numbers of a table as they lie in memory: what a question needs, without pyarrow and, at first, without NumPy.

A table whose content a hash was promised for is unpacked once; `unpacking` does that. The file begins with its own
description, which names that hash, and every part of it has a checksum: one that is cut, damaged or of another table is
taken for none, and what it would have said is read from the table itself.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..arrays import Booleans
    from .files import Reader
    from .info import ReleaseInfo
else:
    from .._door import np

HEAD = struct.Struct("<II")  # length and checksum of the description


class Unpacked:
    """A runs table beside which its numbers lie unpacked; it is opened where more is asked for.

    Parameters
    ----------
    path : Path
        The table.
    commit : str
        As `Reader.commit`.
    place : Path
        The unpacked numbers.
    about : dict
        Their description, as `read_about` returns it.
    """

    def __init__(self, path: Path, commit: str, place: Path, about: dict[str, Any]) -> None:
        self.paths, self.commit = [path], commit
        self._place, self._about = place, about

    @cached_property
    def reader(self) -> Reader:
        """The table itself."""
        from .files import Reader

        return Reader(self.paths[0])

    def info(self) -> ReleaseInfo:
        """Return the description of the release."""
        from .info import ReleaseInfo

        return ReleaseInfo.from_json(self._about["info"])

    def seeds(self, dataset: str, column: str) -> list[int]:
        """Return the seeds of the rows that have a value, as `Store.seeds`."""
        seeds: list[int] = self._about["seeds"][dataset].get(column, [])
        return seeds

    def answers(self, dataset: str, column: str) -> bytes | None:
        """Return the means over seeds by cell index, as doubles; None where they are damaged."""
        part = self._part(dataset, column, "answers")
        return None if part is None else part[0]

    def plain(self, dataset: object, metric: object) -> list[float] | None:
        """Return the answers to a question without budget, seed and split; None where a store has to look at it."""
        columns = self._about["columns"]
        if dataset is None and len(columns) == 1:
            dataset = next(iter(columns))
        if not isinstance(dataset, str) or not isinstance(metric, str) or metric not in columns.get(dataset, ()):
            return None
        answers = self.answers(dataset, columns[dataset][metric])
        return None if answers is None else list(memoryview(answers).cast("d"))

    def numbers(self, dataset: str, name: str) -> tuple[npt.NDArray[Any], Booleans]:
        """Return the values of a column, and which of them there are, as `Reader.numbers`."""
        values, has_value = (self._part(dataset, name, part) for part in ("values", "validity"))
        if values is None or has_value is None:
            return self.reader.numbers(dataset, name)
        return np.frombuffer(*values), np.frombuffer(*has_value)

    def _part(self, *name: str) -> tuple[bytes, str] | None:
        """Return bytes and their type; None where there are none, or others than were written."""
        if (key := " ".join(name)) not in self._about["parts"]:
            return None
        start, size, crc, dtype = self._about["parts"][key]
        with suppress(OSError), open(self._place, "rb") as file:  # no map: where such a file is cut the process dies
            file.seek(self._about["start"] + start)
            content = file.read(size)
            if zlib.crc32(content) == crc:
                return content, dtype
        with suppress(OSError):  # so that the next one makes it again
            self._place.unlink()
        return None


def read_about(place: Path, digest: str) -> dict[str, Any] | None:
    """Return the description of the numbers of the table with this hash; None where these are none."""
    about: dict[str, Any] = {}
    with suppress(OSError, struct.error, ValueError), open(place, "rb") as file:
        size, crc = HEAD.unpack(file.read(HEAD.size))
        text = file.read(size)
        if zlib.crc32(text) == crc:
            about = {**json.loads(text), "start": HEAD.size + size}
        if about and os.fstat(file.fileno()).st_size != about["start"] + about["size"]:
            about = {}
    return about if (about.get("sha256"), about.get("order")) == (digest, sys.byteorder) else None
