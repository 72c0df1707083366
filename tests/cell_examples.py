"""Cells, and objects that are none."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

ALL_NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
CELL_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
CELL_9 = "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


class Unindexable:
    def __index__(self) -> int:
        raise ValueError("changed my mind")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Unarrayable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no numbers, as a tensor that requires a gradient has none")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from([10**400, np.float32("nan"), np.datetime64("NaT"), object, len, ..., range(6), {1}, 2**63, 2**64])
)
OBJECTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=7) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=40,
)
