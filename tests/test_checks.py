"""Checks of values at the ends of their ranges, and what settings say at those of theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nasbench_robust import checks
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.settings import check_crop, settings_for

TAKEN = [
    (checks.integer(1), [1, 10**12, np.int64(3)], [0, -1, 1.0, True, "1", None, np.bool_(True)]),
    (checks.integer(0, 5), [0, 5, np.uint8(5)], [-1, 6, 5.5]),
    (checks.seed, [0, 2**31 - 1, np.int32(7)], [-1, 2**31, 1.0, False, "0", None]),
    (checks.number(), [0, 0.0, 5, 1e300, np.float32(2)], [-1e-9, float("nan"), float("inf"), True, "1", None, 1j]),
    (checks.number(above=True), [1e-300, 1], [0, 0.0, -1.0, float("nan")]),
    (checks.number(most=10), [0, 10], [10.001, float("inf")]),
    (checks.flag, [True, False, np.True_, np.False_], [1, 0, None, "True", 1.0]),
    (checks.kind(str), ["", "a"], [None, 1, b"a"]),
]


@pytest.mark.parametrize(("check", "good", "wrong"), TAKEN)
def test_ranges_end_where_they_say(check: Callable[[str, Any], Any], good: list[Any], wrong: list[Any]) -> None:
    for value in good:
        kept = check("it", value)
        assert kept == value
        assert type(kept) in (int, float, bool, str)
    for value in wrong:
        with pytest.raises(InvalidValueError, match=r"^(it is|no it is given)"):
            check("it", value)


def test_names_are_one_of_those_there_are() -> None:
    check = checks.one_of("colour", ("red", "blue"))
    assert check("it", "red") == "red"
    for wrong in ("rot", 1, None):
        with pytest.raises(UnknownNameError, match="unknown colour"):
            check("it", wrong)


def test_the_nearest_value_is_named() -> None:
    for value, hint in ((0, "1"), (9, "5"), ("x", "1")):
        with pytest.raises(InvalidValueError) as caught:
            checks.integer(1, 5)("it", value)
        assert caught.value.hint == hint


def test_a_crop_always_holds_some_of_the_image() -> None:
    check_crop(7, 8)
    with pytest.raises(InvalidValueError, match="crop_padding is 8, expected less than 8"):
        check_crop(8, 8)


def test_what_is_measured_where() -> None:
    digits, natural = settings_for("digits"), settings_for("cifar10")
    assert (digits.curve_split, natural.curve_split) == ("validation", "test")
    names = [metric.column for metric in digits.metrics]
    attacked = ["fgsm_acc@0.05", "pgd_acc@0.05", "fgsm_acc@0.1", "pgd_acc@0.1"]
    test = ["clean_acc", *attacked, "autoattack_acc@0.1"]
    assert names == [*test, "clean_acc#validation", *(f"{name}#validation" for name in attacked)]
    assert {metric.split for metric in natural.metrics} == {"test"}
