"""The published network: the NAS-Bench-201 skeleton around one cell, or one per stage, normalisation as first layer.

Faithful to the network that NAS-RobBench-201 trained (Dong and Yang, ICLR 2020, section 2; Wu et al., ICLR 2024):
every edge is built and computed, also those that cannot matter. Pixels come in [0, 1], so attacks live in pixel space.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from ..cells import EDGES, Cell
from ..datasets import dataset
from ..errors import InvalidValueError
from ..skeletons import Skeleton


class StagedNetwork(nn.Module):
    """The skeleton around a cell per stage; maps images in [0, 1] to logits.

    Parameters
    ----------
    stage_cells : sequence of three Cell
        The cell of every stage.
    skeleton : Skeleton
        Width, depth, classes and image shape.
    mean, std : sequence of float
        Per-channel normalisation of pixels in [0, 1].
    generator : torch.Generator
        Source of the initial weights: PyTorch's default initialisation, drawn from this generator.
    widths : tuple of three int, optional
        Channels of the stages, by default those of the skeleton.
    """

    def __init__(
        self,
        stage_cells: Sequence[Cell],
        skeleton: Skeleton,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        generator: torch.Generator,
        widths: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != skeleton.input_channels:
                raise InvalidValueError(name, values, f"{skeleton.input_channels} value(s), one per input channel")
        if len(stage_cells) != 3:
            raise InvalidValueError("stage_cells", list(map(str, stage_cells)), "three cells, one per stage")
        self.skeleton, widths = skeleton, widths or skeleton.widths
        first, middle, last = widths
        self.normalise = Normalisation(mean, std)
        self.stem = nn.Sequential(
            nn.Conv2d(skeleton.input_channels, first, 3, padding=1, bias=False), nn.BatchNorm2d(first)
        )
        stages = [
            [CellLayer(cell, width) for _ in range(skeleton.cells_per_stage)]
            for cell, width in zip(stage_cells, widths, strict=True)
        ]
        self.cells = nn.Sequential(
            *stages[0], ResidualBlock(first, middle), *stages[1], ResidualBlock(middle, last), *stages[2]
        )
        self.last_activation = nn.Sequential(nn.BatchNorm2d(last), nn.ReLU())
        self.classifier = nn.Linear(last, skeleton.classes)
        self.reset_parameters(generator)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size)."""
        features = self.cells(self.stem(self.normalise(images)))
        logits: torch.Tensor = self.classifier(self.last_activation(features).mean(dim=(2, 3)))
        return logits

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw all weights again: PyTorch's defaults for convolutions and linear layers, 1 and 0 for BN."""
        draw_parameters(self, generator)


class Network(StagedNetwork):
    """The skeleton around one cell, the same in all three stages; parameters as in `StagedNetwork`."""

    def __init__(
        self, cell: Cell, skeleton: Skeleton, *, mean: Sequence[float], std: Sequence[float], generator: torch.Generator
    ) -> None:
        super().__init__((cell,) * 3, skeleton, mean=mean, std=std, generator=generator)
        self.cell = cell


@torch.no_grad()
def draw_parameters(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of a network: PyTorch's defaults for convolutions and linear layers, 1 and 0 for BN."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = 1 / math.sqrt(module.weight[0].numel())  # kaiming_uniform with a = sqrt(5)
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def network_for(cell: Cell, skeleton: Skeleton, name: str, generator: torch.Generator) -> Network:
    """Return the network for the data set called `name`, with its normalisation."""
    images = dataset(name)
    return Network(cell, skeleton, mean=images.mean, std=images.std, generator=generator)


class Normalisation(nn.Module):
    """(pixels - mean) / std per channel; constants, not parameters."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise."""
        return (images - self.mean) / self.std


class CellLayer(nn.Module):
    """One copy of the cell: each node is the sum of its incoming edges."""

    def __init__(self, cell: Cell, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(operation(name, channels) for name in cell.operations)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return node 3, given node 0."""
        nodes = [features]
        for target in (1, 2, 3):
            incoming = [
                operation(nodes[source])
                for (source, node), operation in zip(EDGES, self.edges, strict=True)
                if node == target
            ]
            nodes.append(sum(incoming[1:], start=incoming[0]))
        return nodes[3]


def operation(name: str, channels: int, *, affine: bool = True) -> nn.Module:
    """Return one of the five operations; `affine` is whether its batch normalisation has a scale and a shift."""
    if name == "none":
        return Zero()
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return relu_conv_bn(channels, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name], affine=affine)


class Zero(nn.Module):
    """The operation none: the input times zero, as published, so that gradients exist and are zero."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return zeros."""
        return features * 0.0


def relu_conv_bn(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, affine: bool = True
) -> nn.Sequential:
    """Return ReLU, convolution without bias, batch normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out, affine=affine),
    )


class ResidualBlock(nn.Module):
    """The block between stages: halves the image and changes the channels, as published to twice as many."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            relu_conv_bn(channels_in, channels_out, 3, stride=2), relu_conv_bn(channels_out, channels_out, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(channels_in, channels_out, 1, bias=False))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the sum of both branches."""
        halved: torch.Tensor = self.shortcut(features) + self.convolutions(features)
        return halved
