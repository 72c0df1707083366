"""All training-free scores of one cell: kernels, kernel regression and proxies, each a row with a value or a reason."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch

from .cells import Cell
from .datasets import canonical_name, dataset
from .errors import InvalidValueError, UnknownNameError
from .images import Images, to_unit
from .metrics import Attack, Metric, fgsm, pgd
from .native.draws import Draws
from .networks import Network, network_for
from .ntk.gram import BN_MODES, PRECISIONS, choose_engine, ntk
from .ntk.kernels import Kernels, attacked, kernels
from .ntk.modes import prepare
from .ntk.predictors import SCORES, HeldOut, Split, held_out_accuracy, score_kernel, weyl_bound
from .ntk.values import Value, checked_real
from .proxies import PROXIES, scores
from .settings import attacks_from, build, settings_for
from .skeletons import Skeleton
from .training import make_generator

__all__ = ["ScoreSettings", "Scored", "chosen_images", "score_cell", "score_settings_for"]

SYMMETRIC = ("clean", "robust", "robust_twice", "combined", "combined_robust")


@dataclass(frozen=True)
class ScoreSettings:
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
        if not 0 < self._train < self.images:
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
        for name, entries in (("proxies", self.proxies), ("attacks", tuple(map(_name, self.attacks)))):
            if len(set(entries)) < len(entries):  # two scores of one name could not be told apart
                raise InvalidValueError(name, entries, "each name once")

    @property
    def _train(self) -> int:
        """How many of the images kernel regression trains on."""
        return round(self.train_fraction * self.images)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as nested dictionaries and lists of plain values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return plain

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> ScoreSettings:
        """Rebuild settings from what `to_dict` gave; entries that are missing have their defaults.

        Raises
        ------
        UnknownNameError, InvalidValueError
            If a name is not known or a value is out of range.
        """
        facts = dict(facts)
        if "skeleton" in facts:
            facts["skeleton"] = build(Skeleton, "skeleton", facts["skeleton"])
        if "attacks" in facts:
            facts["attacks"] = attacks_from("attacks", facts["attacks"])
        if isinstance(facts.get("proxies"), list):
            facts["proxies"] = tuple(facts["proxies"])
        settings: ScoreSettings = build(cls, "settings", facts)
        return settings

    @property
    def hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings as sorted JSON."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]


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


@dataclass(frozen=True)
class Scored:
    """One score.

    Attributes
    ----------
    kernel : str or None
        Which kernel it is of, an attribute of `ntk.Kernels`; ``"regression"``; None for a proxy.
    attack : str or None
        The attack that the kernel or the images depend on, ``"pgd@8/255"``; None for clean images.
    score : str
        Name of the score.
    value : float or None
        None where it cannot be computed.
    failure : str or None
        Why it cannot.
    seconds : float
        Time for everything that this score needs, attacks included; scores of one kernel share it.
    """

    kernel: str | None
    attack: str | None
    score: str
    value: float | None
    failure: str | None
    seconds: float

    def __post_init__(self) -> None:
        Value(self.value, self.failure)  # either of the two, and the value finite


def chosen_images(settings: ScoreSettings, images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images that the settings choose, pixels in [0, 1], and their classes."""
    available = len(images.train_labels)
    if settings.images > available:
        raise InvalidValueError("images", settings.images, f"at most the {available} training images", str(available))
    chosen = torch.from_numpy(Draws(settings.draw, "scores").permutation(available)[: settings.images])
    return to_unit(images.train_images[chosen]), images.train_labels[chosen]


def score_cell(
    cell: Cell, settings: ScoreSettings, images: torch.Tensor, labels: torch.Tensor, seed: int, engine: str = "auto"
) -> list[Scored]:
    """Return all scores of a cell that the settings name.

    Parameters
    ----------
    cell : Cell
        The representative of its class is what is scored.
    settings : ScoreSettings
        What to compute.
    images, labels : Tensor
        From `chosen_images`, on the device that is to be used.
    seed : int
        Draws the initial weights, the same as of a training run in torch with this seed, and what attacks and proxies
        draw.
    engine : str
        As for `ntk.ntk`.
    """
    generator = make_generator(seed, "weights")
    network = network_for(Cell.from_index(cell.representative), settings.skeleton, settings.dataset, generator)
    network.to(images.device)
    found = _Found(network, settings, images, labels, seed, engine)
    return [
        *found.clean(),
        *(scored for attack in settings.attacks for scored in found.robust(attack)),
        *found.proxies(),
    ]


