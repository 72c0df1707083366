"""A quantity that may not exist, and the row of a table that a score is. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InvalidValueError


@dataclass(frozen=True)
class Value:
    """A number, or the reason why there is none: never both, and never nan or infinity.

    Attributes
    ----------
    value : float or None
        Finite where there is one.
    failure : str or None
        Why the quantity cannot be computed, for example because the kernel is singular.

    Raises
    ------
    InvalidValueError
        If both or neither are given, or the number is not finite.
    """

    value: float | None
    failure: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (not self.failure):
            raise InvalidValueError("Value", (self.value, self.failure), "either a value or the reason of a failure")
        if self.value is not None and not math.isfinite(self.value):
            raise InvalidValueError("value", self.value, "a finite number; a quantity that has none needs a failure")

    @classmethod
    def of(cls, number: float) -> Value:
        """Return the number as a value, or the failure that its computation left the range of fp64."""
        if math.isfinite(number):
            return cls(float(number))
        return cls(None, f"the result is {number}: it leaves the range of fp64 arithmetic")

    @classmethod
    def failed(cls, reason: str) -> Value:
        """Return the failure."""
        return cls(None, reason)


@dataclass(frozen=True)
class Scored:
    """One score of one network: which it is, and its `Value`.

    Attributes
    ----------
    kernel : str or None
        Which kernel it is of, an attribute of `ntk.Kernels`; ``"regression"``; None for a proxy.
    attack : str or None
        The attack that the kernel or the images depend on, ``"pgd@8/255"``; None for clean images.
    score : str
        Name of the score.
    value : float or None
        Finite; None where it cannot be computed.
    failure : str or None
        Why it cannot.
    seconds : float
        Time for everything that this score needs, attacks included; scores of one kernel share it.

    Raises
    ------
    InvalidValueError
        If value and failure are no `Value`.
    """

    kernel: str | None
    attack: str | None
    score: str
    value: float | None
    failure: str | None
    seconds: float

    def __post_init__(self) -> None:
        Value(self.value, self.failure)

    @classmethod
    def of(cls, kernel: str | None, attack: str | None, score: str, value: Value, seconds: float) -> Scored:
        """Return the row of a value."""
        return cls(kernel, attack, score, value.value, value.failure, seconds)
