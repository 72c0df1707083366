"""Checkpoints of a run: written whole or not at all, read without unpickling anything but tensors and plain values.

Those of torch are its own files; those of the native engine, which runs without torch, are NumPy archives.
"""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import write_bytes

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

FACTS = "facts"  # the array of an archive that holds all that is no array, as JSON


def save_checkpoint(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state of torch to `path`, replacing an older one; a reader sees the old or the new file, never a part.

    Parameters
    ----------
    state : dict
        Tensors, numbers, strings, None, and lists and dicts of these.
    path : path
        The checkpoint.
    """
    import torch

    buffer = io.BytesIO()  # torch turns a full disk into a RuntimeError; a plain write says what it is
    torch.save(state, buffer)
    write_bytes(buffer.getvalue(), Path(path))


def load_checkpoint(path: str | os.PathLike[str], device: torch.device) -> dict[str, Any] | None:
    """Read a state of torch, or return None where there is none.

    A checkpoint that cannot be read is set aside under the name ``*.damaged`` and a warning is logged: the run starts
    again, which costs time and no result.
    """
    import torch

    return _read(Path(path), lambda path: torch.load(path, map_location=device, weights_only=True))


def save_archive(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state without tensors, as `save_checkpoint` does.

    Parameters
    ----------
    state : dict
        Arrays; or numbers, strings, None, and lists and dicts of these.
    path : path
        The checkpoint.
    """
    arrays: dict[str, Any] = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    arrays[FACTS] = np.array(json.dumps({name: value for name, value in state.items() if name not in arrays}))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(buffer.getvalue(), Path(path))


def load_archive(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read what `save_archive` wrote, or return None where nothing is; a damaged file is treated as there."""
    return _read(Path(path), _read_archive)


def _read_archive(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive.items())
    facts: dict[str, Any] = json.loads(str(arrays.pop(FACTS)))
    return {**facts, **arrays}


def _read(path: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch, NumPy, zipfile and pickle each raise their own classes on a damaged file
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        log.warning("%s cannot be read (%s); set aside as %s", path, type(error).__name__, aside.name)
        return None
