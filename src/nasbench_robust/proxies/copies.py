"""What the proxies share: copies of the network to work on, the weights that count, gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ..errors import UncomputableScoreError
from ..networks import Network, duplicate


def training_copy(network: Network) -> Network:
    """Copy the network in train mode, so that batch normalisation uses the statistics of the batch.

    A proxy works on a copy: hooks, running statistics and gradients of the original are not touched.
    """
    return duplicate(network).train().requires_grad_(True)


@torch.no_grad()
def positive_copy(network: Network) -> Network:
    """Copy the network in float64 without batch normalisation, every parameter replaced by its absolute value.

    The normalisation of pixels stays. In float64, since nothing bounds the features of a deep network then.
    """
    copy = training_copy(network).double()
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    for parameter in copy.parameters():
        parameter.abs_()
    return copy


def layers_with_weights(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers, whose weights zero-cost-nas scores; BN and biases are left out."""
    return [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def gradients(
    proxy: str, total: torch.Tensor, tensors: Sequence[torch.Tensor], *, create_graph: bool = False
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of a total, a loss for example.

    Parameters
    ----------
    proxy : str
        Who asks, for the error.
    total : Tensor, shape ()
    tensors : sequence of Tensor
        What to differentiate by.
    create_graph : bool
        Whether the gradients are to be differentiated again.

    Raises
    ------
    UncomputableScoreError
        If they are all zero.
    """
    found = torch.autograd.grad(total, tensors, create_graph=create_graph)
    if not any(gradient.any() for gradient in found):
        raise UncomputableScoreError(proxy, "the gradient is zero everywhere")
    return found
