"""The network around a planned cell: whatever edges share is computed once, in either mode of batch normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..published import CellLayer, Network, ResidualBlock
from .plan import sources_of
from .pooling import Pooling
from .sums import Sums

# Takes the number of a group and the features that it reads, returns its normalised outputs side by side.
Apply = Callable[[int, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Group:
    """Convolutions of one size that read the same features, with their normalisations: one wide convolution.

    Attributes
    ----------
    convolutions : tuple of Conv2d
        Without bias, all alike.
    norms : tuple of BatchNorm2d
        One behind each of them, or none.
    """

    convolutions: tuple[nn.Conv2d, ...]
    norms: tuple[nn.BatchNorm2d, ...]

    @classmethod
    def of(cls, *branches: nn.Module) -> Group:
        """Make a group of sequences of ReLU, convolution and normalisation, as `networks.relu_conv_bn` makes them."""
        modules = [module for branch in branches for module in branch.modules()]
        return cls(
            tuple(module for module in modules if isinstance(module, nn.Conv2d)),
            tuple(module for module in modules if isinstance(module, nn.BatchNorm2d)),
        )

    def convolve(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Return the outputs of all, side by side in the channels, given their weights."""
        one = self.convolutions[0]
        return F.conv2d(features, weight, bias, one.stride, one.padding)


class SharedNetwork(nn.Module):
    """The function of a `Network` with as little work as its value needs; what a group does is left to subclasses.

    Of every cell only what its plan says is computed. A node's ReLU, its pooled features and its convolutions of one
    size are computed once for all edges that leave it. Features lie in memory with their channels last. Images are
    centred, so that zero padding stays what it is after normalisation, and the stem's weights divided by the standard
    deviation.

    Parameters
    ----------
    network : Network
        On its device. It keeps parameters and statistics: this module has none of its own, and leaves its mode alone.
    dtype : torch.dtype, optional
        Of features and of the weights of convolutions; the network's by default. The head, from the last normalisation
        to the logits, always has the network's.
    """

    def __init__(self, network: Network, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self._sources, self._output = sources_of(network.cell), network.cell.plan.output
        self._mean, self._std = network.normalise.mean, network.normalise.std
        self._dtype = dtype or self._mean.dtype
        self._groups = [Group.of(network.stem)]
        self._layers = [self._add_layer(module) for module in network.cells]
        # In containers that are no modules: a submodule would be put into a mode with this one.
        self._linear = (network.classifier,)
        self._norms = [norm for group in (*self._groups, Group.of(network.last_activation)) for norm in group.norms]
        shape = network.skeleton
        self._pooling = {
            size: Pooling(width, size, self._mean.device, self._dtype)
            for width, size in zip(shape.widths, shape.sizes, strict=True)
        }

    def _add_layer(self, module: nn.Module) -> tuple[bool, int]:
        """Add the groups of a cell or residual block; return whether it is a cell, and the number of the first."""
        first = len(self._groups)
        if isinstance(module, ResidualBlock):
            self._groups += [Group.of(branch) for branch in (*module.convolutions, module.shortcut)]
            return False, first
        assert isinstance(module, CellLayer)
        for source in self._sources:
            self._groups += [Group.of(*(module.edges[edge] for edge in edges)) for edges in source.convolutions]
        return True, first

    def _features(self, images: torch.Tensor, apply: Apply) -> torch.Tensor:
        """Return the output of the last cell, in the network's floating point type."""
        centred = (images - self._mean).to(self._dtype, memory_format=torch.channels_last)
        # From images with one channel the convolution cannot tell which format is meant.
        features = apply(0, centred).contiguous(memory_format=torch.channels_last)
        for is_cell, first in self._layers:
            features = self._cell(features, first, apply) if is_cell else _block(features, first, apply)
        return features.to(self._mean.dtype)

    def _cell(self, features: torch.Tensor, number: int, apply: Apply) -> torch.Tensor:
        """Return what a cell returns, given the number of its first group."""
        sums = Sums(features)
        for source in self._sources:
            node = sums[source.node]
            active = F.relu(node) if source.convolutions else node
            for edges in source.convolutions:
                sums.add_parts(edges, apply(number, active))
                number += 1
            if source.pools:
                pooled = self._pooling[node.shape[-1]](node)
                for target in source.pools:
                    sums.add(target, pooled, own=len(source.pools) == 1)
            for target in source.skips:
                sums.add(target, node, own=False)
        return sums[self._output]

    def _weights(self) -> list[torch.Tensor]:
        """Return the weights of all groups for centred images, in the network's floating point type."""
        weights = [_joined([convolution.weight for convolution in group.convolutions]) for group in self._groups]
        weights[0] = weights[0] / self._std
        return weights

    def _of_norms(self, name: str) -> torch.Tensor:
        """Return a tensor of all normalisations, those of the groups and the last one, end to end."""
        return torch.cat([getattr(norm, name) for norm in self._norms])

    def _by_group(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the parts of what `_of_norms` gave: one per group, empty where it has no norm, then the last one."""
        sizes = [sum(norm.num_features for norm in group.norms) for group in self._groups]
        return torch.split(values, [*sizes, len(values) - sum(sizes)])


def _block(features: torch.Tensor, first: int, apply: Apply) -> torch.Tensor:
    """Return what a residual block returns, given the number of its first group."""
    inner = apply(first, F.relu(features))
    halved = apply(first + 1, F.relu(inner))
    return halved.add_(apply(first + 2, F.avg_pool2d(features, 2, 2)))


def _joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
