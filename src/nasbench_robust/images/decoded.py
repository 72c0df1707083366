"""Decoded images, kept on the disk: decoding takes many times as long as reading and checking what it gave.

They belong to the SHA-256 of the files that they come from, since a time and a size are the same for a file that was
copied over another, and are checked against their own whenever they are read. The arrays are mapped into memory: all
processes of a machine share one copy. A state that is damaged is followed by a new one; no file that somebody may have
mapped is ever replaced, see `files.commits`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import Dataset
from ..files import MANIFEST, checksum, commit, home, json_hash, latest, mismatch
from .images import ArraySplit, Split

log = logging.getLogger(__name__)

_FORM = 1  # to be raised whenever the same files would give other arrays
_ARRAYS = ("pixels.npy", "labels.npy")


def decoded_once(files: Sequence[Path], row: Dataset, decode: Callable[[], ArraySplit]) -> ArraySplit:
    """Return what `decode` makes of files, from the cache where it is there; what cannot be kept is decoded each time.

    Parameters
    ----------
    files : sequence of Path
        All files of a split, in order.
    row : Dataset
    decode : callable
        What it returns depends on the files and on the size of the data set's images alone.
    """
    try:
        origin = [_FORM, row.image_size, row.input_channels, *map(checksum, files)]
        folder = home() / "images" / f"{row.name}-{json_hash(origin)}"
        state = latest(folder)
    except OSError as error:  # a user without a home, a file that is gone: decoding says what is wrong with those
        log.info("decoded images are not kept (%s)", error)
        return decode()
    split = None if state is None else _read(state.folder)
    if split is None:
        split = decode()
        try:
            commit(folder, partial(_write, split), state)
        except OSError as error:
            log.info("decoded images are not kept in %s (%s)", folder, error.strerror or error)
    return split


def _read(folder: Path) -> ArraySplit | None:
    """Return the images of a state, or None where it is damaged."""
    try:
        problems = [problem for name in _ARRAYS if (problem := mismatch(folder / MANIFEST, folder / name))]
        if not problems:  # a private mapping: what a process writes to it stays with that process
            return Split(*(np.asarray(np.load(folder / name, mmap_mode="c")) for name in _ARRAYS))
    except OSError as error:
        problems = [str(error)]
    log.warning("decoded images in %s are of no use (%s) and are made again", folder, problems[0])
    return None


def _write(split: ArraySplit, folder: Path) -> dict[str, Any]:
    for name, array in zip(_ARRAYS, split, strict=True):
        np.save(folder / name, array)
    return {}
