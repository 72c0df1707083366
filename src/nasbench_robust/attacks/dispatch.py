"""One call for all attacks: the settings say which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UnknownNameError
from ..metrics import PARTS
from ._autoattack import autoattack, run_part
from ._fgsm import fgsm
from ._pgd import pgd

if TYPE_CHECKING:
    import torch

    from ..metrics import Attack

RUNNABLE = ("fgsm Linf", "pgd Linf", "pgd L2", "autoattack Linf", *(f"{part} Linf" for part in PARTS))


def takes_all_images(attack: Attack) -> bool:
    """Return whether the attack wants all images at once and makes its batches itself."""
    return attack.name == "autoattack" or attack.name in PARTS


def perturb(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    *,
    batch_size: int = 1000,
) -> torch.Tensor:
    """Return adversarial images by the attack that the settings name.

    FGSM and PGD pass all images through the network together; the others take `batch_size` at a time.

    Raises
    ------
    UnknownNameError
        If the attack cannot be run here, or not in its norm.
    """
    name = f"{attack.name} {attack.norm}"
    if name not in RUNNABLE:
        raise UnknownNameError("attack that can be run", name, RUNNABLE)
    if attack.name == "fgsm":
        return fgsm(network, images, labels, attack)
    if attack.name == "pgd":
        return pgd(network, images, labels, attack, generator)
    if attack.name == "autoattack":
        result = autoattack(network, images, labels, attack, generator, batch_size=batch_size)
        return images if result.adversarial is None else result.adversarial
    return run_part(attack.name, network, images, labels, attack, generator, batch_size=batch_size)
