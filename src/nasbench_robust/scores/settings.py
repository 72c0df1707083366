"""What decides the scores of a cell, in one frozen object, and what this project's tables were made with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from ..datasets import canonical_name, dataset
from ..errors import InvalidValueError, UnknownNameError
from ..metrics import Attack, fgsm, pgd
from ..ntk.gram import PRECISIONS
from ..ntk.modes import BN_MODES
from ..ntk.values import checked_real
from ..proxies import PROXIES
from ..settings import Settings, settings_for
from ..skeletons import Skeleton


@dataclass(frozen=True)
class ScoreSettings(Settings):
    """Everything that decides the scores of a cell but its initial weights.

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
        Of kernel regression: the first images train, the others test; see `ntk.predictors.held_out_accuracy`.
    proxies : tuple of str
        Keys of `proxies.PROXIES`; those that can are computed on images attacked by the last attack, too.
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
    proxies: tuple[str, ...] = tuple(PROXIES)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", canonical_name(self.dataset))
        for name, least in (("images", 4), ("draw", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InvalidValueError(name, value, f"an integer of at least {least}", str(least))
        for name, known in (("bn", BN_MODES), ("precision", tuple(PRECISIONS)), ("output", ("sum", "trace"))):
            if getattr(self, name) not in known:
                raise UnknownNameError(name, getattr(self, name), known)
        self._check_numbers()
        self._check_skeleton()
        self._check_lists()

    def _check_numbers(self) -> None:
        for name, high, expected in (
            ("beta", 1.0, "a weight in [0, 1]"),
            ("train_fraction", 1.0, "a fraction in (0, 1)"),
            ("relative_ridge", math.inf, "a finite number of at least 0"),
        ):
            object.__setattr__(self, name, checked_real(name, getattr(self, name), expected, 0, high))
        if not 0 < self.train_images < self.images:
            expected = f"a fraction of {self.images} images that leaves some to train and some to test"
            raise InvalidValueError("train_fraction", self.train_fraction, expected)

    def _check_skeleton(self) -> None:
        facts, kind = dataset(self.dataset), "a Skeleton"
        if isinstance(self.skeleton, Skeleton):
            kind = f"one for {facts.classes} classes and {facts.input_channels} x {facts.image_size}^2 pixels"
            given = (self.skeleton.classes, self.skeleton.input_channels, self.skeleton.image_size)
            if given == (facts.classes, facts.input_channels, facts.image_size):
                return
        raise InvalidValueError("skeleton", self.skeleton, f"{kind}, the images of {self.dataset}")

    def _check_lists(self) -> None:
        for name in ("attacks", "proxies"):
            if not isinstance(getattr(self, name), tuple):
                raise InvalidValueError(name, getattr(self, name), "a tuple")
        for proxy in self.proxies:
            if not isinstance(proxy, str) or proxy not in PROXIES:
                raise UnknownNameError("proxy", proxy, tuple(PROXIES))
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


def score_settings_for(name: str) -> ScoreSettings:
    """Return the settings of this project's score tables: networks as they are trained, attacks as in the tables."""
    training = settings_for(name)
    common = ScoreSettings(dataset=training.dataset, skeleton=training.skeleton)
    if training.dataset == "digits":
        return replace(common, images=128, attacks=(fgsm(0.1), pgd(0.1, steps=7, step_size=0.1 / 4)))
    attacks = tuple(make(eps) for eps in (3 / 255, 8 / 255) for make in (fgsm, _training_pgd))
    cheap = tuple(name for name in PROXIES if name not in ("grasp", "croze"))  # which cost more than all else together
    return replace(common, attacks=attacks, proxies=cheap)


def _serves(attack: Attack) -> bool:
    """Return whether kernels can be made with an attack; PGD without steps would leave the images as they are."""
    if attack.name == "fgsm":
        return attack.norm == "Linf"
    return attack.name == "pgd" and attack.steps is not None and bool(attack.step_size)


def _training_pgd(eps: float) -> Attack:
    return pgd(eps, steps=7, step_size=eps / 4)
