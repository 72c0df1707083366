"""Encodings of cells: round trips, by hand, NATS-Bench's, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from cell_examples import ALL_NONE, CELL_0, CELL_9, OBJECTS, SCALARS, Unarrayable, Unindexable, Unprintable
from hypothesis import given
from hypothesis import strategies as st

from nasbench_robust.cells import Cell
from nasbench_robust.cells.encodings import ENCODINGS
from nasbench_robust.errors import InvalidCellError, UnknownNameError

ALL_SKIP = ALL_NONE.replace("none", "skip_connect")
NEAR_ENCODINGS = st.lists(st.integers(-1, 5) | SCALARS, min_size=5, max_size=7) | st.lists(
    st.lists(st.integers(-1, 5) | SCALARS, min_size=3, max_size=6), min_size=3, max_size=7
)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_round_trips_over_all_cells(every_cell, encoding):
    for cell in every_cell:
        assert Cell.decode(cell.encode(encoding), encoding=encoding).index == cell.index


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_are_read_like_arrays_and_tuples(encoding):
    cell = Cell.from_index(9930)
    written = cell.encode(encoding)
    as_lists = written if isinstance(written, str) else np.asarray(written).tolist()
    assert Cell.decode(as_lists, encoding=encoding) == cell


def test_adjacency_equals_str2matrix_of_nats_bench(every_cell):
    topology = pytest.importorskip("nats_bench.api_topology").NATStopology
    for cell in every_cell[::40]:
        expected = topology.str2matrix(str(cell))
        assert np.array_equal(cell.encode("adjacency"), expected)
        assert Cell.decode(expected, encoding="adjacency") == cell


def test_encodings_written_out_by_hand():
    cell = Cell.from_str(CELL_9)
    assert cell.encode("opcodes") == "400103"
    assert np.array_equal(cell.encode("adjacency"), [[0, 0, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0], [1, 0, 3, 0]])
    rows = ["00001", "10000", "10000", "01000", "10000", "00010"]
    assert np.array_equal(cell.encode("one-hot"), [list(map(int, row)) for row in rows])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ALL_NONE, (1, 1, 1, 1, 1, 1)),
        (ALL_SKIP, (0, 0, 0, 0, 0, 0)),
        (ALL_NONE.replace("none", "nor_conv_3x3"), (2, 2, 2, 2, 2, 2)),
        # edges 0->1 avg, 0->2 none, 0->3 skip, 1->2 none, 1->3 none, 2->3 conv 3x3
        (CELL_9, (4, 1, 0, 1, 1, 2)),
        # edges 0->1 avg, 0->2 conv 1x1, 0->3 conv 1x1, 1->2 skip, 1->3 skip, 2->3 skip
        (CELL_0, (4, 3, 3, 0, 0, 0)),
        # all six different places: 0->1 none, 0->2 skip, 0->3 conv 3x3, 1->2 conv 1x1, 1->3 avg, 2->3 none
        ("|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|", (1, 0, 2, 3, 4, 1)),
    ],
)
def test_nasbench_suite_zero_tuples_derived_by_hand(text, expected):
    cell = Cell.from_str(text)
    assert cell.encode("nasbench-suite-zero") == cell.encode("naslib") == expected
    assert Cell.decode(expected, encoding="nasbench-suite-zero") == cell
    assert all(type(number) is int for number in cell.encode("naslib"))


@pytest.mark.parametrize("spelling", ["One-Hot", "one_hot", "onehot", "NASBench-201", "nas-bench-suite-zero", "NASLib"])
def test_encodings_go_by_their_usual_spellings(spelling):
    cell = Cell.from_index(1234)
    assert Cell.decode(cell.encode(spelling), encoding=spelling) == cell


@pytest.mark.parametrize("name", ["", "tuple", None, 5, ["one-hot"]])
def test_an_unknown_encoding_is_named_with_the_known_ones(name):
    with pytest.raises(UnknownNameError, match="unknown encoding") as caught:
        Cell.from_index(0).encode(name)
    assert set(ENCODINGS) < set(caught.value.choices)
    with pytest.raises(UnknownNameError):
        Cell.decode("333133", encoding=name)
    with pytest.raises(UnknownNameError, match="did you mean 'adjacency'"):
        Cell.decode("333133", encoding="adjacencies")


@pytest.mark.parametrize(
    ("encoding", "value", "message"),
    [
        ("opcodes", "33313", "expected a string of 6 digits"),
        ("opcodes", 333133, "expected a string of 6 digits"),
        ("opcodes", "333153", "edge 4: expected a digit from 0 to 4, got '5'"),
        ("opcodes", "33313\u0663", "edge 5: expected a digit"),
        ("naslib", (0, 1, 2, 3, 4), r"expected a tuple of 6 integers, got shape \(5,\)"),
        ("naslib", (0, 1, 2, 3, 4, 5), "expected operation numbers from 0 to 4"),
        ("naslib", (0, 1, 2, 3, 4, -1), "expected operation numbers from 0 to 4"),
        ("naslib", (True,) * 6, "of bool"),
        ("naslib", "012340", "expected a tuple of 6 integers"),
        ("naslib", np.ma.array([0, 1, 2, 3, 4, 0], mask=[0, 0, 0, 0, 0, 1]), "expected a tuple of 6 integers"),
        ("adjacency", np.eye(4, dtype=int), "expected zeros on and above the diagonal"),
        ("adjacency", np.tri(4, k=-1, dtype=int).T, "row is target, column is source"),
        ("adjacency", [[0], [0, 0]], "expected a 4x4 integer matrix"),
        ("one-hot", np.zeros((6, 5), int), r"edge 0: expected one 1 and four 0, got \[0, 0, 0, 0, 0\]"),
        ("one-hot", np.ones((5, 6), int), "expected a 6x5 matrix"),
        ("one-hot", [[1, 0, 0, 0, 0]] * 5 + [[1, 1, 0, 0, 0]], "edge 5: expected one 1"),
    ],
)
def test_values_of_a_wrong_encoding_say_what_was_expected(encoding, value, message):
    with pytest.raises(InvalidCellError, match=message):
        Cell.decode(value, encoding=encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [Unindexable(), Unprintable(), Unarrayable(), [Unarrayable()] * 6])
def test_misbehaving_objects_are_no_encoded_cells(value, encoding):
    with pytest.raises(InvalidCellError):
        Cell.decode(value, encoding=encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(value=OBJECTS | NEAR_ENCODINGS)
def test_any_object_is_an_encoded_cell_or_refused(encoding, value):
    try:
        cell = Cell.decode(value, encoding=encoding)
    except InvalidCellError:
        return
    assert np.array_equal(cell.encode(encoding), value.strip() if isinstance(value, str) else value)


@pytest.mark.parametrize("encoding", ["nasbench-suite-zero", "adjacency", "one-hot"])
@given(data=st.data())
def test_any_array_is_an_encoded_cell_or_refused(encoding, data):
    shape = np.shape(Cell.from_index(0).encode(encoding))
    dtype = data.draw(st.sampled_from([np.int8, np.uint64, np.float64, np.bool_, object]))
    numbers = data.draw(st.lists(st.integers(0, 5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    array = np.array(numbers).reshape(shape).astype(dtype)
    try:
        cell = Cell.decode(array, encoding=encoding)
    except InvalidCellError:
        return
    assert np.array_equal(cell.encode(encoding), array)
