"""Projected gradient descent (Madry et al., ICLR 2018), L-infinity or L2, untargeted, last iterate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._fgsm import input_gradient

if TYPE_CHECKING:
    from ..metrics import Attack


def pgd(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
) -> torch.Tensor:
    """Take gradient steps on the cross entropy, projecting onto the eps ball and [0, 1] after each.

    A step has the length `step_size` in the attack's norm: along the sign of the gradient in L-infinity, along the
    gradient in L2.

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `norm`, `steps`, `step_size` and `random_start` are used.
    generator : torch.Generator
        Draws the start: uniform in the ball, clipped to [0, 1].

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them, in every pixel or in the L2 norm of all pixels and channels.
    """
    if attack.norm == "L2":
        return _pgd_l2(network, images, labels, attack, generator)
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


def _pgd_l2(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
) -> torch.Tensor:
    adversarial = images
    if attack.random_start:
        # A normalised Gaussian is uniform on the sphere; the d-th root of a uniform radius fills the ball evenly.
        direction = torch.empty(images.shape, device=generator.device).normal_(generator=generator)
        radius = torch.empty(len(images), 1, 1, 1, device=generator.device).uniform_(generator=generator)
        radius = radius ** (1 / images[0].numel())
        adversarial = (images + (attack.eps * radius * direction / _length(direction)).to(images)).clamp(0, 1)
    for _ in range(attack.steps or 0):
        gradient = input_gradient(network, adversarial, labels)
        moved = adversarial + (attack.step_size or 0.0) * gradient / _length(gradient)
        way = moved - images
        # Clipping to [0, 1] afterwards keeps the point in the ball: the image itself is in the box.
        adversarial = (images + way * (attack.eps / _length(way)).clamp(max=1)).clamp(0, 1)
    return adversarial


def _length(pixels: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of every image, shape (n, 1, 1, 1), never 0."""
    length: torch.Tensor = torch.linalg.vector_norm(pixels.flatten(1), dim=1).clamp(min=1e-12)
    return length[:, None, None, None]
