"""One call and one signature for all attacks: the settings say which, the table in `metrics` where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from .._door import resolve
from ..errors import UnknownNameError
from ..metrics import ATTACKS

if TYPE_CHECKING:
    import torch

    from ..metrics import Attack

# Takes a network, images, labels, the attack's settings, a generator and a batch size; returns adversarial images.
AttackFunction: TypeAlias = Callable[
    ["torch.nn.Module", "torch.Tensor", "torch.Tensor", "Attack", "torch.Generator", int], "torch.Tensor"
]


def attack_function(attack: Attack) -> AttackFunction:
    """Return what makes the adversarial images of an attack.

    Raises
    ------
    UnknownNameError
        If the attack cannot be run here, or not in its norm.
    """
    function = ATTACKS[attack.name].functions.get(attack.norm)
    if function is None:
        runnable = [f"{name} {norm}" for name, kind in ATTACKS.items() for norm in kind.functions]
        raise UnknownNameError("attack that can be run", f"{attack.name} {attack.norm}", runnable)
    return resolve(function)


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
    return attack_function(attack)(network, images, labels, attack, generator, batch_size)
