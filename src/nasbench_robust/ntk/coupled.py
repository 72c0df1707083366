"""The kernel with coupled batch normalisation: every sample moves the statistics of all, so rows come one by one.

This is what published codes compute that backpropagate through a network in train mode (TE-NAS; Chen et al., ICLR
2021), and it costs a whole backward pass over the batch for every row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def contract_coupled(
    twin: nn.Module, images: torch.Tensor, cotangents: torch.Tensor, owners: Sequence[int], rows_at_once: int
) -> torch.Tensor:
    """Return the scalar products of gradients, shape (m, m), float64.

    Parameters
    ----------
    twin : Module
        As `modes.prepare` returns it, with coupled batch normalisation.
    images : Tensor, shape (n, channels, size, size)
        The batch.
    cotangents : Tensor, shape (m, classes)
        Row r is the gradient of ``logits(images)[owners[r]] @ cotangents[r]`` with respect to all parameters.
    owners : sequence of int, length m
        Which image a row is about.
    rows_at_once : int
        How many rows may be in memory; the others are made again where they are needed.
    """
    # Channels last, where a CPU makes gradients of convolutions faster: the same sums in another order.
    twin.requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = list(twin.parameters())
    with torch.enable_grad():
        logits = twin(images.contiguous(memory_format=torch.channels_last))
        scalars = (logits[list(owners)] * cotangents.to(logits)).sum(1)

    def rows(start: int, stop: int) -> torch.Tensor:
        gradients = (
            torch.autograd.grad(scalar, parameters, retain_graph=True, materialize_grads=True)
            for scalar in scalars[start:stop]
        )
        return torch.stack([torch.cat([one.flatten() for one in gradient]) for gradient in gradients])

    kernel = torch.zeros(len(scalars), len(scalars), dtype=torch.float64, device=images.device)
    step = max(1, rows_at_once // 2) if rows_at_once < len(scalars) else len(scalars)
    for a in range(0, len(scalars), step):
        first = rows(a, a + step)
        for b in range(a, len(scalars), step):
            second = first if a == b else rows(b, b + step)
            products = first @ second.T
            kernel[a : a + step, b : b + step] = products
            kernel[b : b + step, a : a + step] = products.T
    twin.requires_grad_(False)
    return kernel
