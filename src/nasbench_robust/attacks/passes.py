"""What the stronger attacks share: passes through the network in full batches, and attempts in turn on what is left.

These attacks hold all their images at once and send only those that still matter through the network, packed into full
batches. The size of a batch thus decides memory and speed; draws and decisions do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from ._fgsm import gradient_of
from .preconditions import check_labels

# The last batch is filled up to a multiple of this: convolution libraries prepare themselves anew for every batch size,
# which costs more than a few images when survivors leave one by one.
PACK = 32

# Takes images and their labels and returns the images found, and which of them the network gets wrong. The third
# argument is the position of the images among those that the attack was given.
Attempt = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@torch.no_grad()
def logits_of(network: torch.nn.Module, images: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Return the logits of all images, shape (n, classes), computed in batches."""
    (filled,) = _filled_up(batch_size, images)
    return torch.cat([network(batch) for batch in torch.split(filled, batch_size)])[: len(images)]


def _filled_up(batch_size: int, *columns: torch.Tensor) -> list[torch.Tensor]:
    """Return tensors of equal length with their first rows repeated until the last batch is full enough."""
    left = len(columns[0]) % batch_size
    # A few images alone are not worth it on a CPU; a GPU has room for more.
    few = len(columns[0]) <= PACK and not columns[0].is_cuda
    missing = 0 if few else min(-left % PACK, batch_size - left)
    return [torch.cat([each, each[:1].expand(missing, *each.shape[1:])]) if missing else each for each in columns]


def value_and_gradient(
    network: torch.nn.Module,
    images: torch.Tensor,
    objective: Callable[..., torch.Tensor],
    aims: tuple[torch.Tensor, ...],
    batch_size: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, an objective per image, and its gradient with respect to the images, not to the weights.

    Parameters
    ----------
    network : Module
        In eval mode, so that images do not influence each other.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1]; at least one image.
    objective : callable
        Maps logits and the same rows of `aims` (labels, targets) to one value per image.
    aims : tuple of Tensor, each of length n
        What the objective needs to know about each image.
    batch_size : int
        Images at a time.
    """
    parts = []
    filled = _filled_up(batch_size, images, *aims)
    for batch, *rows in zip(*(torch.split(each, batch_size) for each in filled), strict=True):
        pixels = batch.detach().requires_grad_()
        logits = network(pixels)
        values = objective(logits, *rows)
        parts.append((logits.detach(), values.detach(), gradient_of(values.sum(), pixels)))
    logits, values, gradient = (torch.cat(column)[: len(images)] for column in zip(*parts, strict=True))
    return logits, values, gradient


def is_right(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return which images are classified correctly; whose logits are not numbers is not, as no attack fails there."""
    return (logits.argmax(dim=1) == labels) & ~logits.isnan().any(dim=1)


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the label's logit minus the largest other one: negative where the network is wrong."""
    other = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return logits.gather(1, labels[:, None])[:, 0] - other


def ranked_targets(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the classes other than the label, most likely first, shape (n, classes - 1)."""
    check_labels(labels, *logits.shape)
    return logits.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True)[:, :-1]


def attempt_in_turn(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, attempts: Iterable[Attempt], batch_size: int
) -> torch.Tensor:
    """Give each attempt the images that withstood those before it, and return what was found for every image.

    Images that the network gets wrong as they are come back unchanged. An image that withstands everything comes back
    as the last attempt left it.
    """
    adversarial = images.clone()
    left = is_right(logits_of(network, images, batch_size), labels).nonzero()[:, 0]
    for attempt in attempts:
        if not len(left):
            break
        adversarial[left], wrong = attempt(images[left], labels[left], left)
        left = left[~wrong]
    return adversarial
