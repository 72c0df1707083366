"""Who computes a kernel: torch, or the C++ engine, which has the same weights and is several times faster on a CPU."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..arrays import Singles
from ..errors import InvalidValueError, UnknownNameError
from ..native import NativeNetwork, is_available
from ..networks import Network
from .names import KERNEL_ENGINES


def kernel_engine(name: str, network: nn.Module, images: torch.Tensor, bn: str, precision: str) -> str:
    """Return ``"native"`` or ``"torch"``, given what was asked for; see `gram.ntk`."""
    if name not in KERNEL_ENGINES:
        raise UnknownNameError("engine", name, KERNEL_ENGINES)
    served = type(network) is Network and images.device.type == "cpu" and is_available()
    able = served and bn != "batch_coupled" and precision == "fp32"
    if name == "native" and not able:
        raise InvalidValueError("engine", name, "torch for this network, device, bn mode or precision", "torch")
    return "native" if able and name != "torch" else "torch"


def native_twin(network: nn.Module) -> NativeNetwork:
    """Return the network in the C++ engine, with its parameters and running statistics, folded for eval mode."""
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
