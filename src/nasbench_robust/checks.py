"""Checks of values by their range: each is made once, and is asked with the name that an error is to give."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from typing import Any, TypeAlias

from .errors import InvalidValueError, UnknownNameError

LARGEST_SEED = 2**31 - 1

# Takes what a value is called and the value; returns the value as it is to be kept, or raises.
Check: TypeAlias = Callable[[str, Any], Any]


def integer(least: int, most: int | None = None) -> Check:
    """Return the check of an integer of at least `least` and at most `most`, NumPy's too; a boolean is none."""
    expected = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most:,}"

    def inside(value: int) -> int:
        return max(value, least) if most is None else min(max(value, least), most)

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InvalidValueError(name, value, expected, str(inside(_meant(value, least))))
        nearest = inside(int(value))
        if value != nearest:
            raise InvalidValueError(name, value, expected, str(nearest))
        return nearest

    return check


def _meant(value: object, otherwise: int) -> int:
    """Return the integer that a float or a text of digits stands for: 150 for 150.0 and for "150"."""
    try:
        return round(float(value))  # type: ignore[arg-type]  # whatever cannot be one is none
    except (TypeError, ValueError, OverflowError):
        return otherwise


def seed(name: str, value: Any) -> int:
    """Check a seed: what the column of seeds can hold."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) <= LARGEST_SEED:
        raise InvalidValueError(name, value, f"an integer from 0 to {LARGEST_SEED}")
    return int(value)


def number(least: float = 0.0, *, above: bool = False, most: float = sys.float_info.max) -> Check:
    """Return the check of a finite number of at least `least`, or above it, and at most `most`; kept as a float."""
    limit = "" if most == sys.float_info.max else f" and at most {most:g}"
    expected = f"a finite number {'above' if above else 'of at least'} {least:g}{limit}"

    def check(name: str, value: Any) -> float:
        is_real = isinstance(value, Real) and not isinstance(value, bool)
        if not is_real or not least <= value <= most or (above and value == least):  # NaN fails too
            raise InvalidValueError(name, value, expected)
        return float(value)

    return check


def flag(name: str, value: Any) -> bool:
    """Check a boolean, NumPy's too; 0, 1, None and words are none."""
    if isinstance(value, bool) or type(value).__name__ == "bool":  # NumPy's class, without importing it
        return bool(value)
    raise InvalidValueError(name, value, "True or False")


def items(name: str, value: Any, expected: str) -> list[Any]:
    """Return a sequence as a list; a lone name, a number or a table of them is none, and named as `expected`."""
    if not isinstance(value, (str, bytes, Mapping)):
        with suppress(Exception):  # whatever a foreign object raises
            return list(value)
    raise InvalidValueError(name, value, expected, repr([value]) if isinstance(value, (str, Integral)) else None)


def kind(expected: type, hint: str | None = None) -> Check:
    """Return the check of an instance; `hint` is one."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, expected):
            raise InvalidValueError(name, value, f"a {expected.__name__}", hint)
        return value

    return check


def one_of(title: str, choices: Sequence[str]) -> Check:
    """Return the check of a name among `choices`; `title` is what an error calls such names."""

    def check(_name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise UnknownNameError(title, value, tuple(choices))
        return value

    return check
