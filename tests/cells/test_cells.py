"""The cell space against the published files, NATS-Bench, and slow oracles written from the definitions."""

from __future__ import annotations

import copy
import itertools
import pickle
import re
from collections import Counter

import numpy as np
import pytest
from cell_examples import ALL_NONE, CELL_0, CELL_9, OBJECTS, Unarrayable, Unindexable, Unprintable
from conftest import read_page
from hypothesis import example, given
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.cells import SIZE, Cell
from nasbench_robust.cells.cell import EDGES, OPERATIONS
from nasbench_robust.errors import InvalidCellError, InvalidValueError, UnknownNameError
from nasbench_robust.skeletons import Skeleton

# ---------------------------------------------------------------------- indices, strings, representatives


def test_a_string_and_its_index_name_the_same_cell(every_cell):
    assert len(every_cell) == 5**6 == SIZE
    for index, cell in enumerate(every_cell):
        assert cell.index == index
        assert Cell.from_str(str(cell)) == cell
        assert Cell(cell.operations) == cell
    assert len({str(cell) for cell in every_cell}) == SIZE


def test_white_space_is_accepted_and_makes_the_look_up_miss(every_cell):
    for cell in every_cell[::10]:
        assert Cell.from_str(f" {cell}\n") == Cell.of(f"\t{cell}") == cell


def test_first_and_tenth_cell_of_the_published_order():
    assert str(Cell.from_index(0)) == CELL_0
    assert str(Cell.from_index(9)) == CELL_9
    assert Cell.from_str(CELL_9).index == 9


def test_all_operations_equal_the_published_operations_file(operations_file, every_cell):
    published = read_page(operations_file)
    assert len(published) == SIZE
    assert [cell.encode("opcodes") for cell in every_cell] == published
    assert ["".join(map(str, row)) for row in cells.opcodes().tolist()] == published


@pytest.mark.parametrize("file", ["published_file", "standard_file"])
def test_all_representatives_equal_the_published_alias_maps(file, request):
    """One file writes indices of representatives as strings, the other as numbers."""
    content = read_page(request.getfixturevalue(file))
    found = [content[str(i)] for i in range(SIZE)]
    expected = [int(entry) if isinstance(entry, (str, int)) else i for i, entry in enumerate(found)]
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


def test_the_smallest_member_has_the_smallest_network_and_of_these_the_smallest_index():
    parameters = Skeleton().parameters(cells.operation_counts("nor_conv_1x1"), cells.operation_counts("nor_conv_3x3"))
    smallest: dict[int, tuple[int, int]] = {}
    for index, representative in enumerate(cells.representatives().tolist()):
        size = int(parameters[index]), index
        smallest[representative] = min(smallest.get(representative, size), size)
    expected = [smallest[representative][1] for representative in cells.representatives().tolist()]
    assert cells.smallest_members().tolist() == expected


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


# ---------------------------------------------------------------------- what names no cell


MISSPELT = "edge 3: unknown operation 'conv_3x3'; did you mean 'nor_conv_3x3'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an integer from 0 to 15624, or a string of the form |o~0|+|o~0|o~1|+|o~0|o~1|o~2|"),
        ("9930", "expected an integer from 0 to 15624, or a string"),
        ("|none~0|", "expected 3 nodes joined by '+', got 1"),
        (ALL_NONE + "+|none~0|", "expected 3 nodes joined by '+', got 4"),
        (ALL_NONE[1:], "node 1: expected '|' around its edges, got 'none~0|'"),
        (ALL_NONE[:-1], "node 3: expected '|' around its edges"),
        (ALL_NONE.replace("|none~1|+", "|+"), "node 2: expected 2 incoming edge(s), got 1"),
        (ALL_NONE.replace("~2", "~1"), "edge 5: expected 'operation~2', got 'none~1'"),
        (ALL_NONE.replace("none~2", "none"), "edge 5: expected 'operation~2', got 'none'"),
        (ALL_NONE.replace("none~2", "~2"), "edge 5: unknown operation ''; expected one of none, skip_connect"),
        ("|none~0|+|none~0|none~1|+|conv_3x3~0|none~1|none~2|", MISSPELT),
        (ALL_NONE.replace("none", "None"), "edge 0: unknown operation 'None'; did you mean 'none'?"),
        pytest.param(ALL_NONE.replace("none~2", "x" * 100_000 + "~2"), "edge 5: unknown operation 'xxx", id="long"),
        (ALL_NONE.replace("+", " + "), "node 1: expected '|' around its edges"),
    ],
)
def test_a_malformed_string_is_refused_with_the_place(text, message):
    with pytest.raises(InvalidCellError, match=re.escape(message)) as caught:
        Cell.from_str(text)
    assert caught.value.given == text
    assert caught.value.problem in str(caught.value)
    assert len(str(caught.value)) < 1_000


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


def test_digits_that_may_be_no_index_are_refused():
    assert Cell.from_text(" 9 ") == Cell.from_text(CELL_9) == Cell.from_index(9)
    with pytest.raises(InvalidCellError, match="does not begin with 0; did you mean 9"):
        Cell.from_text("009")
    with pytest.raises(InvalidCellError) as caught:
        Cell.from_text("012340")
    assert str(Cell.decode("012340", encoding="opcodes")) in caught.value.problem


@pytest.mark.parametrize("kind", [int, np.int8, np.uint8, np.int16, np.int64, np.uint64, np.array])
def test_integers_of_every_kind_cells_and_strings_are_taken(kind):
    cell = Cell.from_index(kind(9))
    assert cell == Cell.from_str(CELL_9) == Cell.of(np.str_(CELL_9)) == Cell.of(kind(9))
    assert Cell.of(cell) is cell


NO_CELLS = [None, 9.0, (4, 0, 0, 1, 0, 3), [9], np.array([9]), np.array(True), CELL_9.encode()]


@pytest.mark.parametrize("arch", [*NO_CELLS, Unindexable(), Unprintable(), Unarrayable()])
def test_of_refuses_what_needs_a_named_encoding_or_misbehaves(arch):
    with pytest.raises(InvalidCellError):
        Cell.of(arch)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        (CELL_9, "a string: Cell.from_str"),
        (None, "expected a sequence of six operation names"),
        (["none"] * 5, "expected 6 operations, got 5"),
        (["none"] * 7, "expected 6 operations, got 7"),
        (["none", "none", "none", "conv_3x3", "none", "none"], MISSPELT),
        (["none"] * 5 + [0], "edge 5: unknown operation 0; expected one of none"),
        ([Unprintable()] * 6, "edge 0"),
    ],
)
def test_the_constructor_wants_six_known_operations(operations, message):
    with pytest.raises(InvalidCellError, match=re.escape(message)):
        Cell(operations)


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


@given(OBJECTS)
def test_any_object_is_a_cell_or_refused(arch):
    try:
        cell = Cell.of(arch)
    except InvalidCellError:
        return
    assert cell.index == arch or str(cell) == arch.strip()


# ---------------------------------------------------------------------- neighbours and random draws


def test_neighbours_are_24_cells_that_differ_in_one_edge(every_cell):
    for cell in every_cell[::25]:
        neighbours = list(cell.neighbours())
        assert len(set(neighbours)) == len(neighbours) == 24
        for other in neighbours:
            assert sum(a != b for a, b in zip(cell.operations, other.operations, strict=True)) == 1


def test_neighbours_of_all_cells_stand_in_the_order_of_one_cell(every_cell):
    for index, row in list(enumerate(cells.neighbours().tolist()))[::25]:
        assert row == [other.index for other in every_cell[index].neighbours()]


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
