"""The files of a table that is under way: one a cell and seed in each folder, named alike, set aside where damaged."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

KEY = ("dataset", "index", "seed")  # columns that tell one run from others


class OfDataset(Protocol):
    """Settings of training or of scores."""

    @property
    def dataset(self) -> str:
        """Canonical name of the data set."""


def shard_name(settings: OfDataset, index: int, seed: int) -> str:
    """Return the name of the file that a cell and seed have in each of the folders of a table."""
    return shard_file(settings.dataset, index, seed)


def shard_file(dataset: str, index: int, seed: int) -> str:
    """Return `shard_name`, given the name of the data set."""
    return f"{dataset}-{index:05d}-{seed}.parquet"


def quarantine(folder: Path, tables: Sequence[str], name: str) -> list[Path]:
    """Move the files called `name` to ``quarantine/``, where nothing looks for rows; return where they are then."""
    moved = []
    for table in tables:  # runs first: without that file the run is missing, wherever this is interrupted
        path, aside = folder / table / name, folder / "quarantine" / table / name
        if path.exists():
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, aside)
            moved.append(aside)
            log.warning("moved to %s", aside)
    return moved
