"""Something of a test's own before and after every operation on files that this process does."""

from __future__ import annotations

import builtins
import functools
import io
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pyarrow.parquet as pq

from nasbench_robust import table
from nasbench_robust.releases import publishing
from nasbench_robust.runs import collecting
from nasbench_robust.table import files

CHANGES = ("mkdir", "rmdir", "link", "symlink", "rename", "replace", "unlink", "remove", "truncate", "fsync")
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@contextmanager
def watched(step: Callable[[str], None], *, reads: bool = False) -> Iterator[None]:
    """Call `step` with the name of an operation before and after it.

    Operations are those of `CHANGES`, to open a file for writing, and to begin and to end a Parquet file, which Arrow
    writes by itself. With `reads` also, once each, to open a file for reading and to list a folder.
    """

    def around(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **options: Any) -> Any:
            step(name)
            result = function(*args, **options)
            step(name)
            return result

        return wrapped

    def to_write(function: Callable[..., Any], writes: Callable[[Any], bool], default: Any) -> Callable[..., Any]:
        noticed = around("open", function)

        @functools.wraps(function)
        def wrapped(path: Any, mode: Any = default, *args: Any, **options: Any) -> Any:
            if writes(mode):
                return noticed(path, mode, *args, **options)
            if reads:
                step("read")
            return function(path, mode, *args, **options)

        return wrapped

    def list_(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            step("scandir")
            return function(*args)

        return wrapped

    class Writer(pq.ParquetWriter):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            around("write Parquet", super().__init__)(*args, **options)

        def close(self) -> None:
            if self.is_open:
                around("write Parquet", super().close)()

    opened = to_write(builtins.open, lambda mode: bool(set(mode) & set("wax+")), "r")
    low = to_write(os.open, lambda flags: bool(flags & _TO_WRITE), os.O_RDONLY)
    accessor = getattr(pathlib, "_NormalAccessor", None)  # of Python 3.10, which keeps functions of its own
    with ExitStack() as patches:
        for name in CHANGES:
            changed = around(name, getattr(os, name))
            patches.enter_context(mock.patch.object(os, name, changed))
            if hasattr(accessor, name):
                patches.enter_context(mock.patch.object(accessor, name, staticmethod(changed)))
        for place, name, changed in ((builtins, "open", opened), (io, "open", opened), (os, "open", low)):
            patches.enter_context(mock.patch.object(place, name, changed))
        if hasattr(accessor, "open"):
            patches.enter_context(mock.patch.object(accessor, "open", staticmethod(opened)))
        if reads:
            patches.enter_context(mock.patch.object(os, "scandir", list_(os.scandir)))
        patches.enter_context(mock.patch.object(pq, "ParquetWriter", Writer))
        yield


_few_cells: dict[str, Any] = {}


@contextmanager
def small_tables() -> Iterator[None]:
    """Keep to a few cells in tables of cells, and compress less: what is done to files stays the same."""
    whole = table.cells_table

    def few(info: table.ReleaseInfo) -> Any:
        key = str(info.datasets)
        if key not in _few_cells:
            _few_cells[key] = whole(info).slice(0, 40)
        return _few_cells[key]

    with ExitStack() as patches:
        for module in (table, collecting, publishing):
            patches.enter_context(mock.patch.object(module, "cells_table", few))
        patches.enter_context(mock.patch.object(files, "_ZSTD_LEVEL", 1))
        yield
