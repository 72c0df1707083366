"""Checkpoints: written whole or not at all, read without unpickling anything, the same for all engines.

A checkpoint is a line with its version and the SHA-256 of the rest, which is a NumPy archive: every array of the state,
and as JSON how they hang together with the plain values. Tensors are stored as arrays, so that a state can be read
without torch, and on another device than it was made on.

What is wrong with a checkpoint's content is wrong for good: the file is set aside and the run starts again. What keeps
it from being read now, a stale file handle or too little memory say, is an error, and the file stays where it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import struct
import zipfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import InvalidValueError, UnreadableError
from ..files import read_bytes, sweep_unfinished, write_bytes
from . import provenance

log = logging.getLogger(__name__)

_VERSION = b"nasbench-robust checkpoint 2 "
_ENTRIES = {"run": ("engine", "settings", "cell", "seed"), "search": ("settings", "seed")}  # of a key, for messages
_SKELETON = "skeleton"  # the array of the archive that holds all that is no array, as JSON
# What content raises that is not a state; all else, memory and devices of torch among it, is trouble of the moment.
_FAULTS = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, EOFError),
    *(NotImplementedError, struct.error, zipfile.BadZipFile),
)


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

    Raises
    ------
    UnreadableError
        If the system does not give the file, or the memory for it, now; the file stays.
    """
    path = Path(path)
    content = _bytes(path)
    try:
        return None if content is None else _read(_checked(content))
    except MemoryError as error:
        raise UnreadableError(path, error) from error
    except _FAULTS as error:
        set_aside(path, str(error) if type(error) is ValueError else f"not a state: {type(error).__name__}")
        return None


def set_aside(path: Path, problem: str) -> None:
    """Give a checkpoint that is of no use another name, and say why."""
    log.warning("%s cannot be read (%s); set aside as %s", path, " ".join(problem.split()), _rename(path, "damaged"))


def _rename(path: Path, ending: str) -> str:
    """Put an ending to the name of a file, and a number where that name is taken; return the new name."""
    for number in count(1):
        aside = path.with_name(f"{path.name}.{ending}" + (f"-{number}" if number > 1 else ""))
        try:
            aside.touch(exist_ok=False)  # takes the name, so that what is set aside replaces nothing
        except FileExistsError:
            continue
        break
    os.replace(path, aside)
    return aside.name


class _Stateful(Protocol):
    """What is kept in a checkpoint: a trainer, or a search."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state."""


class Checkpoint:
    """Where a run is kept, what tells it from others, and who makes it.

    Parameters
    ----------
    path : path or None
        The file, or None for a run that is not kept.
    kind : str
        ``"run"`` or ``"search"``, for messages.
    key : list
        What tells the run from others, of plain values.
    versions : str
        Who makes it, as its row says.
    images : Images
        On the device that makes it.
    """

    def __init__(self, path: Path | None, kind: str, key: list[Any], versions: str, images: Any) -> None:
        self.path, self._kind, self._images = path, kind, images
        self._origin = {"key": key, "device": device_of(images), "maker": provenance.maker(versions)}

    def save(self, state: dict[str, Any]) -> None:
        """Write the state of the run."""
        if self.path is not None:
            save_state({**state, **self._origin}, self.path)

    def resume(self, owner: _Stateful, take_up: Callable[[dict[str, Any]], None]) -> None:
        """Hand the state that is there, if one is, to `take_up`; the `owner` begins anew where that raises for it.

        A state that another build or version has made is set aside: the row would name a maker who made half of it,
        and nobody could make it again.

        Raises
        ------
        InvalidValueError
            If it is the state of another run, or was made on another kind of device.
        UnreadableError
            If it cannot be read, or there is no memory for it, now; the file stays.
        """
        if self.path is None:
            return
        with suppress(OSError):  # what killed processes left half written beside it
            sweep_unfinished(self.path.parent)
        state = load_state(self.path)
        if state is None:
            return
        key, maker = self._origin["key"], self._origin["maker"]
        if state.get("key") != key:
            kept = zip(_ENTRIES[self._kind], key, state.get("key") or [None] * len(key), strict=False)
            differ = ", ".join(f"{name} {mine}, not {other}" for name, mine, other in kept if mine != other)
            expected = (
                f"a state of the {self._kind} with {differ}: use another --out, or remove the file to begin again"
            )
            raise InvalidValueError("checkpoint", str(self.path), expected)
        check_device(state, self._images, str(self.path))
        if state.get("maker") != maker:
            text = "%s was made by %s, and this is %s: the %s starts again; the checkpoint is kept as %s"
            made_by = state.get("maker") or "a version that did not say which it was"
            log.warning(text, self.path, made_by, maker, self._kind, _rename(self.path, "other"))
            return
        try:
            beginning = deepcopy(owner.state_dict())
            take_up(state)
        except _FAULTS as error:
            set_aside(self.path, f"not as this version expects it: {error}")
            owner.load_state_dict(beginning)
        except (MemoryError, RuntimeError) as error:  # the second are torch's, of memory and of devices
            raise UnreadableError(self.path, error) from error


def check_form(state: Any, fresh: Any, where: str = "state") -> None:
    """Raise `ValueError` unless a state has the form of a fresh one: its entries, shapes and types of its arrays.

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
        if getattr(state, "shape", None) != tuple(fresh.shape) or state.dtype != fresh.dtype:
            raise ValueError(f"{where} is not of {fresh.dtype} in the shape {tuple(fresh.shape)}")
    elif isinstance(fresh, (str, bool, int, float)):
        kinds = (int, float) if isinstance(fresh, (int, float)) else str
        if not isinstance(state, kinds):
            raise ValueError(f"{where} is a {type(state).__name__}, not a {type(fresh).__name__}")
    elif isinstance(fresh, (dict, list, tuple)) and not isinstance(state, type(fresh)):
        raise ValueError(f"{where} is a {type(state).__name__}, not a {type(fresh).__name__}")


def _bytes(path: Path) -> bytes | None:
    """Return what a file holds, or None where there is none."""
    try:
        return read_bytes(path)
    except FileNotFoundError:
        return None


def _checked(content: bytes) -> bytes:
    """Return the archive of a checkpoint's content; raise `ValueError` if it is not as it was written."""
    header, _, archive = content.partition(b"\n")
    if not header.startswith(_VERSION):
        raise ValueError("not a checkpoint of this version")
    if header != _VERSION + hashlib.sha256(archive).hexdigest().encode():
        raise ValueError("damaged")
    return archive


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
    """Return how many epochs the run of a checkpoint has finished, or None if there is none, or it is damaged.

    Raises
    ------
    UnreadableError
        If it cannot be read now.
    """
    path = Path(path)
    content = _bytes(path)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(_checked(content)), allow_pickle=False) as archive:
            state = _put_together(json.loads(str(archive[_SKELETON])), defaultdict(lambda: None))  # no array is read
            run = state.get("training") or state["search"]
            return len(run.get("curve", run.get("history")))
    except MemoryError as error:
        raise UnreadableError(path, error) from error
    except _FAULTS:  # who takes it up says what is wrong
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
