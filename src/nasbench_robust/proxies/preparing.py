"""What the proxies share: copies of the network to work on, the weights that count, what zero gradients mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from ..networks import Network, duplicate
from ..ntk import Value


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


def gaussian(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Draw a standard Gaussian tensor, float32 on the device of the generator."""
    return torch.empty(tuple(shape), device=generator.device).normal_(generator=generator)


def gaussian_images(count: int, network: Network, generator: torch.Generator) -> torch.Tensor:
    """Draw standard Gaussian images, which enter the network behind its normalisation of pixels."""
    skeleton = network.skeleton
    shape = (count, skeleton.input_channels, skeleton.image_size, skeleton.image_size)
    return gaussian(shape, generator).to(network.classifier.weight)


def layers_with_weights(module: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Return the convolutions and linear layers, whose weights zero-cost-nas scores; BN and biases are left out."""
    return [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def unless_zero(score: float, *gradients: Iterable[torch.Tensor]) -> float | Value:
    """Return a score that is made of gradients, or the failure that those of one pass are all zero."""
    zero = any(not any(gradient.any() for gradient in one_pass) for one_pass in gradients)
    return Value.failed("the gradient is zero everywhere") if zero else score
