"""The kernel once more, from whole Jacobians by torch.func: slow, large, and independent of `gram`."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from .modes import prepare


def jacobian(
    network: nn.Module, images: torch.Tensor, *, bn: str, dtype: torch.dtype = torch.float64, chunk: int | None = None
) -> torch.Tensor:
    """Return the gradients of all logits of all images with respect to all trainable parameters.

    Parameters
    ----------
    network : Module
        With parameters in the layers that `ntk.ntk` knows.
    images : Tensor, shape (n, channels, size, size)
    bn : str
        Mode of batch normalisation, see `ntk.ntk`.
    dtype : torch.dtype
        Of the arithmetic.
    chunk : int, optional
        How many images torch.func takes at a time, all by default; without meaning for ``"batch_coupled"``.

    Returns
    -------
    Tensor of `dtype`, shape (n, classes, P)
        P parameters, in the order of ``network.parameters()``.
    """
    twin = prepare(network, images, bn, dtype)
    images = images.to(dtype)
    weights = {name: parameter.detach() for name, parameter in twin.named_parameters()}
    buffers = dict(twin.named_buffers())

    def logits(values: dict[str, torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = functional_call(twin, (values, buffers), (batch,))
        return found

    if bn == "batch_coupled":
        rows = jacrev(logits)(weights, images)
        return torch.cat([rows[name].flatten(2) for name in weights], 2)

    def logit(values: dict[str, torch.Tensor], image: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
        return logits(values, image[None])[0] @ cotangent

    with torch.no_grad():
        classes = twin(images[:1]).shape[1]
    by_class = vmap(grad(logit), in_dims=(None, None, 0))
    by_image = vmap(by_class, in_dims=(None, 0, None), chunk_size=chunk)
    rows = by_image(weights, images, torch.eye(classes, dtype=dtype, device=images.device))
    return torch.cat([rows[name].flatten(2) for name in weights], 2)
