"""What of a cell is computed together: whatever leaves one node shares its ReLU and its pooled features. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from ...cells import EDGES, Cell

CONVOLUTIONS = ("nor_conv_1x1", "nor_conv_3x3")


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


def sources_of(cell: Cell) -> tuple[Source, ...]:
    """Return what a cell's plan computes, node by node: a node is whole before it is read."""
    return tuple(_source(cell, node) for node in (0, 1, 2) if node in cell.plan.reads)


def _source(cell: Cell, node: int) -> Source:
    def edges(operation: str) -> tuple[int, ...]:
        reads = enumerate(zip(cell.plan.reads, cell.operations, strict=True))
        return tuple(position for position, read in reads if read == (node, operation))

    def targets(operation: str) -> tuple[int, ...]:
        return tuple(EDGES[position][1] for position in edges(operation))

    convolutions = tuple(group for group in map(edges, CONVOLUTIONS) if group)
    return Source(node, convolutions, targets("avg_pool_3x3"), targets("skip_connect"))
