"""Signs in a network that attacks say little of it.

After the checks of Croce and Hein's program of AutoAttack: gradients that are zero, a network that answers differently
twice, and
probabilities in the place of logits.
"""

from __future__ import annotations

import torch

from ._fgsm import input_gradient
from .warning import warn

IMAGES = 32  # that are looked at


def warn_of_network(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Warn of what a few images show: the network, in eval mode, is asked twice and differentiated once."""
    images, labels = images[:IMAGES], labels[:IMAGES]
    with torch.no_grad():
        once, again = network(images), network(images)
    if not torch.allclose(once, again, rtol=1e-3, atol=1e-3 * float(once.nan_to_num().abs().max()), equal_nan=True):
        warn("the network answers differently twice: attacks on a randomised network need an average over its answers")
    if bool((once >= 0).all()) and torch.allclose(once.sum(dim=1), torch.ones_like(once[:, 0]), atol=1e-4):
        warn("the network gives probabilities in the place of logits, whose gradients vanish where it is certain")
    flat = int((input_gradient(network, images, labels) == 0).flatten(1).all(dim=1).sum())
    if flat:
        warn(f"the gradient of {flat} of {len(images)} images is zero: attacks by gradients cannot move them")
