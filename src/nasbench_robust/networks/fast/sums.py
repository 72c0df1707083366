"""The nodes of a cell while it is computed: each the sum of what came in, added up in place where nobody else looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...cells import EDGES


class Sums:
    """Nodes by number, given node 0; a node that nothing was added to is zero.

    A node must be whole before it is read. Its tensor is overwritten by the next sum only if it is its own: no view of
    a tensor of several nodes, and not what another node or an operation's backward pass holds.
    """

    def __init__(self, features: torch.Tensor) -> None:
        self._nodes = {0: features}
        self._own: set[int] = set()

    def __getitem__(self, node: int) -> torch.Tensor:
        # Zero times the features, not new zeros: everything upstream has a gradient, which is zero.
        return self._nodes[node] if node in self._nodes else self._nodes[0] * 0.0

    def add(self, node: int, summand: torch.Tensor, *, own: bool) -> None:
        """Add to a node; `own` says whether the summand may be overwritten afterwards."""
        if node not in self._nodes:
            self._nodes[node] = summand
        elif node in self._own:
            self._nodes[node].add_(summand)
            return
        elif own:
            self._nodes[node] = summand.add_(self._nodes[node])
        else:
            self._nodes[node], own = self._nodes[node] + summand, True
        if own:
            self._own.add(node)

    def add_parts(self, edges: Sequence[int], outputs: torch.Tensor) -> None:
        """Add the outputs of convolutions that stand side by side in the channels to the targets of their edges."""
        if len(edges) == 1:
            self.add(EDGES[edges[0]][1], outputs, own=True)
            return
        for edge, part in zip(edges, torch.split(outputs, outputs.shape[1] // len(edges), dim=1), strict=True):
            # On a CPU the sums of its views are not vectorised.
            copied = outputs.dtype == torch.bfloat16 and outputs.device.type == "cpu"
            summand = part.contiguous(memory_format=torch.channels_last) if copied else part
            self.add(EDGES[edge][1], summand, own=copied)
