"""Networks of this package in the C++ engine, for kernels: the same weights, several times faster on a CPU."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..arrays import Singles
from ..native import NativeNetwork, is_available
from ..networks import Network


def serves(network: nn.Module, images: torch.Tensor) -> bool:
    """Return whether the engine can compute this network on these images."""
    return type(network) is Network and images.device.type == "cpu" and is_available()


def native_twin(network: nn.Module) -> NativeNetwork:
    """Return the network in the engine, with its parameters and running statistics, folded for eval mode."""
    assert isinstance(network, Network)
    normalise = network.normalise
    twin = NativeNetwork(
        network.cell, network.skeleton, mean=normalise.mean.flatten().tolist(), std=normalise.std.flatten().tolist()
    )
    twin.parameters[:] = _flat(network.parameters())
    twin.statistics[:] = _flat(buffer for name, buffer in network.named_buffers() if "running" in name)
    twin.fold()
    return twin


def _flat(tensors: Iterable[torch.Tensor]) -> Singles:
    flat: Singles = torch.cat([tensor.detach().flatten().float() for tensor in tensors]).numpy()
    return flat
