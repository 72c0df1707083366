"""The kernels once more, from whole Jacobians by torch.func: slow, large, and without any code of the package's."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, jacrev


class Frozen(nn.Module):
    """Batch normalisation by the batch's statistics, through which no gradient flows."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, variance = x.mean((0, 2, 3)).detach(), x.var((0, 2, 3), unbiased=False).detach()
        shaped = [t.view(1, -1, 1, 1) for t in (mean, variance, self.weight, self.bias)]
        return (x - shaped[0]) / (shaped[1] + self.eps).sqrt() * shaped[2] + shaped[3]


def in_mode(network: nn.Module, bn: str) -> nn.Module:
    """Return a copy of the network in float64 as its mode of batch normalisation is defined."""
    other = copy.deepcopy(network).double().train(bn == "batch_coupled")
    for module in list(other.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and bn == "batch_frozen":
                setattr(module, name, Frozen(child))
            elif isinstance(child, nn.BatchNorm2d) and bn == "batch_coupled":
                child.track_running_stats = False  # counting batches in place is not for torch.func
    return other


def jacobian(network: nn.Module, images: torch.Tensor, *, bn: str) -> torch.Tensor:
    """Return the gradients of all logits of all images with respect to all parameters, (n, classes, P), in float64."""
    other = in_mode(network, bn)
    weights = {name: parameter.detach() for name, parameter in other.named_parameters()}
    rows = []
    for batch in images.double().split(1 if bn == "eval" else len(images)):  # images alone where they are independent
        gradients = jacrev(lambda values, batch=batch: functional_call(other, values, (batch,)))(weights)
        rows.append(torch.cat([gradients[name].flatten(2) for name in weights], 2))
    return torch.cat(rows)


def combined(fixed: nn.Module, first: torch.Tensor, second: torch.Tensor, *, beta: float) -> np.ndarray:
    """Return G G^T with G = (1-b) J(first) + b J(second), the rows of G being formed before any product.

    It is ``combined`` for x and A(x), ``combined_robust`` for A(x) and A(A(x)), of the sum of the logits of a network
    in eval mode.
    """
    one, other = (jacobian(fixed, images, bn="eval").sum(1) for images in (first, second))
    mixed = (1 - beta) * one + beta * other
    return (mixed @ mixed.T).numpy()
