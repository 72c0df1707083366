"""Checkpoints: written whole or not at all, read without unpickling anything, the same for all engines.

A checkpoint is a NumPy archive: every array in it, and as JSON how they hang together with the plain values. Tensors
are stored as arrays, so that a state can be read without torch, and on another device than it was made on.
"""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..files import write_bytes

log = logging.getLogger(__name__)

_SKELETON = "skeleton"  # the array of the archive that holds all that is no array, as JSON


def save_state(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state to `path`, replacing an older one; a reader sees the old or the new file, never a part.

    Parameters
    ----------
    state : dict
        Arrays, tensors, numbers, strings, None, and lists and dicts of these.
    path : path
        The checkpoint.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    skeleton = json.dumps(_take_apart(state, arrays))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, **{_SKELETON: np.array(skeleton)})  # type: ignore[arg-type]
    write_bytes(buffer.getvalue(), Path(path))


def load_state(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read a state, or return None where there is none; arrays stand where tensors were.

    A checkpoint that cannot be read is set aside under the name ``*.damaged`` and a warning is logged: the run starts
    again, which costs time and no result.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            state: dict[str, Any] = _put_together(json.loads(str(archive[_SKELETON])), archive)
            return state
    except FileNotFoundError:
        return None
    except Exception as error:  # NumPy, zipfile and json each raise their own classes on a damaged file
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        log.warning("%s cannot be read (%s); set aside as %s", path, type(error).__name__, aside.name)
        return None


def _take_apart(value: Any, arrays: dict[str, npt.NDArray[Any]]) -> Any:
    """Return a value as JSON can hold it, with the names of its arrays in their place."""
    if hasattr(value, "detach"):  # a tensor, of a torch that is imported or not
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):  # keys may be integers, which JSON does not have
        return {"dict": [[key, _take_apart(each, arrays)] for key, each in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_take_apart(each, arrays) for each in value]
    return value


def _put_together(value: Any, arrays: Any) -> Any:
    """Undo `_take_apart`."""
    if isinstance(value, list):
        return [_put_together(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {key: _put_together(each, arrays) for key, each in value["dict"]}
