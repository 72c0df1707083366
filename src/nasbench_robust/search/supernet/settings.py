"""Everything that decides the outcome of a differentiable search, in one frozen object. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ...checks import Check, integer, kind, number, one_of
from ...datasets import canonical_name
from ...metrics import MOST, Attack, pgd
from ...settings import Settings, check_crop, check_training_attack
from ...skeletons import Skeleton

SPACES = ("cell", "two-cells", "arnas")


@dataclass(frozen=True)
class SearchSettings(Settings):
    """A differentiable search; the defaults are DARTS's protocol on CIFAR-10.

    Attributes
    ----------
    dataset : str
        Canonical name. A random half of the training split trains the weights, the other half the architecture.
    skeleton : Skeleton
        The network around the searched cell. Images are shrunk to an `image_size` below the data set's, by area.
    space : str
        What is searched: ``"cell"``, ``"two-cells"`` or ``"arnas"``; see `nasbench_robust.search.supernet.spaces`.
    method : str
        One of `nasbench_robust.search.supernet.METHODS`.
    strength : float
        Weight of the method's second term: lambda of RNAS, gamma of DSRNA, the factor on ARNAS's adversarial loss; 0
        where the method has one term.
    order : int
        1, or 2 to differentiate through one step of the weights.
    attack : Attack
        PGD of the adversarial images; its eps is also that of noise, uniform in [-eps, eps], and of bounds.
    epochs, batch_size : int
        Passes over the weights' half; images of a step, of either half. The last, short batch is left out.
    max_lr, min_lr, momentum, weight_decay, clip : float
        SGD of the weights: learning rate along half a cosine, epoch by epoch; largest norm of the gradient.
    alpha_lr, alpha_weight_decay : float
        Adam of the architecture, with betas .5 and .999.
    first_temperature, last_temperature : float
        Of GDAS's draws, along a line over the epochs.
    crop_padding : int
        Zero pixels around an image before a random crop; 0 for none.
    flip : bool
        Random horizontal flips.
    one_shot_cells : int
        How many cells, spread evenly over all, get a one-shot score at the end.
    train_images : int, optional
        How many images of the training split are used, drawn anew by every seed; None for all of them. In dictionaries
        and the hash where it is set.
    """

    dataset: str = "cifar10"
    skeleton: Skeleton = field(default_factory=Skeleton)
    space: str = "cell"
    method: str = "darts"
    strength: float = 0.0
    order: int = 1
    attack: Attack = field(default_factory=lambda: pgd(8 / 255, steps=7, step_size=2 / 255))
    epochs: int = 50
    batch_size: int = 64
    max_lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 5.0
    alpha_lr: float = 3e-4
    alpha_weight_decay: float = 1e-3
    first_temperature: float = 10.0
    last_temperature: float = 0.1
    crop_padding: int = 4
    flip: bool = True
    one_shot_cells: int = 100
    train_images: int | None = None

    CHECKS: ClassVar[Mapping[str, Check]] = {
        "dataset": lambda _, value: canonical_name(value),
        "space": one_of("search space", SPACES),
        "epochs": integer(1, MOST),
        "batch_size": integer(2, MOST),
        "crop_padding": integer(0),
        "order": integer(1),
        "one_shot_cells": integer(0),
        "train_images": lambda name, value: value if value is None else integer(2)(name, value),
        **dict.fromkeys(("strength", "min_lr", "momentum", "weight_decay", "alpha_weight_decay"), number()),
        **dict.fromkeys(("max_lr", "alpha_lr", "clip", "first_temperature", "last_temperature"), number(above=True)),
        "skeleton": kind(Skeleton),
        "attack": kind(Attack),
        "flip": kind(bool),
        "method": kind(str),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self.skeleton.check_dataset(self.dataset, shrunk=True)
        check_crop(self.crop_padding, self.skeleton.image_size)
        check_training_attack(self.attack)
