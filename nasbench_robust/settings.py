"""Everything that decides the outcome of a training run, in one frozen object whose hash names the run. No torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from .datasets import canonical_name, dataset
from .errors import InvalidValueError
from .metrics import Attack, Metric, fgsm, pgd
from .skeletons import Skeleton

__all__ = ["TrainingSettings", "settings_for"]


@dataclass(frozen=True)
class TrainingSettings:
    """Adversarial training and evaluation of one cell; the defaults are the published protocol on CIFAR-10.

    Source: Wu et al., "Robust NAS under adversarial training", ICLR 2024, section 3 and its code.

    Attributes
    ----------
    dataset : str
        Canonical name of the data set.
    skeleton : Skeleton
        The network around the cell.
    attack : Attack
        PGD that makes the training examples; the network is in eval mode meanwhile.
    epochs, batch_size : int
        Passes over the training split; images of a step (the last, short batch is kept).
    max_lr : float
        Peak of the one-cycle schedule, stepped per batch, which also cycles the momentum from .95 to .85 and back.
    weight_decay : float
        On all parameters.
    crop_padding : int
        Zero pixels around an image before a random crop of its own size; 0 for none.
    flip : bool
        Random horizontal flips.
    evaluation : tuple of Attack
        Attacks of the final evaluation on the test split, beside clean accuracy.
    """

    dataset: str = "cifar10"
    skeleton: Skeleton = field(default_factory=Skeleton)
    attack: Attack = field(default_factory=lambda: pgd(8 / 255, steps=7, step_size=2 / 255))
    epochs: int = 50
    batch_size: int = 256
    max_lr: float = 0.1
    weight_decay: float = 5e-4
    crop_padding: int = 4
    flip: bool = True
    evaluation: tuple[Attack, ...] = (fgsm(3 / 255), pgd(3 / 255), fgsm(8 / 255), pgd(8 / 255))

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", canonical_name(self.dataset))
        for name, least in (("epochs", 1), ("batch_size", 2), ("crop_padding", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InvalidValueError(name, value, f"an integer of at least {least}", str(least))
        for name in ("max_lr", "weight_decay"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InvalidValueError(name, value, "a finite number of at least 0")
            object.__setattr__(self, name, float(value))
        for name, kind in (("skeleton", Skeleton), ("attack", Attack), ("flip", bool), ("evaluation", tuple)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidValueError(name, getattr(self, name), f"a {kind.__name__}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What the final evaluation measures."""
        return (Metric("clean_acc"), *(Metric.of(attack) for attack in self.evaluation))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries and lists of plain values, as they are hashed and stored."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings as sorted JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_for(name: str) -> TrainingSettings:
    """Return the settings of the benchmark for a data set: published for natural images, this project's for digits."""
    name = canonical_name(name)
    if name == "digits":
        return TrainingSettings(
            dataset=name,
            skeleton=Skeleton.for_dataset(name, channels=4, cells_per_stage=1),
            attack=pgd(0.1, steps=7, step_size=0.1 / 4),
            epochs=20,
            batch_size=64,
            crop_padding=1,
            flip=False,
            evaluation=(fgsm(0.05), pgd(0.05), fgsm(0.1), pgd(0.1)),
        )
    padding = 2 if dataset(name).image_size == 16 else 4
    return TrainingSettings(dataset=name, skeleton=Skeleton.for_dataset(name), crop_padding=padding)
