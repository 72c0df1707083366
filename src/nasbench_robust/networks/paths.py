"""How a trainer passes images through its network: as the network is written, or with less work."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from ..errors import InvalidValueError, UnknownNameError
from .fast import BatchNetwork, FoldedNetwork
from .published import Network

PATHS = ("plain", "fast", "fast-bf16")


class Path(Protocol):
    """The network of a trainer as it is now, for each of its uses; what is returned is for immediate use."""

    def attacked(self) -> nn.Module:
        """Return the network in eval mode, for the attack of a training step."""

    def updated(self) -> nn.Module:
        """Return the network in train mode, for the update, after the gradients were set to None."""

    def measured(self) -> nn.Module:
        """Return the network for `evaluation.evaluate`."""


def make_path(name: str, network: nn.Module) -> Path:
    """Return the path of a network, which must be on its device.

    Parameters
    ----------
    name : str
        ``"plain"``, the network as it is written. ``"fast"``: the same up to rounding; see `fast`. ``"fast-bf16"``: the
        same with the features and weights of convolutions rounded to bfloat16 in attacks of training and in updates,
        but not where accuracies are measured.
    network : Module

    Raises
    ------
    UnknownNameError, InvalidValueError
        If there is no such path, or it takes a `Network` and this is another one.
    """
    if name not in PATHS:
        raise UnknownNameError("path", name, PATHS)
    if name == "plain":
        return _Plain(network)
    if not isinstance(network, Network):
        raise InvalidValueError("path", name, f"plain for a {type(network).__name__}", "plain")
    return _Fast(network, torch.bfloat16 if name == "fast-bf16" else None)


class _Plain:
    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def attacked(self) -> nn.Module:
        return self._network.eval()

    def updated(self) -> nn.Module:
        return self._network.train()

    def measured(self) -> nn.Module:
        return self._network


class _Fast:
    def __init__(self, network: Network, dtype: torch.dtype | None) -> None:
        self._attacked, self._updated = FoldedNetwork(network, dtype), BatchNetwork(network, dtype)
        self._measured = self._attacked if dtype is None else FoldedNetwork(network)

    def attacked(self) -> nn.Module:
        self._attacked.fold()
        return self._attacked

    def updated(self) -> nn.Module:
        self._updated.clear_idle_gradients()
        return self._updated

    def measured(self) -> nn.Module:
        self._measured.fold()
        return self._measured
