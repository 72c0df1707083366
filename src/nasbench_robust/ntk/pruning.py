"""Cells without the edges that cannot matter: their values reach nothing and their gradients are zero."""

from __future__ import annotations

import torch
from torch import nn

from ..cells import EDGES
from ..networks import CellLayer, Network


def prune(network: nn.Module) -> None:
    """Replace the cells of a `networks.Network`, in place; other networks stay as they are."""
    if isinstance(network, Network):
        for position, module in enumerate(network.cells):
            if isinstance(module, CellLayer):
                network.cells[position] = LiveCell(module, network.cell.used_edges)


class LiveCell(nn.Module):
    """A cell that computes only what its output depends on, with the operations of the cell that it is given.

    An edge into a node from which the output cannot be reached is left out. An edge out of a node without inputs is
    not: batch normalisation turns zeros into its shift, which has a gradient.
    """

    def __init__(self, cell: CellLayer, kept: tuple[int, ...]) -> None:
        super().__init__()
        self._kept = kept
        # Dead operations stay as children, so that a parameter keeps its name and its place in the order.
        self.edges = cell.edges

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return node 3, given node 0."""
        nodes = {0: features}
        for position in self._kept:
            source, target = EDGES[position]
            incoming = self.edges[position](nodes.get(source, features.detach() * 0))
            nodes[target] = nodes[target] + incoming if target in nodes else incoming
        return nodes.get(3, features.detach() * 0)
