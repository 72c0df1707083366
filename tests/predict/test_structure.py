"""Counts and paths of live edges: against an enumeration of all paths of a cell, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from nasbench_robust import cells, predict
from nasbench_robust.cells import EDGES, Cell
from nasbench_robust.predict.paths import PATHS

SOME = [0, 9930, 1462, 13714, *np.random.default_rng(7).integers(cells.SIZE, size=300).tolist()]


def paths_of(cell: Cell) -> list[list[int]]:
    """Return all paths from node 0 to node 3 as positions of edges, walked edge by edge."""
    found, open_ways = [], [(0, [])]
    while open_ways:
        node, way = open_ways.pop()
        if node == 3:
            found.append(way)
        for position, (source, target) in enumerate(EDGES):
            if source == node and cell.operations[position] != "none":
                open_ways.append((target, [*way, position]))
    return found


def test_structure_is_what_a_walk_along_all_paths_counts() -> None:
    for index in SOME:
        check_structure(Cell.from_index(index))


def check_structure(cell: Cell) -> None:
    index = cell.index
    paths = [[cell.operations[edge] for edge in path] for path in paths_of(cell)]
    live = [cell.operations[edge] for edge in sorted({edge for path in paths_of(cell) for edge in path})]
    expected = {name: live.count(name) for name in cells.OPERATIONS if name != "none"}
    for name in ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3"):
        expected[f"{name} by path"] = sum(path.count(name) for path in paths)
    expected["identity paths"] = sum(set(path) == {"skip_connect"} for path in paths)
    expected["pooling paths"] = sum("avg_pool_3x3" in path and "conv" not in "".join(path) for path in paths)
    expected["paths"] = len(paths)
    expected["depth"] = max((sum("conv" in name for name in path) for path in paths), default=0)
    assert {name: column[index] for name, column in predict.structure().items()} == expected
    assert predict.path_counts()[index].sum() == len(paths)
    for codes, count in zip(PATHS, predict.path_counts()[index], strict=True):
        assert paths.count([cells.OPERATIONS[code] for code in codes]) == count
    count = expected["nor_conv_3x3"] + 0.5 * expected["nor_conv_1x1"] - 0.5 * expected["avg_pool_3x3"]
    assert predict.structure_count()[index] == count + 0.5 * (expected["identity paths"] > 0)


def test_live_operations_are_those_of_the_plan() -> None:
    for index in SOME:
        cell = Cell.from_index(index)
        live = [code if edge in cell.plan.live else 0 for edge, code in enumerate(cells.opcodes()[index])]
        assert predict.live_operations()[index].tolist() == live


def test_features_are_those_of_the_function_and_tell_functions_apart() -> None:
    rows, families = predict.features(), cells.families()
    assert np.array_equal(rows, rows[families])
    assert len(np.unique(rows, axis=0)) > 0.99 * len(np.unique(families))


@pytest.mark.parametrize("facts", [predict.features, predict.path_counts, predict.live_operations])
def test_facts_cannot_be_written_to(facts) -> None:
    with pytest.raises(ValueError, match="read-only"):
        facts()[0] = 0


def test_the_structure_that_is_returned_is_the_callers_own() -> None:
    predict.structure().clear()
    assert len(predict.structure()) == 11
