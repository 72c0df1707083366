"""The cell space against the published files, NATS-Bench, and slow oracles written from the definitions."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from collections import Counter

import numpy as np
import pytest
from conftest import read_page
from hypothesis import example, given
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.cells import SIZE, Cell
from nasbench_robust.cells.cell import EDGES, OPERATIONS
from nasbench_robust.cells.encodings import ENCODINGS
from nasbench_robust.errors import InvalidCellError, InvalidValueError, UnknownNameError
from nasbench_robust.skeletons import Skeleton

ALL_NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
ALL_SKIP = ALL_NONE.replace("none", "skip_connect")
CELL_0 = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
CELL_9 = "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def every_cell() -> list[Cell]:
    return [Cell.from_index(index) for index in range(SIZE)]


# ---------------------------------------------------------------------- indices, strings, representatives


def test_a_string_and_its_index_name_the_same_cell(every_cell):
    assert len(every_cell) == 5**6 == SIZE
    for index, cell in enumerate(every_cell):
        assert cell.index == index
        assert Cell.from_str(str(cell)) == cell
        assert Cell(cell.operations) == cell
    assert len({str(cell) for cell in every_cell}) == SIZE


def test_strings_outside_the_look_up_are_read_by_the_same_rules(every_cell):
    """White space makes the look-up miss, so this is the parser and not the table."""
    for cell in every_cell[::10]:
        assert Cell.from_str(f"{cell} ") == cell


def test_first_and_tenth_cell_of_the_published_order():
    assert str(Cell.from_index(0)) == CELL_0
    assert str(Cell.from_index(9)) == CELL_9
    assert Cell.from_str(CELL_9).index == 9


def test_all_operations_equal_the_published_operations_file(operations_file, every_cell):
    published = read_page(operations_file)
    assert len(published) == SIZE
    assert [cell.encode("opcodes") for cell in every_cell] == published
    assert ["".join(map(str, row)) for row in cells.opcodes().tolist()] == published


def test_all_representatives_equal_the_published_alias_map(published_file):
    content = read_page(published_file)
    expected = [int(content[str(i)]) if isinstance(content[str(i)], str) else i for i in range(SIZE)]
    assert cells.representatives().tolist() == expected


def test_the_standard_training_file_has_the_same_alias_map(standard_file):
    content = read_page(standard_file)
    expected = [content[str(i)] if isinstance(content[str(i)], int) else i for i in range(SIZE)]
    assert cells.representatives().tolist() == expected


def class_expression(codes: tuple[int, ...]) -> str:
    """Write down node 3 straight from the definition, by recursion."""
    operation_of = dict(zip(EDGES, codes, strict=True))

    def node(target: int) -> str:
        if target == 0:
            return "0"
        return "+".join(sorted(contribution(source, target) for source in range(target)))

    def contribution(source: int, target: int) -> str:
        operation, expression = OPERATIONS[operation_of[source, target]], node(source)
        if operation == "none" or expression == "#":
            return "#"
        return expression if operation == "skip_connect" else f"({expression})@{operation}"

    return node(3)


def test_representatives_equal_a_recursive_reading_of_the_definition():
    smallest: dict[str, int] = {}
    expected = []
    for index, codes in enumerate(cells.opcodes().tolist()):
        expected.append(smallest.setdefault(class_expression(tuple(codes)), index))
    assert cells.representatives().tolist() == expected
    assert len(smallest) == 6_466


def test_representative_and_members_agree(every_cell):
    for index in (0, 1, 10, 12, 879, 9930, 15_624):
        cell = every_cell[index]
        assert cell.representative == cell.members[0] == min(cell.members)
        assert index in cell.members
        assert all(every_cell[member].members == cell.members for member in cell.members[:5])


def test_members_of_all_classes_are_a_partition():
    members = [Cell.from_index(index).members for index in np.unique(cells.representatives()).tolist()]
    assert sorted(itertools.chain.from_iterable(members)) == list(range(SIZE))


def test_arrays_of_the_space_are_read_only():
    for array in (cells.opcodes(), cells.connected(), cells.representatives()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_counts_of_operations(every_cell):
    for operation in OPERATIONS:
        expected = [cell.operations.count(operation) for cell in every_cell]
        assert cells.operation_counts(operation).tolist() == expected
        assert [cell.count(operation) for cell in every_cell] == expected
    with pytest.raises(UnknownNameError, match="did you mean 'nor_conv_3x3'"):
        every_cell[0].count("conv_3x3")


# ---------------------------------------------------------------------- encodings


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


def test_adjacency_written_out_by_hand():
    assert Cell.from_str(CELL_9).encode("adjacency").tolist() == [
        [0, 0, 0, 0],
        [4, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 3, 0],
    ]


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


def test_one_hot_and_opcodes_written_out_by_hand():
    cell = Cell.from_str(CELL_9)
    assert cell.encode("opcodes") == "400103"
    assert cell.encode("one-hot").tolist() == [
        [0, 0, 0, 0, 1],
        [1, 0, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
    ]


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


# ---------------------------------------------------------------------- what names no cell


def test_a_misspelt_operation_names_its_edge_and_the_nearest_operation():
    with pytest.raises(InvalidCellError) as caught:
        Cell.from_str("|none~0|+|none~0|none~1|+|conv_3x3~0|none~1|none~2|")
    assert "edge 3: unknown operation 'conv_3x3'; did you mean 'nor_conv_3x3'?" in str(caught.value)
    with pytest.raises(InvalidCellError) as caught:
        Cell(["none", "none", "none", "conv_3x3", "none", "none"])
    assert "edge 3: unknown operation 'conv_3x3'; did you mean 'nor_conv_3x3'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected 3 nodes joined by '+', got 1"),
        (ALL_NONE + "+|none~0|", "expected 3 nodes joined by '+', got 4"),
        (ALL_NONE[1:], "node 1: expected '|' around its edges, got 'none~0|'"),
        (ALL_NONE[:-1], "node 3: expected '|' around its edges"),
        (ALL_NONE.replace("|none~1|+", "|+"), "node 2: expected 2 incoming edge(s), got 1"),
        (ALL_NONE.replace("~2", "~1"), "edge 5: expected 'operation~2', got 'none~1'"),
        (ALL_NONE.replace("none~2", "none"), "edge 5: expected 'operation~2', got 'none'"),
        (ALL_NONE.replace("none~2", "~2"), "edge 5: unknown operation ''; expected one of none, skip_connect"),
        (ALL_NONE.replace("none", "None"), "edge 0: unknown operation 'None'; did you mean 'none'?"),
        (ALL_NONE.replace("+", " + "), "node 1: expected '|' around its edges"),
    ],
)
def test_a_malformed_string_is_refused_with_the_place(text, message):
    with pytest.raises(InvalidCellError, match=re.escape(message)) as caught:
        Cell.from_str(text)
    assert caught.value.given == text
    assert caught.value.problem in str(caught.value)


def test_white_space_around_a_string_is_accepted():
    assert Cell.from_str(f" {CELL_9}\n") == Cell.of(f"\t{CELL_9}") == Cell.from_index(9)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (True, "a boolean is not a cell index"),
        (np.True_, "a boolean is not a cell index"),
        (1.0, "a cell index is an integer from 0 to 15624"),
        (np.float64(1), "a cell index is an integer from 0 to 15624"),
        ("1", "a cell index is an integer"),
        (None, "a cell index is an integer"),
        (-1, "lies in 0..15624; the nearest is 0"),
        (15_625, "lies in 0..15624; the nearest is 15624"),
        (np.int64(-1), "the nearest is 0"),
        pytest.param(10**5000, "the nearest is 15624", id="too long to be printed"),
    ],
)
def test_what_is_no_index_is_refused(index, message):
    with pytest.raises(InvalidCellError, match=re.escape(message)):
        Cell.from_index(index)


@pytest.mark.parametrize("kind", [int, np.int8, np.uint8, np.int16, np.int64, np.uint64, np.array])
def test_integers_of_every_kind_are_indices(kind):
    assert Cell.from_index(kind(9)) == Cell.of(kind(9)) == Cell.from_str(CELL_9)


def test_of_takes_cells_indices_and_strings():
    cell = Cell.from_index(9)
    assert Cell.of(cell) is cell
    assert Cell.of(9) == Cell.of(CELL_9) == Cell.of(np.str_(CELL_9)) == cell


@pytest.mark.parametrize("arch", [None, 9.0, (4, 0, 0, 1, 0, 3), [9], np.array([9]), np.array(True), CELL_9.encode()])
def test_of_refuses_what_needs_a_named_encoding(arch):
    with pytest.raises(InvalidCellError):
        Cell.of(arch)


class Unindexable:
    def __index__(self) -> int:
        raise ValueError("changed my mind")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Unarrayable:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no numbers, as a tensor that requires a gradient has none")


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (CELL_9, "a string: Cell.from_str"),
        (None, "expected a sequence of six operation names"),
        (["none"] * 5, "expected 6 operations, got 5"),
        (["none"] * 7, "expected 6 operations, got 7"),
        (["none"] * 5 + [0], "edge 5: unknown operation 0; expected one of none"),
        ([Unprintable()] * 6, "edge 0"),
    ],
)
def test_the_constructor_wants_six_known_operations(operations, message):
    with pytest.raises(InvalidCellError, match=re.escape(message)):
        Cell(operations)


@pytest.mark.parametrize("arch", [Unindexable(), Unprintable(), Unarrayable()])
def test_misbehaving_objects_are_no_cells(arch):
    with pytest.raises(InvalidCellError):
        Cell.of(arch)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("value", [Unindexable(), Unprintable(), Unarrayable(), [Unarrayable()] * 6])
def test_misbehaving_objects_are_no_encoded_cells(value, encoding):
    with pytest.raises(InvalidCellError):
        Cell.decode(value, encoding=encoding)


def test_the_message_about_a_long_string_is_short():
    with pytest.raises(InvalidCellError) as caught:
        Cell.from_str(ALL_NONE.replace("none~2", "x" * 100_000 + "~2"))
    assert len(str(caught.value)) < 1_000


# ---------------------------------------------------------------------- arbitrary input

PIECES = [*OPERATIONS, "|", "~", "+", "0", "1", "2", " ", "\n", "conv", "\u0661", "\x00", "\ud800"]


def check_text(text: str) -> None:
    try:
        cell = Cell.from_str(text)
    except InvalidCellError:
        return
    assert str(cell) == text.strip()
    assert Cell.of(text) == cell


@given(st.text() | st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example(CELL_0)
@example(f"  {CELL_9}\u2003")
def test_any_text_is_a_cell_or_refused(text):
    check_text(text)


@given(
    index=st.integers(0, SIZE - 1),
    start=st.integers(0, 100),
    length=st.integers(0, 20),
    piece=st.sampled_from(["", *PIECES]) | st.text(max_size=3),
)
def test_any_damage_to_a_string_gives_a_cell_or_is_refused(index, start, length, piece):
    text = str(Cell.from_index(index))
    check_text(text[:start] + piece + text[start + length :])


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
NEAR_ENCODINGS = st.lists(st.integers(-1, 5) | SCALARS, min_size=5, max_size=7) | st.lists(
    st.lists(st.integers(-1, 5) | SCALARS, min_size=3, max_size=6), min_size=3, max_size=7
)


@given(OBJECTS)
def test_any_object_is_a_cell_or_refused(arch):
    try:
        cell = Cell.of(arch)
    except InvalidCellError:
        return
    assert cell.index == arch or str(cell) == arch.strip()


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


# ---------------------------------------------------------------------- neighbours and random draws


def test_neighbours_are_24_cells_that_differ_in_one_edge(every_cell):
    for cell in every_cell[::25]:
        neighbours = list(cell.neighbours())
        assert len(set(neighbours)) == len(neighbours) == 24
        for other in neighbours:
            assert sum(a != b for a, b in zip(cell.operations, other.operations, strict=True)) == 1


def test_being_neighbours_is_symmetric(every_cell):
    for cell in every_cell[::250]:
        assert all(cell in set(other.neighbours()) for other in cell.neighbours())


def test_mutate_draws_uniformly_from_the_neighbours():
    cell, rng, draws = Cell.from_index(9930), np.random.default_rng(0), 24_000
    drawn = Counter(cell.mutate(rng) for _ in range(draws))
    assert set(drawn) == set(cell.neighbours())
    chi_square = sum((count - draws / 24) ** 2 / (draws / 24) for count in drawn.values())
    assert chi_square < 49.7  # 23 degrees of freedom, p = 0.001; the generator is seeded, so this cannot flicker


def test_sample_draws_from_the_whole_space():
    rng, draws = np.random.default_rng(0), 25_000
    codes = np.array([list(map(int, Cell.sample(rng).encode("opcodes"))) for _ in range(draws)])
    for edge in range(6):
        counts = np.bincount(codes[:, edge], minlength=5)
        assert ((counts - draws / 5) ** 2 / (draws / 5)).sum() < 18.5  # 4 degrees of freedom, p = 0.001


@pytest.mark.parametrize("draw", [Cell.sample, Cell.from_index(9930).mutate], ids=["sample", "mutate"])
def test_draws_depend_on_the_generator_alone(draw):
    one, other, third = (np.random.default_rng(seed) for seed in (7, 7, 8))
    first = [draw(one) for _ in range(20)]
    assert first == [draw(other) for _ in range(20)]
    assert first != [draw(third) for _ in range(20)]


@pytest.mark.parametrize("rng", [None, 0, np.random, np.random.RandomState(0)])
def test_draws_want_a_generator(rng):
    with pytest.raises(InvalidValueError, match=r"numpy\.random\.default_rng"):
        Cell.sample(rng)
    with pytest.raises(InvalidValueError, match=r"numpy\.random\.default_rng"):
        Cell.from_index(0).mutate(rng)


# ---------------------------------------------------------------------- cells as values


def test_a_cell_cannot_be_changed():
    cell = Cell.from_index(9)
    for name in ("index", "_index", "_codes", "operations", "colour"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(cell, name, 1)
    for name in ("_index", "_codes"):
        with pytest.raises(AttributeError, match="immutable"):
            delattr(cell, name)
    assert cell == Cell.from_str(CELL_9)


def test_equality_and_hash_go_by_the_operations(every_cell):
    assert len(set(every_cell)) == SIZE
    assert Cell.from_index(9) == Cell.from_str(CELL_9)
    assert hash(Cell.from_index(9)) == hash(Cell.from_str(CELL_9))
    assert Cell.from_index(9) != Cell.from_index(10)
    assert Cell.from_index(9) != 9
    assert Cell.from_index(9) != CELL_9
    twin = next(member for member in Cell.from_index(0).members if member != 0)
    assert Cell.from_index(0) != Cell.from_index(twin)  # the same graph, another cell


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_gives_an_equal_cell(protocol):
    cell = Cell.from_index(9930)
    again = pickle.loads(pickle.dumps(cell, protocol))
    assert again == cell
    assert again.operations == cell.operations
    assert copy.copy(cell) == copy.deepcopy(cell) == cell


def test_repr_is_an_expression_for_the_cell():
    assert repr(Cell.from_index(9)) == "Cell.from_index(9)"
    assert eval(repr(Cell.from_index(9930))) == Cell.from_index(9930)


def test_parameters_and_flops_follow_the_skeleton():
    cell = Cell.from_index(1462)
    assert cell.parameters() == Skeleton().parameters(0, 6)
    assert cell.flops() == Skeleton().flops(0, 6)
    small = Skeleton.for_dataset("digits", channels=4, cells_per_stage=1)
    assert cell.parameters(small) == small.parameters(0, 6) < cell.parameters()
    assert cell.flops(small) == small.flops(0, 6) < cell.flops()


# ---------------------------------------------------------------------- graph facts


# All four ways from node 0 to node 3, written out.
PATHS = (((0, 3),), ((0, 1), (1, 3)), ((0, 2), (2, 3)), ((0, 1), (1, 2), (2, 3)))


def test_live_edges_are_those_on_a_path_without_none(every_cell):
    for cell in every_cell:
        present = {edge for edge, operation in zip(EDGES, cell.operations, strict=True) if operation != "none"}
        on_a_path = {edge for path in PATHS if present.issuperset(path) for edge in path}
        assert set(cell.live_edges) == on_a_path
        assert len(cell.live_edges) == len(on_a_path)
        assert cell.connected == bool(on_a_path) == cells.connected()[cell.index]


def test_341_cells_in_five_classes_are_disconnected():
    disconnected = np.flatnonzero(~cells.connected())
    assert len(disconnected) == 341
    assert np.unique(cells.representatives()[disconnected]).tolist() == [10, 12, 74, 172, 879]
    # a class is connected as a whole or not at all
    assert np.isin(cells.representatives(), [10, 12, 74, 172, 879]).sum() == 341
