"""Signs that an attack says little of a network, and the warning that is given of them.

After the checks of Croce and Hein's program of AutoAttack: gradients that are zero, a network that answers differently
twice, probabilities in the place of logits, and attacks without gradients that succeed where those with gradients fail.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch

from ..metrics import Metric
from ._fgsm import input_gradient

IMAGES = 32  # that are looked at
SHARE = 0.002  # of images, by which an attack without gradients has to win: the authors' number
BLACK_BOX = ("square", "autoattack")


class AttackWarning(UserWarning):
    """The accuracy under an attack may be too high: the attack does not see what the network does."""


def warn(message: str) -> None:
    """Give the warning to whoever called the package."""
    warnings.warn(message, AttackWarning, stacklevel=4)


def warn_of_network(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Warn of what a few images show: the network, in eval mode, is asked twice and differentiated once."""
    images, labels = images[:IMAGES], labels[:IMAGES]
    with torch.no_grad():
        once, again = network(images), network(images)
    if not torch.allclose(once, again, rtol=1e-3, atol=1e-3 * float(once.abs().max()), equal_nan=True):
        warn("the network answers differently twice: attacks on a randomised network need an average over its answers")
    if bool((once >= 0).all()) and torch.allclose(once.sum(dim=1), torch.ones_like(once[:, 0]), atol=1e-4):
        warn("the network gives probabilities in the place of logits, whose gradients vanish where it is certain")
    flat = int((input_gradient(network, images, labels) == 0).flatten(1).all(dim=1).sum())
    if flat:
        warn(f"the gradient of {flat} of {len(images)} images is zero: attacks by gradients cannot move them")


def warn_of_accuracies(accuracies: Mapping[Metric, float]) -> None:
    """Warn where FGSM or PGD changes nothing and an attack without gradients does, in a ball that is no larger."""
    for metric, accuracy in accuracies.items():
        attack, clean = metric.attack, accuracies.get(Metric("clean_acc", split=metric.split))
        if attack is None or attack.name in BLACK_BOX or clean is None or accuracy < clean:
            continue
        for other, less in accuracies.items():
            smaller = other.attack and (other.attack.norm, other.split) == (attack.norm, metric.split)
            if smaller and other.attack.name in BLACK_BOX and other.attack.eps <= attack.eps and less < clean - SHARE:
                warn(f"{metric.column} equals clean accuracy and {other.column} does not: gradients seem to be masked")
