"""Kernels in HDF5 files: a group for every cell, data set, seed and settings."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from ..cells import Cell
from ..datasets import canonical_name
from ..errors import InvalidValueError, MissingDataError, MissingPackageError, TableError
from ..files import json_hash, write_with
from ._kernels import Kernels

_MATRICES = tuple(entry.name for entry in fields(Kernels) if entry.name != "beta")


def save_kernels(
    kernels: Kernels, path: str | os.PathLike[str], *, cell: Cell, dataset: str, seed: int, settings: dict[str, Any]
) -> None:
    """Add kernels to a file, which appears with them or stays as it was.

    Parameters
    ----------
    kernels : Kernels
        What to save.
    path : path
        An HDF5 file; it is copied for every addition, so give a large table one file per cell.
    cell, dataset, seed
        What the kernels are of; the group is ``dataset/index/seed/key``.
    settings : dict
        Everything else that decides them, of plain values: attack, bn, output, precision, images, skeleton. Its JSON
        is kept, and the key is its hash.

    Raises
    ------
    InvalidValueError
        If the file has other kernels of this group.
    TableError
        If what is there is damaged, or no HDF5 file.
    """
    path, group = Path(path), _group(cell, dataset, seed, settings)
    stored = _find(path, group) if path.exists() else None
    if stored is not None:
        if not _same(stored, kernels):
            raise InvalidValueError("kernels", group, f"those that {path} has there, or another file")
        return

    def write(beside: Path) -> None:
        if path.exists():
            shutil.copyfile(path, beside)
        with _h5py().File(beside, "a") as file:
            entry = file.create_group(group)
            entry.attrs["settings"] = json.dumps(settings, sort_keys=True)
            entry.attrs["beta"] = kernels.beta
            for name in _MATRICES:
                matrix = getattr(kernels, name)
                if matrix is not None:
                    entry.create_dataset(name, data=matrix, compression="gzip", shuffle=True)

    write_with(path, write)


def load_kernels(
    path: str | os.PathLike[str], *, cell: Cell, dataset: str, seed: int, settings: dict[str, Any]
) -> Kernels:
    """Read kernels that `save_kernels` wrote; arguments as there.

    Raises
    ------
    MissingDataError
        If there is no such file or group.
    TableError
        If the file is damaged.
    """
    path, group = Path(path), _group(cell, dataset, seed, settings)
    if not path.exists():
        raise MissingDataError(f"there is no file {path}", "check the path")
    stored = _find(path, group)
    if stored is None:
        raise MissingDataError(f"{path} has no kernels {group}", "check cell, data set, seed and settings")
    return stored


def _find(path: Path, group: str) -> Kernels | None:
    """Return what a file has in a group, or None; `TableError` if the file is damaged."""
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            if group not in file:
                return None
            matrices = {name: np.asarray(file[group][name]) for name in _MATRICES if name in file[group]}
            return Kernels(**matrices, beta=float(file[group].attrs["beta"]))
    except OSError as error:
        raise TableError(path, f"not a sound HDF5 file ({error})") from None


def _same(one: Kernels, other: Kernels) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in _MATRICES]
    return all(a is b is None or (a is not None and b is not None and np.array_equal(a, b)) for a, b in pairs)


def _group(cell: Cell, dataset: str, seed: int, settings: dict[str, Any]) -> str:
    return f"{canonical_name(dataset)}/{cell.index}/{seed}/{json_hash(settings)}"


def _h5py() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingPackageError("h5py", "ntk") from None
    return h5py
