"""Cells without the edges that cannot matter: their values reach nothing and their gradients are zero."""

from __future__ import annotations

import torch
from torch import nn

from ..cells import EDGES, Plan
from ..networks import CellLayer, Network


def prune(network: nn.Module) -> None:
    """Replace the cells of a `networks.Network`, in place; other networks stay as they are."""
    if isinstance(network, Network):
        for position, module in enumerate(network.cells):
            if isinstance(module, CellLayer):
                network.cells[position] = LiveCell(module, network.cell.plan)


class LiveCell(nn.Module):
    """A cell that computes only what its plan says, with the operations of the cell that it is given."""

    def __init__(self, cell: CellLayer, plan: Plan) -> None:
        super().__init__()
        self._plan = plan
        # Dead operations stay as children, so that a parameter keeps its name and its place in the order.
        self.edges = cell.edges

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return node 3, given node 0."""
        nodes = {0: features}
        for position, source in enumerate(self._plan.reads):
            if source is None:
                continue
            incoming = self.edges[position](nodes.get(source, features.detach() * 0))
            target = EDGES[position][1]
            nodes[target] = nodes[target] + incoming if target in nodes else incoming
        return nodes.get(self._plan.output, features.detach() * 0)
