"""Projected gradient descent (Madry et al., ICLR 2018), L-infinity or L2, untargeted, last iterate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._fgsm import input_gradient
from .balls import BALLS
from .dispatch import checked
from .passes import is_right

if TYPE_CHECKING:
    from ..metrics import Attack


@checked
def pgd(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    batch_size: int = 0,  # noqa: ARG001 (all at once: a step of training attacks one batch)
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
        Its `eps`, `norm`, `steps`, `step_size`, `random_start` and `restarts` are used.
    generator : torch.Generator
        Draws the starts: uniform in the ball, clipped to [0, 1].
    batch_size : int
        Not used: all images pass through the network together.

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them, in every pixel or in the L2 norm of all pixels and channels. Of several restarts the first
        one that is misclassified, else the last.
    """
    adversarial = _ascend(network, images, labels, attack, generator)
    for _ in range(1, attack.restarts or 1):
        # All images take part in every restart, so that neither draws nor work depend on what was found.
        with torch.no_grad():
            withstood = is_right(network(adversarial), labels)[:, None, None, None]
        adversarial = torch.where(withstood, _ascend(network, images, labels, attack, generator), adversarial)
    return adversarial


def _ascend(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, attack: Attack, generator: torch.Generator
) -> torch.Tensor:
    """Run PGD once."""
    ball = BALLS[attack.norm](images, attack.eps)
    adversarial = ball.start(generator) if attack.random_start else images
    steps, step_size = attack.schedule
    for _ in range(steps):
        gradient = input_gradient(network, adversarial, labels)
        adversarial = ball.project(adversarial + ball.step(gradient, step_size))
    return adversarial
