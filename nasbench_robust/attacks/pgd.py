"""Projected gradient descent (Madry et al., ICLR 2018), L-infinity, untargeted, last iterate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .fgsm import input_gradient

if TYPE_CHECKING:
    from ..metrics import Attack

__all__ = ["pgd"]


def pgd(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
) -> torch.Tensor:
    """Take signed gradient steps on the cross entropy, projecting onto the eps ball and [0, 1] after each.

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `steps`, `step_size` and `random_start` are used.
    generator : torch.Generator
        Draws the start: uniform in the ball, clipped to [0, 1].

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them in every pixel.
    """
    lowest, highest = (images - attack.eps).clamp(min=0), (images + attack.eps).clamp(max=1)
    adversarial = images
    if attack.random_start:
        start = torch.empty(images.shape, device=generator.device)
        noise = start.uniform_(-attack.eps, attack.eps, generator=generator).to(images)
        adversarial = (images + noise).clamp(lowest, highest)
    for _ in range(attack.steps or 0):
        gradient = input_gradient(network, adversarial, labels)
        adversarial = (adversarial + (attack.step_size or 0.0) * gradient.sign()).clamp(lowest, highest)
    return adversarial
