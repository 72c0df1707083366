"""What of a cell has to be computed, node by node: no dead edges, no copies of a node, no sums of zeros. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from ...cells import EDGES, Cell

KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


@dataclass(frozen=True)
class Source:
    """What leaves one node; its ReLU and its pooled features are computed once.

    Attributes
    ----------
    node : int
        The node, 0 to 2.
    convolutions : tuple of tuple of int
        Positions in `EDGES` of the convolutions that leave it, those of one kernel size together.
    pools, skips : tuple of int
        The nodes to which its pooled features are added, and those to which it is added as it is.
    """

    node: int
    convolutions: tuple[tuple[int, ...], ...]
    pools: tuple[int, ...]
    skips: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A cell as the sums that its output needs.

    Attributes
    ----------
    sources : tuple of Source
        In the order in which they have to be computed: a node is whole before it is read.
    zeros : frozenset of int
        Nodes that nothing enters.
    output : int
        The node that the output is: 3, or the one that a single skip passes on.
    """

    sources: tuple[Source, ...]
    zeros: frozenset[int]
    output: int


def make_plan(cell: Cell) -> Plan:
    """Return the plan of a cell.

    Left out are edges into a node from which the output cannot be reached, and skips and poolings of zeros. A
    convolution of zeros stays: batch normalisation turns them into its shift. A node that one skip alone enters is its
    source under another name.
    """
    same = {0: 0}
    kept: dict[int, list[tuple[int, str]]] = {0: [], 1: [], 2: []}  # by source: position, operation
    zeros = set()
    for node in (1, 2, 3):
        entering = [
            (position, same[source], cell.operations[position])
            for position, (source, target) in enumerate(EDGES)
            if target == node and position in cell.used_edges
        ]
        entering = [edge for edge in entering if edge[1] not in zeros or edge[2] in KERNELS]
        same[node] = node
        if len(entering) == 1 and entering[0][2] == "skip_connect":
            same[node] = entering[0][1]
            continue
        if not entering:
            zeros.add(node)
        for position, source, operation in entering:
            kept[source].append((position, operation))
    sources = tuple(_source(node, edges) for node, edges in kept.items() if edges)
    return Plan(sources, frozenset(zeros), same[3])


def _source(node: int, edges: list[tuple[int, str]]) -> Source:
    def targets(operation: str) -> tuple[int, ...]:
        return tuple(EDGES[position][1] for position, name in edges if name == operation)

    groups = (tuple(position for position, name in edges if name == operation) for operation in KERNELS)
    return Source(node, tuple(group for group in groups if group), targets("avg_pool_3x3"), targets("skip_connect"))
