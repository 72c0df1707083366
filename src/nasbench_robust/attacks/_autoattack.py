"""AutoAttack standard (Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020), L-infinity or L2.

APGD-CE, APGD-T, FAB-T and Square in this order, each on the images that withstood those before it. The survivors of all
images are pooled before each part, so that a part works on full batches whatever the batches before it left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..arrays import Record
from ..metrics import PARTS
from .dispatch import checked, unchecked
from .masking import warn_of_network
from .passes import is_right, logits_of
from .warning import SHARE, warn

if TYPE_CHECKING:
    from ..metrics import Attack


@dataclass(frozen=True, eq=False, repr=False)
class AutoAttackResult(Record):
    """What AutoAttack did to every image.

    Attributes
    ----------
    survivors : dict of str to Tensor of bool, shape (n,)
        Which images are classified correctly, first as they are (``"clean"``), then after each of `PARTS`; cumulative,
        each a subset of the one before it. An image in one mask and not in the next was broken by that part.
    adversarial : Tensor of the shape of the images, or None
        A misclassified point within eps where a part found one; the image itself where not.
    """

    survivors: dict[str, torch.Tensor]
    adversarial: torch.Tensor | None = None

    @property
    def robust(self) -> torch.Tensor:
        """Which images withstood everything, bool, shape (n,)."""
        return self.survivors[PARTS[-1]]

    @property
    def accuracies(self) -> dict[str, float]:
        """Share of correctly classified images as they are, and of the survivors after each part."""
        return {name: float(alive.double().mean()) for name, alive in self.survivors.items()}


@checked
def autoattack(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    *,
    batch_size: int = 1000,
    keep_images: bool = True,
    on_part: Callable[[str, torch.Tensor], None] | None = None,
    done: Mapping[str, torch.Tensor] | None = None,
) -> AutoAttackResult:
    """Attack images by the four parts in turn.

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1]; all that are to be judged, not a batch of them.
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `norm`, `steps` and `targets` (of APGD and FAB), `restarts`, `checkpoints` (of APGD) and `queries`
        (of Square) are used: see `nasbench_robust.metrics.autoattack`.
    generator : torch.Generator
        For all draws; the result is a function of it, the network and the images.
    batch_size : int
        Images that pass through the network at a time.
    keep_images : bool
        Whether to return the adversarial images.
    on_part : callable, optional
        Called with the name of a part and its survivors as it ends.
    done : mapping of str to Tensor, optional
        Survivors of the first parts, from a call that was interrupted after them; `generator` has to be where it was
        then, and the adversarial images of those parts are not known any more.

    Returns
    -------
    AutoAttackResult

    Warns
    -----
    AttackWarning
        If the network answers differently twice, if gradients are zero, or if Square breaks images that withstood all
        attacks by gradients: see `masking`.
    """
    if len(images):
        warn_of_network(network, images, labels)
    survivors = {"clean": is_right(logits_of(network, images, batch_size), labels), **(done or {})}
    *_, alive = survivors.values()
    adversarial = images.clone() if keep_images else None
    for part in PARTS[len(survivors) - 1 :]:
        left = alive.nonzero()[:, 0]
        alive = alive.clone()
        if len(left):
            alone = attack.part(part)
            attacked = unchecked(alone)(network, images[left], labels[left], alone, generator, batch_size)
            # A part is not taken at its word: the network is asked again.
            fooled = ~is_right(logits_of(network, attacked, batch_size), labels[left])
            alive[left[fooled]] = False
            if adversarial is not None:
                adversarial[left[fooled]] = attacked[fooled]
        survivors[part] = alive
        if on_part is not None:
            on_part(part, alive)
    broken = int(survivors["fab_t"].sum()) - int(alive.sum())
    if broken > SHARE * len(images):
        warn(f"Square breaks {broken} of {len(images)} images that no attack by gradients broke: they may be masked")
    return AutoAttackResult(survivors, adversarial)


def adversarial_images(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    batch_size: int = 1000,
) -> torch.Tensor:
    """Return what `autoattack` leaves of the images; parameters are the same."""
    result = autoattack(network, images, labels, attack, generator, batch_size=batch_size)
    return images if result.adversarial is None else result.adversarial
