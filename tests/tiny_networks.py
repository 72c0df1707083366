"""A tiny network away from its initialisation, images for it, and its scores."""

from __future__ import annotations

import torch
from helpers import as_trained, network_of, seeded

from nasbench_robust.cells import Cell
from nasbench_robust.networks import Network
from nasbench_robust.proxies import score
from nasbench_robust.skeletons import Skeleton

TINY = Skeleton(channels=4, cells_per_stage=1, classes=3, input_channels=2, image_size=8)
MIXED = Cell.from_index(0)  # pooling, convolutions and skip connections
CONVOLUTIONS = Cell.from_index(1462)


def make(cell: Cell = MIXED, skeleton: Skeleton = TINY, seed: int = 0) -> Network:
    return as_trained(network_of(cell, skeleton, seed))


def batch(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(count, 2, 8, 8, generator=seeded(1), dtype=torch.float64)
    return images, torch.randint(0, 3, (count,), generator=seeded(2))


def value(name: str, network: Network, *, count: int = 5) -> float:
    return score(network, *batch(count), name, seeded(7))


def layers(network: Network) -> list[torch.nn.Module]:
    return [module for module in network.modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
