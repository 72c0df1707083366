"""Which edges of a cell matter: by hand, and by writing out what every cell returns."""

from __future__ import annotations

import pytest

from nasbench_robust import cells
from nasbench_robust.cells import EDGES, Cell

BY_HAND = [  # operations of 0->1, 0->2, 1->2, 0->3, 1->3, 2->3; what each edge reads, what is returned, what is live
    ("013024", (None, 0, 1, None, 1, 2), 3, (1, 5)),  # node 1 has no inputs, but its convolutions have values
    ("320400", (None, None, None, 0, None, None), 3, (3,)),  # edges into nodes that go nowhere
    ("101333", (None, None, None, 0, 0, 0), 3, (0, 2, 3, 4, 5)),  # skips that rename a node
    ("101001", (None,) * 6, 0, (0, 2, 5)),  # the input itself
    ("004014", (None,) * 6, 3, ()),  # sums of zeros
]


@pytest.mark.parametrize(("opcodes", "reads", "output", "live"), BY_HAND)
def test_plan_by_hand(opcodes: str, reads: tuple, output: int, live: tuple) -> None:
    plan = Cell.decode(opcodes, encoding="opcodes").plan
    assert (plan.reads, plan.output, plan.live) == (reads, output, live)


def expression(cell: Cell, output: int, reads: tuple) -> list[str]:
    """Return the sorted terms of a node; a convolution, of zeros too, is named by its edge and what it reads."""
    nodes: dict[int, list[str]] = {0: ["input"], 1: [], 2: [], 3: []}
    for edge, (source, operation) in enumerate(zip(reads, cell.operations, strict=True)):
        if source is None or operation == "none":
            continue
        terms = nodes[source] if operation == "skip_connect" else [f"pool({term})" for term in nodes[source]]
        if operation.startswith("nor_conv"):
            terms = [f"{edge}({nodes[source]})"]
        nodes[EDGES[edge][1]] = sorted([*nodes[EDGES[edge][1]], *terms])
    return nodes[output]


def test_plan_computes_what_the_whole_cell_computes_and_nothing_more() -> None:
    for index in range(cells.SIZE):
        cell = Cell.from_index(index)
        plan, whole = cell.plan, expression(cell, 3, tuple(source for source, _ in EDGES))
        assert expression(cell, plan.output, plan.reads) == whole
        for edge in (edge for edge, source in enumerate(plan.reads) if source is not None):
            fewer = (*plan.reads[:edge], None, *plan.reads[edge + 1 :])
            assert expression(cell, plan.output, fewer) != whole
