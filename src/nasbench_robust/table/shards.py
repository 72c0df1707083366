"""Names of the files of a table that is under way, and where damaged ones go."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from ..errors import TableError
from ..files import free_name, is_folder

log = logging.getLogger(__name__)

KEY = ("dataset", "index", "seed")  # columns that tell one run from others
QUARANTINE = "quarantine"
RUNS = "runs"  # the folder of the files of runs


class OfDataset(Protocol):
    """Settings of training or of scores."""

    @property
    def dataset(self) -> str:
        """Canonical name of the data set."""


def shard_name(settings: OfDataset, index: int, seed: int) -> str:
    """Return the name of the file that a cell and seed have in a folder."""
    return shard_file(settings.dataset, index, seed)


def shard_file(dataset: str, index: int, seed: int) -> str:
    """Return `shard_name`, given the name of the data set."""
    return f"{dataset}-{index:05d}-{seed}.parquet"


def quarantine(folder: Path, path: Path) -> Path:
    """Move a damaged file of a folder to ``quarantine/``, where nothing looks for rows, and return where it is then."""
    place = folder / QUARANTINE / path.relative_to(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = free_name(place)  # an earlier one stays
        path.rename(aside)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TableError(path, f"damaged, and cannot be moved to {place.parent} ({error.strerror or error})") from None
    log.warning("moved to %s", aside)
    return aside


def is_run_folder(path: Path) -> bool:
    """Return whether a folder is one in which a table is being made."""
    return is_folder(path / RUNS)
