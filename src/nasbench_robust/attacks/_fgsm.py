"""Fast gradient sign method (Goodfellow, Shlens and Szegedy, ICLR 2015), L-infinity, untargeted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .dispatch import checked

if TYPE_CHECKING:
    from ..metrics import Attack


@checked
def fgsm(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator | None = None,  # noqa: ARG001 (nothing is drawn)
    batch_size: int = 0,  # noqa: ARG001 (all at once)
) -> torch.Tensor:
    """Step by eps along the sign of the gradient of the cross entropy, and stay in [0, 1].

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps` is used.
    generator, batch_size
        Not used: nothing is drawn, and all images pass through the network together.

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them in every pixel.
    """
    gradient = input_gradient(network, images, labels)
    return (images + attack.eps * gradient.sign()).clamp(0, 1)


def input_gradient(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the summed cross entropy with respect to the images, not to the weights."""
    images = images.detach().requires_grad_()
    return gradient_of(F.cross_entropy(network(images), labels, reduction="sum"), images)


def gradient_of(total: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return the gradient with respect to the images, zero where the network does not depend on them."""
    if not total.requires_grad:
        return torch.zeros_like(images)
    (gradient,) = torch.autograd.grad(total, images, materialize_grads=True, allow_unused=True)
    return gradient
