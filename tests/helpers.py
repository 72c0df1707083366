"""Generators, and networks whose batch normalisation is not that of the initialisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from nasbench_robust.cells import OPERATIONS, Cell
from nasbench_robust.networks import Network, Supernet
from nasbench_robust.skeletons import Skeleton

SMALL = Skeleton.for_dataset("digits", channels=2, cells_per_stage=1)
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network_of(cell: Cell, skeleton: Skeleton = SMALL, seed: int = 0) -> Network:
    """Return a network whose channels are normalised differently."""
    few = slice(skeleton.input_channels)
    return Network(cell, skeleton, mean=[0.3, 0.6, 0.5][few], std=[0.4, 0.2, 0.3][few], generator=seeded(seed))


def supernet_of(skeleton: Skeleton = SMALL, groups: tuple[int, int, int] = (0, 0, 0), spread: float = 1.0) -> Supernet:
    supernet = Supernet(skeleton, mean=[0.3], std=[0.4], generator=seeded(1), groups=groups)
    with torch.no_grad():
        supernet.alpha.normal_(0, spread, generator=seeded(2))
    return supernet


@torch.no_grad()
def as_trained(network: AnyModule, seed: int = 1) -> AnyModule:
    """Move scales, shifts and statistics of batch normalisation away from 1 and 0."""
    generator = seeded(seed)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if tensor.dim() == 1 and "normalise" not in name:
            tensor.uniform_(0.5, 1.5, generator=generator)
    return network.double()


@torch.no_grad()
def shaken(network: AnyModule, seed: int = 3) -> AnyModule:
    """Draw scales of both signs, shifts and statistics of batch normalisation."""
    generator = seeded(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
            if module.affine:
                module.weight.uniform_(-1.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.5, generator=generator)
    return network.double().eval()


def with_weights_of(supernet: Supernet, network: nn.Module, cells: Sequence[Cell]) -> nn.Module:
    """Load a supernet into the network of a cell per stage; scales and shifts that the supernet lacks stay 1 and 0."""
    state = {}
    for name, value in supernet.state_dict().items():
        room, *rest = name.split(".")
        if room == "stages":  # stages.s.0.edges.e.o.rest becomes cells.2s.edges.e.rest
            stage, edge, code = int(rest[0]), int(rest[3]), int(rest[4])
            if cells[stage].operations[edge] == OPERATIONS[code]:
                state[".".join(["cells", str(2 * stage), "edges", str(edge), *rest[5:]])] = value
        elif room == "reductions":
            state[".".join(["cells", str(2 * int(rest[0]) + 1), *rest[1:]])] = value
        elif name != "alpha":
            state[name] = value
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("edges" in name and name.endswith((".2.weight", ".2.bias")) for name in missing)
    return network.double().eval()
