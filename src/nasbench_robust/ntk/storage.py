"""Kernels in HDF5 files: a group for every cell, data set, seed and settings."""

from __future__ import annotations

import hashlib
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
from ..files import as_path, is_there, json_hash, write_with
from ._kernels import Kernels

_MOST_TIMES = 1100  # the size of a file, which gzip can fill: more than 1,032 times is beyond it
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
    path, group = as_path(path), _group(cell, dataset, seed, settings)
    stored = _find(path, group) if is_there(path) else None
    if stored is not None:
        if not _same(stored, kernels):
            raise InvalidValueError("kernels", group, f"those that {path} has there, or another file")
        return

    def write(beside: Path) -> None:
        if is_there(path):
            shutil.copyfile(path, beside)
        with _h5py().File(beside, "a") as file:
            entry = file.create_group(group)
            entry.attrs["settings"] = json.dumps(settings, sort_keys=True)
            entry.attrs["beta"] = kernels.beta
            entry.attrs["sha256"] = _digest(kernels)
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
        If the file is damaged, or the kernels are not those that were saved.
    """
    path, group = as_path(path), _group(cell, dataset, seed, settings)
    if not is_there(path):
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
            entry = file[group]
            size = sum(entry[name].nbytes for name in _MATRICES if name in entry)
            if size > _MOST_TIMES * path.stat().st_size:
                raise TableError(
                    path, f"{group} would take {size / 2**20:.0f} MiB: damaged, or made to fill the memory"
                )
            matrices = {name: np.asarray(entry[name]) for name in _MATRICES if name in entry}
            kernels = Kernels(**matrices, beta=float(entry.attrs["beta"]))
            digest = entry.attrs.get("sha256")  # files of the first versions have none
    except TableError:
        raise
    except Exception as error:  # h5py raises classes of all kinds on a damaged file
        raise TableError(path, f"not a sound HDF5 file ({type(error).__name__}: {error})") from None
    if digest is not None and digest != _digest(kernels):
        raise TableError(path, f"the kernels {group} are not those that were saved: their SHA-256 differs")
    return kernels


def _digest(kernels: Kernels) -> str:
    """Return the SHA-256 of all matrices, with their names, types and shapes, and of beta."""
    digest = hashlib.sha256(repr(float(kernels.beta)).encode())
    for name in _MATRICES:
        matrix = getattr(kernels, name)
        if matrix is not None:
            digest.update(f"{name} {matrix.dtype.str} {matrix.shape}".encode())
            digest.update(np.ascontiguousarray(matrix).tobytes())
    return digest.hexdigest()


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
