"""Adversarial attacks, one file each; their settings are `nasbench_robust.metrics.Attack`.

An attack takes a network that maps images in [0, 1] to logits, images, labels, its settings and, where it draws, a
generator. It leaves the network's mode alone: put it into eval mode before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnknownNameError
from .fgsm import fgsm
from .pgd import pgd

if TYPE_CHECKING:
    import torch

    from ..metrics import Attack

__all__ = ["fgsm", "perturb", "pgd"]


def perturb(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return adversarial images by the attack that the settings name.

    Raises
    ------
    UnknownNameError
        If the attack cannot be run here.
    """
    if attack.name == "fgsm":
        return fgsm(network, images, labels, attack)
    if attack.name == "pgd":
        return pgd(network, images, labels, attack, generator)
    raise UnknownNameError("attack that can be run", attack.name, ("fgsm", "pgd"))
