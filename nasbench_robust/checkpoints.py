"""Checkpoints of a run: written whole or not at all, read without unpickling anything but tensors and plain values."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
from pathlib import Path
from typing import Any

import torch

__all__ = ["load_checkpoint", "save_checkpoint"]

log = logging.getLogger(__name__)


def save_checkpoint(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a state to `path`, replacing an older one; a reader sees the old or the new file, never a part.

    Parameters
    ----------
    state : dict
        Tensors, numbers, strings, None, and lists and dicts of these.
    path : path
        The checkpoint.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        buffer = io.BytesIO()  # torch turns a full disk into a RuntimeError; a plain write says what it is
        torch.save(state, buffer)
        with open(beside, "wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()


def load_checkpoint(path: str | os.PathLike[str], device: torch.device) -> dict[str, Any] | None:
    """Read a state, or return None where there is none.

    A checkpoint that cannot be read is set aside under the name ``*.damaged`` and a warning is logged: the run starts
    again, which costs time and no result.
    """
    path = Path(path)
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch, zipfile and pickle each raise their own classes on a damaged file
        aside = path.with_name(path.name + ".damaged")
        os.replace(path, aside)
        log.warning("%s cannot be read (%s); set aside as %s", path, type(error).__name__, aside.name)
        return None
    return state
