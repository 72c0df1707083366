"""What all tables of `side_by_side` share: a row of sides, and the libraries that are beside us."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

MISSING: set[str] = set()  # libraries that were asked for and are not installed

Side = tuple[Callable[[], Any], int]  # what is called, and how many operations that makes


@dataclass(frozen=True)
class Row:
    """An operation by several sides, of which ``"ours"`` is one.

    `same` says that all return the same, but for a distance of `apart`, as a share of the largest number; `turns` is
    for what takes seconds.
    """

    operation: str
    sides: dict[str, Side]
    same: bool = True
    apart: float = 0.0
    turns: int | None = None


def library(name: str) -> Any:
    """Return a library, or None where it is not installed, which is remembered."""
    try:
        return import_module(name)
    except ImportError:
        MISSING.add(name)
        return None
