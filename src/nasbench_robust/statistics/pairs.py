"""Two runs on the same images: which images only one of them withstands, and whether that is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Booleans, Integers, Record, read_only
from ..errors import InvalidValueError


@dataclass(frozen=True, eq=False, repr=False)
class Paired(Record):
    """Outcomes of two runs on the same images.

    Attributes
    ----------
    only_one, only_other : ndarray of int
        Places of the images that the one classifies correctly and the other does not, and the reverse.
    both, neither : int
        How many images both, or neither of them, classify correctly.
    p : float
        Of McNemar's exact test (McNemar 1947, two-sided): the probability that images on which the two differ fall at
        least as unevenly where either is as likely to be right; 1 where they never differ.
    """

    only_one: Integers
    only_other: Integers
    both: int
    neither: int
    p: float

    def __repr__(self) -> str:
        return (
            f"<Paired: {len(self.only_one)} images only the one, {len(self.only_other)} only the other, p {self.p:.3g}>"
        )


def paired(one: npt.ArrayLike, other: npt.ArrayLike) -> Paired:
    """Compare two runs image by image.

    Parameters
    ----------
    one, other : array_like of bool, shape (images,)
        Whether each image is classified correctly, as `Benchmark.outcomes` returns it.

    Raises
    ------
    InvalidValueError
        If they are not booleans of one length.
    """
    first, second = _checked("one", one), _checked("other", other)
    if len(first) != len(second):
        raise InvalidValueError("other", len(second), f"outcomes of the same {len(first)} images")
    only = [read_only(np.flatnonzero(mine & ~others)) for mine, others in ((first, second), (second, first))]
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    return Paired(only[0], only[1], both, neither, mcnemar(len(only[0]), len(only[1])))


def mcnemar(one: int, other: int) -> float:
    """Return the p of McNemar's exact two-sided test, given how many images only the one, only the other has right."""
    differ, tail, term = one + other, 0, 1
    for right in range(min(one, other) + 1):
        tail += term  # the binomial coefficient of `right` out of `differ`, as a whole number
        term = term * (differ - right) // (right + 1)
    return min(1.0, 2 * tail / 2**differ) if differ else 1.0


def _checked(name: str, values: npt.ArrayLike) -> Booleans:
    array = np.asarray(values)
    if array.dtype != bool or array.ndim != 1 or not len(array):
        raise InvalidValueError(name, values, "booleans of shape (images,), as bench.outcomes returns them")
    return array
