"""Copies of networks, ten times faster than `copy.deepcopy`, which would cost more than a kernel of a small network."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def duplicate(network: Module, dtype: torch.dtype | None = None) -> Module:
    """Return a network of its own with the same values, in floating point type `dtype` if one is given.

    Parameters and buffers are copied, without gradients; so are the dictionaries of every module, its hooks for
    example. Other attributes are shared. A module or parameter that is used twice is used twice in the copy.
    """
    twin: Module = _duplicate(network, dtype, {})
    return twin


def _duplicate(module: Any, dtype: torch.dtype | None, known: dict[int, Any]) -> Any:
    if id(module) not in known:
        twin = known[id(module)] = copy.copy(module)
        for name, value in vars(twin).items():
            if isinstance(value, dict):
                vars(twin)[name] = value.copy()
        for tensors in (twin._parameters, twin._buffers):
            for name, tensor in tensors.items():
                tensors[name] = None if tensor is None else _copied(tensor, dtype, known)
        for name, child in twin._modules.items():
            twin._modules[name] = None if child is None else _duplicate(child, dtype, known)
    return known[id(module)]


def _copied(tensor: torch.Tensor, dtype: torch.dtype | None, known: dict[int, Any]) -> torch.Tensor:
    if id(tensor) not in known:
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        values = tensor.detach().to(kind, copy=True)
        is_parameter = isinstance(tensor, nn.Parameter)
        known[id(tensor)] = nn.Parameter(values, tensor.requires_grad) if is_parameter else values
    copied: torch.Tensor = known[id(tensor)]
    return copied
