"""Which edges of a cell matter, decided once: what lies on a path, what the output depends on, what is zero.

Two different things are asked. A *signal* passes along an edge that lies on a path from the input to the output. The
*output depends* on more: a convolution that leaves a node without inputs turns zeros into the shift of its batch
normalisation, which is no signal, but has a value and a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .encodings import EDGES, OPERATIONS, Codes
from .space import NONE, SIZE, SKIP

_CONVOLUTIONS = tuple(code for code, name in enumerate(OPERATIONS) if name.startswith("nor_conv"))


@dataclass(frozen=True)
class Plan:
    """What of a cell has to be computed; positions are those in `EDGES`.

    Attributes
    ----------
    live : tuple of int
        Positions of the edges on a path from the input to the output.
    reads : tuple of six (int or None)
        For every edge the node that it reads, 0 to 2; None where there is nothing to compute. Edges stand in an order
        in which a node is whole before it is read. Left out are none, edges into a node that the output does not
        follow, skips and poolings of zeros, and a skip that alone enters its node: that node is the skip's source
        under another name, and who reads it reads the source.
    output : int
        The node that the cell returns: 3, or the one that 3 is another name for.
    """

    live: tuple[int, ...]
    reads: tuple[int | None, ...]
    output: int


@lru_cache(maxsize=SIZE)
def plan_of(codes: Codes) -> Plan:
    """Return the plan of the cell with these six operation numbers."""
    reached, followed = {0}, {3}
    present = [(position, *edge) for position, edge in enumerate(EDGES) if codes[position] != NONE]
    for _, source, target in present:
        if source in reached:
            reached.add(target)
    for _, source, target in reversed(present):
        if target in followed:
            followed.add(source)
    followed_edges = [edge for edge in present if edge[2] in followed]
    live = tuple(position for position, source, _ in followed_edges if source in reached)
    return Plan(live, *_reads(codes, followed_edges))


def _reads(codes: Codes, edges: list[tuple[int, int, int]]) -> tuple[tuple[int | None, ...], int]:
    """Return what edges (position, source, target) read, without sums of zeros or copies of a node, and the output."""
    reads: list[int | None] = [None] * len(EDGES)
    same, zeros = {0: 0}, set[int]()
    for node in (1, 2, 3):
        entering = [(position, same[source]) for position, source, target in edges if target == node]
        entering = [edge for edge in entering if edge[1] not in zeros or codes[edge[0]] in _CONVOLUTIONS]
        if [codes[position] for position, _ in entering] == [SKIP]:
            same[node] = entering[0][1]
            continue
        same[node] = node
        if not entering:
            zeros.add(node)
        for position, source in entering:
            reads[position] = source
    return tuple(reads), same[3]
