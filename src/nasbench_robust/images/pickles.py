"""Reading the pickles that image data sets are published as, without executing anything that they ask for.

A pickle names functions and the reader calls them. Here the few names that a dictionary of arrays needs lead to
stand-ins of this file, numpy's own reconstruction included; every other name is refused.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import MissingDataError, SourceFormatError
from ..files import as_path

_KINDS = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


class _Dtype:
    """Stands for `numpy.dtype`: plain numbers only, whose state can say no more than the byte order."""

    def __init__(self, kind: str, *_: object) -> None:
        if kind not in _KINDS:
            raise pickle.UnpicklingError(f"it holds an array of type {kind!r}, expected one of {', '.join(_KINDS)}")
        self.kind, self.order = kind, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, *structure = state[1:5]
        if order not in ("|", "<", ">", "=") or any(part is not None for part in structure):
            raise pickle.UnpicklingError("it holds an array of records, expected plain numbers")
        self.order = order

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.kind)


class _Array:
    """Stands for `numpy.ndarray`: empty until its state arrives."""

    values: npt.NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.fill(content, dtype, shape, "F" if is_fortran else "C")

    def fill(self, content: bytes | str, dtype: _Dtype, shape: tuple[int, ...], order: str) -> None:
        # The bytes of Python 2 arrive as text, one character each.
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.values = np.frombuffer(raw, dtype.numpy).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(content: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.fill(content, dtype, shape, order)
    return array


def _encode(text: str, encoding: str) -> bytes:
    """Stand for `_codecs.encode`, by which Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes encoded as {encoding!r}, expected 'latin1'")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}


def _check_memo(content: bytes) -> None:
    """Refuse places in the memo that no such file needs: the reader would take memory for all places before them."""
    for code, argument, _ in pickletools.genops(content):
        if code.name.endswith("PUT") and isinstance(argument, int) and argument > len(content):
            raise pickle.UnpicklingError(f"damaged, or made to fill the memory: it numbers an object {argument}")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; only numbers, text, lists, dictionaries and numpy arrays are read, "
                "and nothing was executed"
            ) from None


def load_pickle(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a pickled dictionary of arrays, lists, numbers and text, written by Python 2 or 3.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict
        Keys as text, also where they were bytes; arrays are read-only.

    Raises
    ------
    MissingDataError
        If the file cannot be read.
    SourceFormatError
        If it is no such pickle, or asks for anything else. Nothing of what it asks for is executed.
    """
    try:
        written = as_path(path).read_bytes()
        _check_memo(written)
        content = _Reader(io.BytesIO(written), encoding="latin1").load()
    except OSError as error:
        raise MissingDataError(f"cannot read {os.fspath(path)} ({error.strerror})", "check the path") from None
    except pickle.UnpicklingError as error:
        raise SourceFormatError(path, "", str(error)) from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise SourceFormatError(path, "", f"not a readable pickle ({type(error).__name__}: {error})") from None
    if not isinstance(content, dict):
        raise SourceFormatError(path, "", f"holds a {type(content).__name__}, expected a dictionary")
    return {
        key.decode("latin1") if isinstance(key, bytes) else str(key): value.values
        if isinstance(value, _Array)
        else value
        for key, value in content.items()
    }
