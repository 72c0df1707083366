"""How ARNAS trains and measures a network of its own space, in one frozen object. No torch.

Source: Ou, Feng and Sun, CVPR 2024 (arXiv 2405.05502). The numbers were read in the code and the commands that the
authors give with it; clipping of the gradient in the trainer of AdvRush (Mok et al., ICCV 2021), which those call.
Cutout and the auxiliary loss of that trainer are left out; docs/robust-search.md lists all differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...checks import Check, integer, number
from ...datasets import canonical_name, dataset
from ...errors import InvalidValueError
from ...metrics import Attack, autoattack, fgsm, pgd
from ...settings import AdversarialSettings, settings_for
from .space import LEAST_LAYERS

EPS = 8 / 255


def _milestones(name: str, value: Any) -> tuple[int, ...]:
    epochs: list[Any] = list(value) if isinstance(value, (list, tuple)) else [None]
    if any(type(epoch) is not int or epoch < 1 for epoch in epochs) or epochs != sorted(set(epochs)):
        raise InvalidValueError(name, value, "ascending epochs, positive integers")
    return tuple(epochs)


@dataclass(frozen=True)
class ArnasSettings(AdversarialSettings):
    """Training and evaluation of a network of ARNAS's space; the defaults are the published ones on CIFAR-10.

    SGD has momentum .9. What is not said here is as in `AdversarialSettings`.

    Attributes
    ----------
    channels, layers : int
        C, of the nodes of the first cells; cells of the network.
    max_lr : float
        Learning rate of the first epochs.
    milestones : tuple of int
        Epochs, counted from 0, from which on the learning rate is a tenth of what it was.
    gradient_clip : float
        Largest norm of the gradient of all weights; a longer one is scaled down to it.
    evaluation_batch : int
        Images that pass through the network at a time when it is measured: as many as memory allows, 100 of them need
        10 GiB in a network of the published size.
    """

    attack: Attack = field(default_factory=lambda: pgd(EPS, steps=7, step_size=0.01))
    epochs: int = 200
    batch_size: int = 32
    weight_decay: float = 1e-4
    evaluation: tuple[Attack, ...] = (
        fgsm(EPS),
        pgd(EPS, steps=20, step_size=2 / 255),
        pgd(EPS, steps=100, step_size=2 / 255),
        autoattack(EPS),
    )
    channels: int = 64
    layers: int = 20
    milestones: tuple[int, ...] = (99, 149)
    gradient_clip: float = 5.0
    evaluation_batch: int = 100

    CHECKS: ClassVar[Mapping[str, Check]] = {
        **AdversarialSettings.CHECKS,
        "channels": integer(1),
        "layers": integer(LEAST_LAYERS),
        "evaluation_batch": integer(1),
        "gradient_clip": number(above=True),
        "milestones": _milestones,
    }

    def decay(self, epoch: int) -> float:
        """Return by what the learning rate of an epoch, counted from 0, is multiplied."""
        return 0.1 ** sum(epoch >= milestone for milestone in self.milestones)


def arnas_settings_for(name: str) -> ArnasSettings:
    """Return the settings for a data set: published for natural images, this project's for digits.

    Digits have the attacks, the augmentation and the 20 epochs of the benchmark's own settings for digits, a network
    of 8 cells with C = 8, and the milestones at the published shares of the epochs.
    """
    name = canonical_name(name)
    if name != "digits":
        return ArnasSettings(dataset=name, crop_padding=2 if dataset(name).image_size == 16 else 4)
    shared = ("attack", "epochs", "crop_padding", "flip", "evaluation")
    digits = {field: getattr(settings_for(name), field) for field in shared}
    return ArnasSettings(dataset=name, channels=8, layers=8, milestones=(10, 15), **digits)
