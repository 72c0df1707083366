"""Checkpoints: written whole or not at all, read without unpickling anything, the same for all engines.

A checkpoint is a line with its version and the SHA-256 of the rest, which is a NumPy archive: every array of the state,
and as JSON how they hang together with the plain values. Tensors are stored as arrays, so that a state can be read
without torch, and on another device than it was made on.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidValueError
from ..files import write_bytes

log = logging.getLogger(__name__)

_VERSION = b"nasbench-robust checkpoint 2 "
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
    content = buffer.getvalue()
    write_bytes(_VERSION + hashlib.sha256(content).hexdigest().encode() + b"\n" + content, Path(path))


def load_state(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Read a state, or return None where there is none; arrays stand where tensors were.

    A checkpoint that is damaged, or of another version, is set aside under the name ``*.damaged`` and a warning is
    logged: the run starts again, which costs time and no result.
    """
    path = Path(path)
    try:
        header, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    problem = "not a checkpoint of this version" if not header.startswith(_VERSION) else "damaged"
    if header == _VERSION + hashlib.sha256(content).hexdigest().encode():
        try:
            return _read(content)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
            problem = f"not a state: {type(error).__name__}"  # written by something else
    set_aside(path, problem)
    return None


def set_aside(path: Path, problem: str) -> None:
    """Give a checkpoint that is of no use another name, and say why."""
    aside = path.with_name(path.name + ".damaged")
    os.replace(path, aside)
    log.warning("%s cannot be read (%s); set aside as %s", path, problem, aside.name)


def check_form(state: Any, fresh: Any, where: str = "state") -> None:
    """Raise `ValueError` unless a state has the form of a fresh one: its entries, and the shapes of its arrays.

    What is empty or None in the fresh one may hold anything.
    """
    if isinstance(fresh, dict) and fresh:
        if not isinstance(state, dict) or state.keys() != fresh.keys():
            raise ValueError(f"{where} has not the entries {', '.join(map(str, fresh))}")
        for name, value in fresh.items():
            check_form(state[name], value, f"{where}, {name}")
    elif isinstance(fresh, (list, tuple)) and fresh:
        if not isinstance(state, (list, tuple)) or len(state) != len(fresh):
            raise ValueError(f"{where} is not a list of {len(fresh)}")
        for number, (one, other) in enumerate(zip(state, fresh, strict=True)):
            check_form(one, other, f"{where}, entry {number}")
    elif hasattr(fresh, "shape"):
        if getattr(state, "shape", None) != tuple(fresh.shape):
            raise ValueError(f"{where} has not the shape {tuple(fresh.shape)}")
    elif isinstance(fresh, (str, bool, int, float)):
        kinds = (int, float) if isinstance(fresh, (int, float)) else str
        if not isinstance(state, kinds):
            raise ValueError(f"{where} is a {type(state).__name__}, not a {type(fresh).__name__}")
    elif isinstance(fresh, (dict, list, tuple)) and not isinstance(state, type(fresh)):
        raise ValueError(f"{where} is a {type(state).__name__}, not a {type(fresh).__name__}")


def _read(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # what is stored as it is cannot grow beyond the file
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        state = _put_together(json.loads(str(arrays[_SKELETON])), arrays)
    if not isinstance(state, dict):
        raise TypeError("no state by name")
    return state


def device_of(images: Any) -> str:
    """Return the kind of device that images are on, as a checkpoint names it: ``"cpu"`` or ``"cuda"``."""
    device = getattr(images.test.pixels, "device", "cpu")  # arrays of an older NumPy have none, those of others a text
    return str(getattr(device, "type", device))


def check_device(state: dict[str, Any], images: Any, path: str) -> None:
    """Refuse a state that was made on another kind of device: its draws cannot be taken up on this one.

    Raises
    ------
    InvalidValueError
        If it was.
    """
    here, there = device_of(images), state.get("device")
    if there not in (None, here):
        expected = f"to go on with a checkpoint of {here}: use --device {there}, or remove the file to begin again"
        raise InvalidValueError("the device of the checkpoint", f"{path} ({there})", expected)


def finished_epochs(path: str | os.PathLike[str]) -> int | None:
    """Return how many epochs the run of a checkpoint has finished, or None if that cannot be read now."""
    try:
        content = Path(path).read_bytes().partition(b"\n")[2]
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            state = _put_together(json.loads(str(archive[_SKELETON])), defaultdict(lambda: None))  # no array is read
            run = state.get("training") or state["search"]
            return len(run.get("curve", run.get("history")))
    except Exception:  # whatever a damaged file raises; who takes it up says what is wrong
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