class _Found:
    """The scores of one network, family by family; each draws from a generator of its own."""

    def __init__(
        self,
        network: Network,
        settings: ScoreSettings,
        images: torch.Tensor,
        labels: torch.Tensor,
        seed: int,
        engine: str,
    ) -> None:
        self._network, self._settings, self._images, self._labels = network, settings, images, labels
        self._seed, self._engine = seed, engine
        self._classes = labels.cpu().numpy()
        self._reason = None if network.cell.connected else "the output does not depend on the input"

    def clean(self) -> list[Scored]:
        """Return what the clean kernel says."""
        s, start, matrix = self._settings, time.perf_counter(), None
        if self._reason is None:
            options: dict[str, Any] = {"output": s.output, "bn": s.bn, "precision": s.precision, "engine": self._engine}
            matrix = ntk(self._network, self._images, **options).cpu().numpy()
        seconds = time.perf_counter() - start
        rows = [("clean", None, name, value) for name, value in self._of_kernel("clean", matrix).items()]
        regression = self._regression(matrix)["standard_clean"]
        return [_scored(*row, seconds) for row in [*rows, ("regression", None, "standard_clean", regression)]]

    def robust(self, attack: Attack) -> list[Scored]:
        """Return what the kernels of one attack say."""
        s, start, found = self._settings, time.perf_counter(), None
        if self._reason is None:
            found = kernels(
                self._network,
                self._images,
                attack,
                beta=s.beta,
                bn=s.bn,
                labels=self._labels,
                generator=make_generator(self._seed, "scores", self._images.device),
                output=s.output,
                precision=s.precision,
                engine=self._engine,
            )
        seconds = time.perf_counter() - start
        return [_scored(kernel, attack, name, value, seconds) for kernel, name, value in self._of_kernels(found)]

    def proxies(self) -> list[Scored]:
        """Return the proxies, on clean images and on images attacked by the last attack."""
        s, start = self._settings, time.perf_counter()
        if not s.proxies:
            return []
        adversarial = self._images if s.attacks else None
        if s.attacks and self._reason is None:  # else there is no gradient to follow, nor a proxy of attacked images
            engine = choose_engine(self._engine, self._network, self._images, s.bn, s.precision)
            twin = prepare(self._network, self._images, s.bn, self._images.dtype)
            generator = make_generator(self._seed, "scores", self._images.device)
            adversarial = attacked(twin, self._images, self._labels, s.attacks[-1], generator, engine).clamp(0, 1)
        attacking = time.perf_counter() - start
        rows = scores(
            self._network,
            self._images,
            self._labels,
            s.proxies,
            adversarial=adversarial,
            generator=make_generator(self._seed, "scores", self._images.device),
        )
        return [
            Scored(None, _name(s.attacks[-1]), row.name, row.value, row.failure, row.seconds + attacking)
            if row.images == "adversarial"
            else Scored(None, None, row.name, row.value, row.failure, row.seconds)
            for row in rows
        ]

    def _of_kernels(self, found: Kernels | None) -> Iterator[tuple[str, str, Value]]:
        for kernel in ("robust", "cross", "robust_twice", "cross_twice", "combined", "combined_robust"):
            for name, value in self._of_kernel(kernel, found and getattr(found, kernel)).items():
                yield kernel, name, value
        for kernel in ("combined", "combined_robust"):
            yield kernel, "weyl_bound", self._weyl(kernel, found)
        regression = self._regression(*((found.clean, found.robust, found.cross) if found else ()))
        for name in ("standard_attacked", "adversarial_clean", "adversarial_attacked"):
            yield "regression", name, regression[name]

    def _of_kernel(self, kernel: str, matrix: Any) -> dict[str, Value]:
        kind = "symmetric" if kernel in SYMMETRIC else "cross"
        if self._reason is not None:
            return {score.name: Value.failed(self._reason) for score in SCORES if kind in score.kinds}
        return score_kernel(matrix, self._classes, self._settings.precision, kind)

    def _weyl(self, kernel: str, found: Kernels | None) -> Value:
        if found is None or found.robust_twice is None or found.cross_twice is None:
            return Value.failed(str(self._reason))
        parts = (found.clean, found.cross, found.robust)
        if kernel == "combined_robust":
            parts = (found.robust, found.cross_twice, found.robust_twice)
        return weyl_bound(*parts, weight=found.beta, precision=self._settings.precision)

    def _regression(self, clean: Any = None, robust: Any = None, cross: Any = None) -> dict[str, Value]:
        if self._reason is not None:
            return {entry.name: Value.failed(self._reason) for entry in fields(HeldOut)}
        s, train = self._settings, self._settings._train
        order = np.arange(s.images)
        found = held_out_accuracy(
            clean,
            self._classes,
            Split(order[:train], order[train:]),
            classes=s.skeleton.classes,
            precision=s.precision,
            relative_ridge=s.relative_ridge,
            robust=robust,
            cross=cross,
        )
        return {entry.name: getattr(found, entry.name).accuracy for entry in fields(HeldOut)}


def _scored(kernel: str, attack: Attack | None, name: str, value: Value, seconds: float) -> Scored:
    return Scored(kernel, None if attack is None else _name(attack), name, value.value, value.failure, seconds)


def _name(attack: Attack) -> str:
    """Return ``pgd@8/255``, as in the long names of metrics."""
    return Metric.of(attack).long_name.replace("_acc", "")
