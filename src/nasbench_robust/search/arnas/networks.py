"""Networks of ARNAS's own space: the supernet that is searched and the network that is trained.

Operations and preprocessing are those of Liu, Simonyan and Yang, "DARTS", ICLR 2019; so are the stem of three times as
many channels, and, in the supernet, batch normalisation without scale and shift inside the cells, behind pooling too.
Pixels come in [0, 1] and are not normalised, as in Ou, Feng and Sun, CVPR 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ...datasets import dataset
from ...networks import draw_parameters, relu_conv_bn
from .space import ARNAS_EDGES, ARNAS_OPERATIONS, NODES, ROLES, Genotype, Layer, derive, layers_of

STEM_FACTOR = 3


class _Frame(nn.Module):
    """What both networks have: stem, cells, global average pooling and a linear layer."""

    def __init__(
        self, name: str, channels: int, layers: int, make_cell: Callable[[Layer], nn.Module], generator: torch.Generator
    ) -> None:
        super().__init__()
        row, stem = dataset(name), STEM_FACTOR * channels
        self.layers = layers_of(layers, channels, stem)
        self.stem = nn.Sequential(nn.Conv2d(row.input_channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem))
        self.cells = nn.ModuleList(make_cell(layer) for layer in self.layers)
        self.classifier = nn.Linear(self.layers[-1].outputs, row.classes)
        draw_parameters(self, generator)

    def _logits(self, images: torch.Tensor, rest: Sequence[tuple[Any, ...]]) -> torch.Tensor:
        """Pass images through the network; `rest` holds every cell's further arguments."""
        before = last = self.stem(images)
        for cell, arguments in zip(self.cells, rest, strict=True):
            before, last = last, cell(before, last, *arguments)
        logits: torch.Tensor = self.classifier(last.mean(dim=(2, 3)))
        return logits


class ArnasNetwork(_Frame):
    """The network of a genotype; maps images in [0, 1] to logits.

    Parameters
    ----------
    genotype : Genotype
        The three cells.
    name : str
        Data set whose images and classes it is for.
    channels : int
        C, of the nodes of the first cells; 2C from the first reduction on. 64 as published.
    layers : int
        Cells, at least 4. 20 as published.
    generator : torch.Generator
        Source of the initial weights: PyTorch's default initialisation, drawn from this generator.
    """

    def __init__(
        self, genotype: Genotype, name: str, *, channels: int = 64, layers: int = 20, generator: torch.Generator
    ) -> None:
        super().__init__(name, channels, layers, lambda layer: _DiscreteCell(genotype, layer), generator)
        self.genotype = genotype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size)."""
        return self._logits(images, [()] * len(self.cells))


class ArnasSupernet(_Frame):
    """The supernet over ARNAS's space: every edge is a weighted sum of all seven operations.

    Parameters
    ----------
    name : str
        Data set whose images and classes it is for.
    channels : int
        C, of the nodes of the first cells; 2C from the first reduction on. 24 as published.
    layers : int
        Cells, at least 4. 8 as published.
    generator : torch.Generator
        Source of the initial weights and of `alpha`.

    Attributes
    ----------
    alpha : Parameter, shape (3, 14, 7)
        Architecture parameters: cells in the order of `ROLES`, edges in that of `ARNAS_EDGES`, operations in that of
        `ARNAS_OPERATIONS`. The weights of an edge's operations are the softmax of its row. Initially 0.001 times
        standard normal draws.
    """

    def __init__(self, name: str, *, channels: int = 24, layers: int = 8, generator: torch.Generator) -> None:
        super().__init__(name, channels, layers, _MixedCell, generator)
        draws = torch.randn(len(ROLES), len(ARNAS_EDGES), len(ARNAS_OPERATIONS), generator=generator)
        self.alpha = nn.Parameter(1e-3 * draws)

    def forward(self, images: torch.Tensor, mixture: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size).

        Parameters
        ----------
        images : Tensor
        mixture : Tensor of the shape of `alpha`, optional
            Weights of the operations, by default `mixture()`; that of a genotype leaves all others out.
        """
        if mixture is None:
            mixture = self.mixture()
        return self._logits(images, [(mixture[ROLES.index(layer.role)],) for layer in self.layers])

    def mixture(self) -> torch.Tensor:
        """Return the softmax of `alpha` over the operations, which it is differentiable in."""
        return F.softmax(self.alpha, dim=-1)

    def weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and value of every trained parameter but `alpha`."""
        return ((name, value) for name, value in self.named_parameters() if name != "alpha")

    def genotype(self) -> Genotype:
        """Return the architecture that `alpha` stands for."""
        return derive(self.mixture().detach().double().cpu().numpy())


class _CellFrame(nn.Module):
    """Brings both inputs of a cell to its width and to one size."""

    def __init__(self, layer: Layer, *, affine: bool) -> None:
        super().__init__()
        before, last = layer.inputs
        if layer.after_reduction:
            self.before: nn.Module = FactorisedReduction(before, layer.channels, affine=affine)
        else:
            self.before = relu_conv_bn(before, layer.channels, 1, affine=affine)
        self.last = relu_conv_bn(last, layer.channels, 1, affine=affine)


class _MixedCell(_CellFrame):
    """A cell that is searched: `edges[e][o]` is operation o on edge e."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer, affine=False)
        self.edges = nn.ModuleList(
            nn.ModuleList(_normalised_operation(name, layer, source) for name in ARNAS_OPERATIONS)
            for source, _ in ARNAS_EDGES
        )

    def forward(self, before: torch.Tensor, last: torch.Tensor, mixture: torch.Tensor) -> torch.Tensor:
        """Return the concatenated nodes, given the inputs and the weights of the operations, shape (14, 7)."""
        nodes = [self.before(before), self.last(last)]
        for target in range(2, 2 + NODES):
            incoming = [
                mixture[edge, code] * self.edges[edge][code](nodes[source])  # type: ignore[index]
                for edge, (source, node) in enumerate(ARNAS_EDGES)
                if node == target
                for code in range(len(ARNAS_OPERATIONS))
            ]
            nodes.append(sum(incoming[1:], start=incoming[0]))
        return torch.cat(nodes[2:], dim=1)


