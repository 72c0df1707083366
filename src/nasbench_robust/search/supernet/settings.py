"""Everything that decides the outcome of a differentiable search, in one frozen object. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ...datasets import canonical_name
from ...errors import InvalidValueError, UnknownNameError
from ...files import json_hash
from ...metrics import Attack, pgd
from ...settings import build
from ...skeletons import Skeleton

_INTEGERS = {"epochs": 1, "batch_size": 2, "crop_padding": 0, "order": 1, "one_shot_cells": 0}  # and the least
SPACES = ("cell", "two-cells", "arnas")
_POSITIVE = ("max_lr", "alpha_lr", "clip")
_NOT_NEGATIVE = ("min_lr", "momentum", "weight_decay", "alpha_weight_decay")


@dataclass(frozen=True)
class SearchSettings:
    """A differentiable search; the defaults are DARTS's protocol on CIFAR-10.

    Attributes
    ----------
    dataset : str
        Canonical name. A random half of the training split trains the weights, the other half the architecture.
    skeleton : Skeleton
        The network around the searched cell.
    space : str
        What is searched: ``"cell"``, ``"two-cells"`` or ``"arnas"``; see `nasbench_robust.search.supernet.spaces`.
    method : str
        One of `nasbench_robust.search.supernet.METHODS`.
    strength : float
        Weight of the method's second term: lambda of RNAS, gamma of DSRNA, the factor on ARNAS's adversarial loss.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", canonical_name(self.dataset))
        if self.space not in SPACES:
            raise UnknownNameError("search space", self.space, SPACES)
        for name, least in _INTEGERS.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InvalidValueError(name, value, f"an integer of at least {least}", str(least))
        for name in ("strength", "first_temperature", "last_temperature", *_POSITIVE, *_NOT_NEGATIVE):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InvalidValueError(name, value, "a finite number of at least 0")
            if value == 0 and (name in _POSITIVE or "temperature" in name):
                raise InvalidValueError(name, value, "a number above 0")
            object.__setattr__(self, name, float(value))
        for name, kind in (("skeleton", Skeleton), ("attack", Attack), ("flip", bool), ("method", str)):
            if not isinstance(getattr(self, name), kind):
                raise InvalidValueError(name, getattr(self, name), f"a {kind.__name__}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries of plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> SearchSettings:
        """Rebuild settings from what `to_dict` gave; errors name an unknown entry or a value out of range."""
        facts = dict(facts)
        for name, kind in (("skeleton", Skeleton), ("attack", Attack)):
            if name in facts:
                facts[name] = build(kind, name, facts[name])
        settings: SearchSettings = build(cls, "search settings", facts)
        return settings

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings as sorted JSON."""
        return json_hash(self.to_dict())


def search_settings_for(name: str, method: str = "darts", space: str = "cell", **changes: Any) -> SearchSettings:
    """Return the settings of a search on the data set called `name`, some of them changed.

    On digits a search takes 800 steps instead of CIFAR-10's 19,500. The learning rate of the architecture is larger by
    about the same factor, so that it can go as far.

    Parameters
    ----------
    name, method, space : str
        Data set; one of `objectives.METHODS`, which gives `strength` and `order` their defaults; what is searched.
        ARNAS's space has its published search network, 8 cells and 24 channels, and batches of 32.
    **changes
        Fields of `SearchSettings`.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If a name is not known, a value is out of range, or the method cannot be had in this order.
    """
    from .methods import find_method  # needs torch

    found = find_method(method)
    facts: dict[str, Any] = {"dataset": name, "method": method, "strength": found.strength, "order": found.order}
    facts["space"] = space
    if canonical_name(name) == "digits":
        facts |= {
            "skeleton": Skeleton.for_dataset(name, channels=8, cells_per_stage=1 if space != "arnas" else 2),
            "attack": pgd(0.1, steps=7, step_size=0.1 / 4),
            **{"batch_size": 32, "alpha_lr": 7e-3, "crop_padding": 1, "flip": False},
        }
    elif space == "arnas":
        facts |= {"skeleton": Skeleton.for_dataset(name, channels=24, cells_per_stage=2), "batch_size": 32}
    else:
        facts["skeleton"] = Skeleton.for_dataset(name)
    settings = SearchSettings(**{**facts, **changes})
    find_method(settings.method, settings.order, settings.space)
    return settings
