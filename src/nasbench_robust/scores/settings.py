"""What decides the scores of a cell, in one frozen object, and what this project's tables were made with. No torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from typing import Any

from ..checks import integer, kind
from ..datasets import canonical_name
from ..errors import InvalidValueError, UnknownNameError
from ..files import json_hash
from ..metrics import Attack, fgsm, pgd
from ..ntk import BN_MODES, OUTPUTS, PRECISIONS
from ..proxies import PROXIES, find_proxy
from ..settings import Settings, settings_for
from ..skeletons import Skeleton

LISTS = ("attacks", "proxies")
CHOICE = (*LISTS, "kernels")  # which scores there are; every other setting decides their values


@dataclass(frozen=True)
class ScoreSettings(Settings):
    """Everything that decides the scores of a cell but its initial weights.

    A score is identified by all settings but the lists of attacks and proxies and `kernels`, and by its own kernel,
    attack and name: tables whose settings differ in these alone belong together, see `identity`.

    Attributes
    ----------
    dataset : str
        Canonical name of the images' data set.
    skeleton : Skeleton
        The network around the cell.
    images, draw : int
        How many training images are looked at, and which: the first ones of the permutation of this number.
    bn, output, precision : str
        Of the kernels, as for `ntk.ntk`. Attacks see the same network.
    attacks : tuple of Attack
        FGSM or PGD of different names; robust, cross, twice and combined kernels are made for each.
    beta : float
        Weight of the adversarial loss in the combined kernels.
    train_fraction, relative_ridge : float
        Of kernel regression: the first images train, the others test; see `ntk.held_out_accuracy`.
    proxies : tuple of str
        Keys of `proxies.PROXIES`, all by default; those that can are computed on images attacked by the last attack,
        too.
    kernels : bool
        Whether kernels are scored, or proxies alone. In dictionaries and the hash where it is False.

    Raises
    ------
    UnknownNameError, InvalidValueError
        If a name is not known or a value is out of range.
    """

    dataset: str = "cifar10"
    skeleton: Skeleton = field(default_factory=Skeleton)
    images: int = 32
    draw: int = 0
    bn: str = "batch_frozen"
    output: str = "sum"
    precision: str = "fp32"
    attacks: tuple[Attack, ...] = ()
    beta: float = 0.5
    train_fraction: float = 0.75
    relative_ridge: float = 1e-3
    proxies: tuple[str, ...] = field(default_factory=lambda: tuple(PROXIES))
    kernels: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", canonical_name(self.dataset))
        for name, least in (("images", 4), ("draw", 0)):
            object.__setattr__(self, name, integer(least, 2**31 - 1)(name, getattr(self, name)))
        of_a_pair = tuple(output for output in OUTPUTS if output != "full")
        for name, choices in (("bn", BN_MODES), ("precision", PRECISIONS), ("output", of_a_pair)):
            if getattr(self, name) not in choices:
                raise UnknownNameError(name, getattr(self, name), choices)
        self._check_numbers()
        kind(Skeleton)("skeleton", self.skeleton)
        self.skeleton.check_dataset(self.dataset)
        self._check_lists()
        if not isinstance(self.kernels, bool):
            raise InvalidValueError("kernels", self.kernels, "true or false")

    def _check_numbers(self) -> None:
        for name, high, expected in (
            ("beta", 1.0, "a weight in [0, 1]"),
            ("train_fraction", 1.0, "a fraction in (0, 1)"),
            ("relative_ridge", sys.float_info.max, "a finite number of at least 0"),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
                raise InvalidValueError(name, value, expected)
            object.__setattr__(self, name, float(value))
        if not 0 < self.train_images < self.images:
            expected = f"a fraction of {self.images} images that leaves some to train and some to test"
            raise InvalidValueError("train_fraction", self.train_fraction, expected)

    def _check_lists(self) -> None:
        for name in LISTS:
            if not isinstance(getattr(self, name), tuple):
                raise InvalidValueError(name, getattr(self, name), "a tuple")
        for proxy in self.proxies:
            find_proxy(proxy)
        for attack in self.attacks:
            if not isinstance(attack, Attack) or not _serves(attack):
                raise InvalidValueError("attacks", attack, "FGSM in L-infinity, or PGD with steps and step_size")
        for name, entries in (("proxies", self.proxies), ("attacks", tuple(attack.label for attack in self.attacks))):
            if len(set(entries)) < len(entries):  # two scores of one name could not be told apart
                raise InvalidValueError(name, entries, "each name once")

    @property
    def train_images(self) -> int:
        """How many of the images kernel regression trains on, the first ones."""
        return round(self.train_fraction * self.images)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries and lists of plain values, as they are hashed and stored."""
        plain = super().to_dict()
        if self.kernels:  # as it was before there was a choice
            del plain["kernels"]
        return plain

    @property
    def identity(self) -> str:
        """The hash without the choice of scores: equal where those of one kernel, attack and name are the same."""
        return json_hash({name: value for name, value in self.to_dict().items() if name not in CHOICE})


def score_settings_for(name: str) -> ScoreSettings:
    """Return the settings of this project's score tables: networks as they are trained, attacks as in the tables."""
    training = settings_for(name)
    standard = tuple(name for name, proxy in PROXIES.items() if proxy.standard)
    common = ScoreSettings(dataset=training.dataset, skeleton=training.skeleton, proxies=standard)
    if training.dataset == "digits":
        return replace(common, images=128, attacks=(fgsm(0.1), pgd(0.1, steps=7, step_size=0.1 / 4)))
    attacks = tuple(make(eps) for eps in (3 / 255, 8 / 255) for make in (fgsm, _training_pgd))
    cheap = tuple(name for name in standard if not PROXIES[name].costly)
    return replace(common, attacks=attacks, proxies=cheap)


def _serves(attack: Attack) -> bool:
    """Return whether kernels can be made with an attack; PGD without steps would leave the images as they are."""
    if attack.name == "fgsm":
        return attack.norm == "Linf"
    return attack.name == "pgd" and attack.steps is not None


def _training_pgd(eps: float) -> Attack:
    return pgd(eps, steps=7, step_size=eps / 4)