class _DiscreteCell(_CellFrame):
    """A cell of a genotype: `operations[k]` is the operation of its k-th pair."""

    def __init__(self, genotype: Genotype, layer: Layer) -> None:
        super().__init__(layer, affine=True)
        choices = getattr(genotype, layer.role)
        self.sources = [source for _, source in choices]
        self.operations = nn.ModuleList(
            arnas_operation(name, layer.channels, _stride(layer, source)) for name, source in choices
        )

    def forward(self, before: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Return the concatenated nodes, given the inputs."""
        nodes = [self.before(before), self.last(last)]
        for first in range(0, 2 * NODES, 2):
            one, two = (self.operations[entry](nodes[self.sources[entry]]) for entry in (first, first + 1))
            nodes.append(one + two)
        return torch.cat(nodes[2:], dim=1)


def _stride(layer: Layer, source: int) -> int:
    """Return the stride of an operation: a Reduction cell halves its inputs, not its nodes."""
    return 2 if layer.role == "reduction" and source < 2 else 1


def _normalised_operation(name: str, layer: Layer, source: int) -> nn.Module:
    """Return an operation as the supernet has it: normalised, without scale and shift."""
    operation = arnas_operation(name, layer.channels, _stride(layer, source), affine=False)
    return nn.Sequential(operation, nn.BatchNorm2d(layer.channels, affine=False)) if "pool" in name else operation


def arnas_operation(name: str, channels: int, stride: int = 1, *, affine: bool = True) -> nn.Module:
    """Return one of the seven operations.

    Parameters
    ----------
    name : str
        One of `ARNAS_OPERATIONS`.
    channels : int
        In and out.
    stride : int
        2 halves the image; then skip is a factorised reduction.
    affine : bool
        Whether batch normalisation has a scale and a shift.
    """
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorisedReduction(channels, channels, affine=affine)
    kernel = int(name[-1])
    if name.startswith("dil"):
        return nn.Sequential(*_separable(channels, kernel, stride, 2, affine))
    return nn.Sequential(*_separable(channels, kernel, stride, 1, affine), *_separable(channels, kernel, 1, 1, affine))


def _separable(channels: int, kernel: int, stride: int, dilation: int, affine: bool) -> tuple[nn.Module, ...]:
    """Return ReLU, a convolution of every channel by itself, a 1x1 convolution and batch normalisation."""
    padding = dilation * (kernel // 2)
    return (
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


class FactorisedReduction(nn.Module):
    """Halves the image by two 1x1 convolutions of stride 2, one pixel apart, each giving half of the channels."""

    def __init__(self, channels_in: int, channels_out: int, *, affine: bool) -> None:
        super().__init__()
        self.even = nn.Conv2d(channels_in, channels_out // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(channels_in, channels_out - channels_out // 2, 1, stride=2, bias=False)
        self.normalise = nn.BatchNorm2d(channels_out, affine=affine)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features of half the size."""
        active = F.relu(features)
        reduced: torch.Tensor = self.normalise(torch.cat([self.even(active), self.odd(active[:, :, 1:, 1:])], dim=1))
        return reduced
