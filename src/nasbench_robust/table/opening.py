"""The one way to open a runs table, whatever it is kept in."""

from __future__ import annotations

import os

import pyarrow as pa

from ..files import as_path, is_folder
from .files import Reader


def open_table(source: str | os.PathLike[str] | pa.Table | Reader) -> Reader:
    """Open a runs table: a file, a folder of files, a table in memory, or a folder in which one is being made.

    Raises
    ------
    MissingDataError, UnreadableError, TableError
        If there is none, or it cannot be read.
    """
    if isinstance(source, Reader):
        return source
    if isinstance(source, pa.Table) or not is_folder(path := as_path(source, "source")):
        return Reader(source)
    from .folders import open_folder  # what folders need takes a tenth of the time of a first query

    return open_folder(path)
