"""The arguments that every function of a kernel takes, checked. No torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Integers
from ..errors import InvalidValueError, UnknownNameError

TINY = math.ulp(0.0)  # the lower end of a range that excludes 0
CODINGS = {
    "one_hot": "1 for the sample's class, 0 for the others",
    "centred_one_hot": "one_hot minus 1 / classes: the targets of a sample sum to 0, and guessing is the zero function",
}

# Far above rounding, far below what an attack does to a kernel: more is a cross kernel that was taken for symmetric.
_ASYMMETRY = {"fp32": 1e-4, "mixed": 1e-2, "fp64": 1e-4}


def checked_matrix(name: str, matrix: npt.ArrayLike, shape: tuple[int, int] | None = None) -> Floats:
    """Return a matrix in fp64; its entries may be nan, which is a failure of the kernel and not of the call.

    Parameters
    ----------
    name : str
        What an error calls it.
    matrix : array_like
        Real numbers.
    shape : tuple of int, optional
        The shape that it must have; square with at least one row by default.

    Raises
    ------
    InvalidValueError
        If it holds something else than real numbers, or has another shape.
    """
    try:
        array = np.asarray(matrix)
        if array.dtype.kind not in "fiu":
            raise TypeError
    except (TypeError, ValueError, RuntimeError):  # torch refuses a tensor that needs a gradient with the last one
        raise InvalidValueError(name, matrix, "a matrix of real numbers") from None
    if shape is None and (array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size):
        raise InvalidValueError(name, matrix, f"a square matrix, one row per sample; its shape is {array.shape}")
    if shape is not None and array.shape != shape:
        raise InvalidValueError(name, matrix, f"a matrix of shape {shape}; its shape is {array.shape}", str(shape))
    return array.astype(np.float64)


def not_finite(matrix: Floats, name: str = "the kernel") -> str | None:
    """Return what is wrong with the first entry that is nan or infinite, or None."""
    wrong = np.argwhere(~np.isfinite(matrix))
    if not len(wrong):
        return None
    row, column = wrong[0].tolist()
    first = f"entry [{row}, {column}] is {matrix[row, column]}"
    return f"{len(wrong)} of {matrix.size} entries of {name} are not finite; {first}"


def scaled(matrix: Floats) -> Floats:
    """Return the matrix over its largest entry, so that squares stay in range."""
    return np.asarray(matrix / (np.abs(matrix).max() or 1), np.float64)


def symmetric_part(name: str, matrix: Floats, precision: str) -> Floats:
    """Return (K + K^T) / 2; raise `InvalidValueError` where it differs from K by more than rounding."""
    unit = scaled(matrix)
    asymmetry = np.linalg.norm(unit - unit.T) / (2 * np.linalg.norm(unit) or 1)
    if asymmetry > _ASYMMETRY[precision]:
        raise InvalidValueError(name, matrix, "a symmetric matrix; a cross kernel is of kind 'cross'")
    return np.asarray(matrix / 2 + matrix.T / 2, np.float64)


def checked_labels(labels: npt.ArrayLike, samples: int, classes: int | None = None, name: str = "labels") -> Integers:
    """Return one class number per sample.

    Parameters
    ----------
    labels : array_like of int, shape (samples,)
        From 0 to classes - 1.
    samples : int
        How many there must be.
    classes : int, optional
        Upper end of the range; unlimited by default.
    name : str
        What an error calls them.

    Raises
    ------
    InvalidValueError
        If there are more or fewer, they are not integers, one is out of range, or there are fewer than 2 classes.
    """
    if classes is not None and (not _is_integer(classes) or classes < 2):
        raise InvalidValueError("classes", classes, "a number of classes, at least 2", "2")
    try:
        array = np.asarray(labels)
    except (TypeError, ValueError):
        raise InvalidValueError(name, labels, "integers, one per sample") from None
    if array.dtype.kind not in "iu":
        raise InvalidValueError(name, labels, f"integers, one per sample; their type is {array.dtype}")
    if array.shape != (samples,):
        raise InvalidValueError(name, labels, f"{samples} labels, one per sample; their shape is {array.shape}")
    highest = math.inf if classes is None else classes - 1
    wrong = np.flatnonzero((array < 0) | (array > highest))
    if len(wrong):
        label = int(array[wrong[0]])
        expected = "classes from 0" + (f" to {highest}" if classes else "")
        raise InvalidValueError(
            name, labels, f"{expected}; label {wrong[0]} is {label}", str(max(0, min(label, highest)))
        )
    return array.astype(np.int64)


def coded_targets(labels: Integers, classes: int, coding: str) -> Floats:
    """Return the targets of a regression on class numbers, shape (n, classes); `coding` is a key of `CODINGS`."""
    if coding not in CODINGS:
        raise UnknownNameError("coding", coding, tuple(CODINGS))
    targets = np.eye(classes)[labels]
    return targets - 1 / classes if coding == "centred_one_hot" else targets


def checked_real(
    name: str, number: Any, expected: str, low: float = -math.inf, high: float = math.inf, hint: str | None = None
) -> float:
    """Return a finite real number in [low, high]; `expected` and `hint` are what the error says otherwise."""
    is_real = isinstance(number, (int, float, np.integer, np.floating)) and not isinstance(number, bool)
    if not is_real or not math.isfinite(number) or not low <= number <= high:
        raise InvalidValueError(name, number, expected, hint)
    return float(number)


def _is_integer(number: object) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)
