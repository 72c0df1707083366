"""Which edges of a cell matter: by hand, and by writing every node out as the set of what it is made of."""

from __future__ import annotations

import pytest

from nasbench_robust import cells
from nasbench_robust.cells import EDGES, Cell

# Edges are 0->1, 0->2, 1->2, 0->3, 1->3, 2->3. The cell, what each edge reads, what is returned, what is live.
BY_HAND = {
    "node 1 has no inputs, its convolutions stay": (
        "|none~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|",
        (None, 0, 1, None, 1, 2),
        3,
        (1, 5),
    ),
    "edges into nodes that go nowhere": (
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|avg_pool_3x3~0|none~1|none~2|",
        (None, None, None, 0, None, None),
        3,
        (3,),
    ),
    "a node that skips rename": (
        "|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        (None, None, None, 0, 0, 0),
        3,
        (0, 2, 3, 4, 5),
    ),
    "the input itself": (
        "|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|",
        (None,) * 6,
        0,
        (0, 2, 5),
    ),
    "sums of zeros": (
        "|none~0|+|none~0|avg_pool_3x3~1|+|none~0|skip_connect~1|avg_pool_3x3~2|",
        (None,) * 6,
        3,
        (),
    ),
}


@pytest.mark.parametrize(("text", "reads", "output", "live"), BY_HAND.values(), ids=BY_HAND)
def test_plan_by_hand(text: str, reads: tuple, output: int, live: tuple) -> None:
    plan = Cell.from_str(text).plan
    assert (plan.reads, plan.output, plan.live) == (reads, output, live)


def expression(cell: Cell, output: int, reads: tuple) -> object:
    """Return a node of a cell as nested sorted tuples of operations; convolutions, of zeros too, by their edge."""
    nodes: dict[int, list] = {0: ["input"], 1: [], 2: [], 3: []}
    for position, ((_, target), operation) in enumerate(zip(EDGES, cell.operations, strict=True)):
        source = reads[position]
        if source is None or operation == "none":
            continue
        if operation.startswith("nor_conv"):
            nodes[target].append(f"{position}({nodes[source]})")
        else:
            terms = nodes[source]
            nodes[target] += terms if operation == "skip_connect" else [f"pool({term})" for term in terms]
        nodes[target].sort()
    return nodes[output]


def test_plan_computes_what_the_whole_cell_computes_and_nothing_more() -> None:
    whole = tuple(source for source, _ in EDGES)
    for index in range(cells.SIZE):
        cell = Cell.from_index(index)
        plan = cell.plan
        full = expression(cell, 3, whole)
        assert expression(cell, plan.output, plan.reads) == full
        for position, source in enumerate(plan.reads):
            if source is not None:
                fewer = (*plan.reads[:position], None, *plan.reads[position + 1 :])
                assert expression(cell, plan.output, fewer) != full
