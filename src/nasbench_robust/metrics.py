"""What is measured: attacks as typed facts, metric names, and how an eps is written. No torch.

A metric is an accuracy, a fraction in [0, 1] of the images of one split that are classified correctly: higher is
better. ``clean_acc`` is measured on the images as they are; every other metric names its attack, and its long name the
budget: ``pgd_acc@8/255``. The short name ``pgd_acc`` means the budget that the release sets as its default. Budgets
are L-infinity radii; another norm is marked: ``pgd_acc@L2:0.5``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from .checks import integer, number
from .errors import InvalidValueError, UnknownNameError

# Settings of an attack that not every kind of attack has.
OPTIONS = ("steps", "step_size", "random_start", "restarts", "queries", "targets", "checkpoints")
MOST = 10**6  # steps, restarts, queries, and length of a step: no run needs more, and int32 and float32 hold it


@dataclass(frozen=True)
class AttackKind:
    """One kind of attack.

    Attributes
    ----------
    description : str
        What it does, with its source.
    functions : mapping of str to str or callable
        By norm, what makes adversarial images, a `nasbench_robust.attacks.AttackFunction`, or ``"room.file:function"``.
    strength : int or None
        Of two attacks with one budget, the one of larger strength leaves at most as many images correct; None for one
        that is not ordered.
    pools : bool
        Whether it wants all images at once and makes its batches itself.
    uses : tuple of str
        Those of `OPTIONS` that it looks at; the others cannot be set.
    """

    description: str
    functions: Mapping[str, str | Callable[..., Any]]
    strength: int | None = None
    pools: bool = False
    uses: tuple[str, ...] = OPTIONS


ATTACKS: dict[str, AttackKind] = {
    "fgsm": AttackKind(
        "fast gradient sign method (Goodfellow, Shlens and Szegedy, ICLR 2015)",
        {"Linf": "attacks._fgsm:fgsm"},
        1,
        uses=(),
    ),
    "pgd": AttackKind(
        "projected gradient descent (Madry et al., ICLR 2018), last iterate",
        {"Linf": "attacks._pgd:pgd", "L2": "attacks._pgd:pgd"},
        2,
        uses=("steps", "step_size", "random_start", "restarts"),
    ),
    "autoattack": AttackKind(
        "AutoAttack standard (Croce and Hein, ICML 2020): APGD-CE, APGD-T, FAB-T, Square",
        {"Linf": "attacks._autoattack:adversarial_images", "L2": "attacks._autoattack:adversarial_images"},
        3,
        pools=True,
        uses=("steps", "restarts", "queries", "targets", "checkpoints"),
    ),
    "apgd_ce": AttackKind(
        "Auto-PGD on the cross entropy (Croce and Hein, ICML 2020)",
        {"Linf": "attacks.apgd:apgd_ce", "L2": "attacks.apgd:apgd_ce"},
        2,
        pools=True,
        uses=("steps", "restarts", "checkpoints"),
    ),
    "apgd_t": AttackKind(
        "Auto-PGD on the targeted difference-of-logits ratio (Croce and Hein, ICML 2020)",
        {"Linf": "attacks.apgd:apgd_t", "L2": "attacks.apgd:apgd_t"},
        pools=True,
        uses=("steps", "restarts", "targets", "checkpoints"),
    ),
    "fab_t": AttackKind(
        "targeted fast adaptive boundary attack (Croce and Hein, ICML 2020)",
        {"Linf": "attacks.fab:fab_t", "L2": "attacks.fab:fab_t"},
        pools=True,
        uses=("steps", "targets"),
    ),
    "square": AttackKind(
        "Square attack (Andriushchenko et al., ECCV 2020)",
        {"Linf": "attacks._square:square", "L2": "attacks._square:square"},
        pools=True,
        uses=("restarts", "queries"),
    ),
}
NORMS = ("Linf", "L2")
CHECKPOINTS = ("paper", "programs")
PARTS = ("apgd_ce", "apgd_t", "fab_t", "square")  # of AutoAttack, in order
UNATTACKED = {
    "clean_acc": "images as they are",
    "corruption_acc": "mean over common corruptions (Hendrycks and Dietterich, ICLR 2019)",
}
SPLITS = ("test", "validation")

# Names in circulation that mean something else than they say, or nothing here: used to suggest, never accepted.
_FOREIGN_NAMES = {
    **dict.fromkeys(("val_acc", "acc", "accuracy", "clean", "test_acc"), "clean_acc"),
    **dict.fromkeys(("aa", "aa_acc"), "autoattack_acc"),
    **dict.fromkeys(("robust_acc", "adv_acc"), "pgd_acc"),
    **{f"val_{attack}_{level}_acc": f"{attack}_acc@{level}/255" for attack in ("fgsm", "pgd") for level in (3, 8)},
}


def metric_names() -> tuple[str, ...]:
    """Return the short names of all metrics."""
    return (*UNATTACKED, *(f"{name}_acc" for name in ATTACKS))


@dataclass(frozen=True, repr=False)
class Attack:
    """Settings of one attack. What a kind of attack does not use cannot be set; `AttackKind.uses` says what it uses.

    Attributes
    ----------
    name : str
        Key of `ATTACKS`.
    eps : float
        Radius of the ball around the image, pixels in [0, 1]; at most 1 in L-infinity.
    norm : str
        Norm of the ball, one of `NORMS`.
    steps : int or None
        Gradient steps (of each gradient-based part, for AutoAttack): None is 100 for AutoAttack and its parts, and says
        that it is not known for PGD, which then cannot be run.
    step_size : float or None
        Length of a step in the norm, where it is fixed; that of PGD is 2.5 eps / steps by default.
    random_start : bool or None
        Whether the attack starts at a uniformly drawn point of the ball; None is no.
    restarts : int or None
        Independent runs; an image counts as robust if all of them fail. None is 1.
    queries : int or None
        Forward passes that a black-box part may use on an image; None is 5,000.
    targets : int or None
        How many wrong classes AutoAttack's targeted parts aim at, most likely first; None is 9, or all if fewer.
    checkpoints : str or None
        When Auto-PGD considers to halve its step: ``"paper"``, the default, or ``"programs"``, the whole numbers of the
        authors' programs and of torchattacks. With 100 steps both are the same.
    """

    name: str
    eps: float
    norm: str = "Linf"
    steps: int | None = None
    step_size: float | None = None
    random_start: bool | None = None
    restarts: int | None = None
    queries: int | None = None
    targets: int | None = None
    checkpoints: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in ATTACKS:
            raise UnknownNameError("attack", self.name, tuple(ATTACKS))
        if self.norm not in NORMS:
            raise UnknownNameError("norm", self.norm, NORMS)
        object.__setattr__(self, "eps", checked_eps(self.eps, self.norm))
        for name in ("steps", "restarts", "queries", "targets"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(1, MOST)(name, getattr(self, name)))
        if self.random_start is not None and type(self.random_start) is not bool:
            raise InvalidValueError("random_start", self.random_start, "True, False or None")
        if self.checkpoints not in (None, *CHECKPOINTS):
            raise UnknownNameError("checkpoints", self.checkpoints, CHECKPOINTS)
        if self.name == "pgd" and self.steps and self.step_size is None:
            object.__setattr__(self, "step_size", 2.5 * self.eps / self.steps)
        if self.step_size is not None:
            object.__setattr__(self, "step_size", number(above=True, most=MOST)("step_size", self.step_size))
        self._check_uses()

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in asdict(self).items() if value is not None]
        return f"Attack({', '.join(shown)})"

    def _check_uses(self) -> None:
        """Refuse what would be stored and ignored."""
        implied: dict[str, Any] = {"restarts": 1}
        if self.name == "fgsm":  # PGD of one full step
            implied |= {"steps": 1, "step_size": self.eps, "random_start": False}
        for name in OPTIONS:
            value = getattr(self, name)
            if value is not None and name not in ATTACKS[self.name].uses and value != implied.get(name):
                expected = f"{implied[name]} or None" if name in implied else "None"
                raise InvalidValueError(name, value, f"{expected}: {self.name} does not use it")
        if self.name == "pgd" and not self.random_start and (self.restarts or 1) > 1:
            raise InvalidValueError("restarts", self.restarts, "1 without random_start: all would be the same", "1")

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Attack:
        """Rebuild an attack from what a table says of it; what older versions stored and ignored is left out."""
        try:
            return cls(**stored)
        except InvalidValueError:
            unused = set(OPTIONS).difference(ATTACKS[stored["name"]].uses)
            return cls(**{name: value for name, value in stored.items() if name not in unused})

    @classmethod
    def fgsm(cls, eps: float) -> Attack:
        """Return FGSM of radius `eps`: one step of full length, no random start."""
        eps = checked_eps(eps)
        return cls("fgsm", eps, steps=1, step_size=eps, random_start=False, restarts=1)

    @classmethod
    def pgd(
        cls, eps: float, *, steps: int = 20, step_size: float | None = None, norm: str = "Linf", restarts: int = 1
    ) -> Attack:
        """Return PGD of radius `eps` with a uniform random start; the step is 2.5 eps / steps by default."""
        return cls("pgd", eps, norm, integer(1)("steps", steps), step_size, random_start=True, restarts=restarts)

    @classmethod
    def autoattack(
        cls,
        eps: float,
        *,
        steps: int = 100,
        targets: int | None = None,
        norm: str = "Linf",
        checkpoints: str | None = None,
    ) -> Attack:
        """Return AutoAttack standard as its authors have it; that of the published table differs."""
        return cls("autoattack", eps, norm, steps, None, None, 1, 5000, targets, checkpoints)

    def part(self, name: str) -> Attack:
        """Return the settings of one of `PARTS` of AutoAttack."""
        unused: dict[str, Any] = dict.fromkeys(set(OPTIONS).difference(ATTACKS[name].uses))
        return replace(self, name=name, **unused)

    @property
    def schedule(self) -> tuple[int, float]:
        """How many gradient steps FGSM or PGD takes, and their length: one full step is FGSM."""
        if self.name == "fgsm":
            return 1, self.eps
        if self.steps is None or self.step_size is None:
            raise InvalidValueError(f"steps of {self.label}", self.steps, "a number of gradient steps", "20")
        return self.steps, self.step_size

    @property
    def label(self) -> str:
        """Name and budget, ``pgd@8/255`` or ``pgd@L2:0.5``, as in the long names of metrics."""
        mark = "" if self.norm == "Linf" else f"{self.norm}:"
        return f"{self.name}@{mark}{format_eps(self.eps)}"


def stored_fields(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return what `dataclasses.asdict` stores: fields that came later only where they are set, so that hashes stay."""
    later = "targets", "checkpoints", "train_images"
    return {name: value for name, value in items if value is not None or name not in later}


# The makers under the names that they had first.
fgsm, pgd, autoattack = Attack.fgsm, Attack.pgd, Attack.autoattack


@dataclass(frozen=True)
class Metric:
    """One measured accuracy: a name, the attack behind it and the split it was measured on.

    Attributes
    ----------
    name : str
        Short name, one of `metric_names`.
    attack : Attack or None
        The attack; None for accuracies without one.
    split : str
        ``"test"`` or ``"validation"``.
    """

    name: str
    attack: Attack | None = None
    split: str = "test"

    def __post_init__(self) -> None:
        if self.name not in metric_names():
            suggestion = _FOREIGN_NAMES.get(self.name) if isinstance(self.name, str) else None
            raise UnknownNameError("metric", self.name, metric_names(), suggestion)
        expected = None if self.name in UNATTACKED else self.name.removesuffix("_acc")
        named = self.attack.name if isinstance(self.attack, Attack) else self.attack
        if named != expected or not isinstance(self.attack, Attack | None):
            raise InvalidValueError(f"the attack of {self.name}", named, repr(expected))
        if self.split not in SPLITS:
            raise UnknownNameError("split", self.split, SPLITS)

    @classmethod
    def of(cls, attack: Attack, split: str = "test") -> Metric:
        """Return the accuracy under `attack`."""
        return cls(f"{attack.name}_acc", attack, split)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Metric:
        """Rebuild a metric from what `dataclasses.asdict` gave."""
        attack = stored.get("attack")
        return cls(stored["name"], Attack.from_stored(attack) if attack else None, stored["split"])

    @property
    def eps(self) -> float | None:
        """Budget of the attack, pixels in [0, 1]; None without an attack."""
        return self.attack.eps if self.attack else None

    @property
    def norm(self) -> str | None:
        """Norm of the budget; None without an attack."""
        return self.attack.norm if self.attack else None

    @property
    def long_name(self) -> str:
        """Name with its budget, for example ``pgd_acc@8/255`` or ``pgd_acc@L2:0.5``."""
        if self.attack is None:
            return self.name
        return self.attack.label.replace("@", "_acc@", 1)

    @property
    def column(self) -> str:
        """Column of the runs table: the long name, and ``#split`` behind it unless that is test."""
        return self.long_name if self.split == "test" else f"{self.long_name}#{self.split}"

    @property
    def count_column(self) -> str:
        """Column with the number of correctly classified images, for example ``pgd_correct@8/255``."""
        return self.column.replace("_acc", "_correct", 1)

    @property
    def description(self) -> str:
        """What the images were subjected to."""
        return UNATTACKED.get(self.name) or ATTACKS[self.name.removesuffix("_acc")].description


def checked_eps(eps: object, norm: str = "Linf") -> float:
    """Return `eps` as a float if it is a budget in (0, 1], in L2 in (0, inf); suggest k/255 for grey levels."""
    try:
        kind = getattr(getattr(eps, "dtype", None), "kind", "f")  # of NumPy's booleans and complex numbers too
        if isinstance(eps, bool) or (kind not in "iuf" and not isinstance(eps, str)):
            raise TypeError
        value = float(Fraction(eps.strip()) if isinstance(eps, str) and "/" in eps else eps)  # type: ignore[arg-type]
        if isinstance(eps, str) and not math.isfinite(value):
            raise ValueError
    except Exception:  # whatever a foreign object raises
        fraction = "a fraction such as '8/255' or a decimal such as '0.1'"
        expected = fraction if isinstance(eps, str) else "a number in (0, 1], pixels in [0, 1]"
        raise InvalidValueError("eps", eps, expected) from None
    if norm == "L2":
        if not 0 < value <= MOST:
            raise InvalidValueError("eps", eps, f"an L2 radius above 0 and up to {MOST:,}, pixels in [0, 1]")
        return value
    if not 0 < value <= 1:  # NaN fails too
        hint = f"{value:g}/255" if math.isfinite(value) and 1 < value <= 255 else None
        raise InvalidValueError("eps", eps, "a number in (0, 1], pixels in [0, 1]", hint)
    return value


def parse_eps(text: str, norm: str = "Linf") -> float:
    """Read ``"8/255"`` or ``"0.1"``."""
    return checked_eps(text, norm)


def format_eps(eps: float) -> str:
    """Write an eps so that `parse_eps` returns it: a short decimal, else k/255, else all digits."""
    decimal = repr(float(eps))
    levels = round(eps * 255)
    if len(decimal) > 6 and math.isclose(levels / 255, eps, rel_tol=1e-9):
        return f"{levels}/255"
    return decimal


def same_eps(one: float | None, other: float | None) -> bool:
    """Return whether two budgets are equal up to the rounding of a typed decimal (8/255 and 0.031373)."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-4)


def parse_long_name(name: object, known: Iterable[str] = ()) -> tuple[str, float | None, str]:
    """Split a metric name into short name, budget and norm: ``"pgd_acc@L2:0.5"`` gives ``("pgd_acc", 0.5, "L2")``.

    Raises
    ------
    UnknownNameError
        If no metric has that name; the nearest is suggested, of those that are `known` where some are.
    """
    if isinstance(name, str):
        short, at, budget = name.partition("@")
        norm, colon, eps = budget.partition(":")
        if not colon or norm != "L2":  # L-infinity is not marked
            norm, eps = "Linf", budget
        if short in metric_names() and not (at and short in UNATTACKED):
            return short, parse_eps(eps, norm) if at else None, norm
    names = tuple(dict.fromkeys(known)) or metric_names()
    suggestion = _FOREIGN_NAMES.get(name.lower(), "") if isinstance(name, str) else ""
    raise UnknownNameError("metric", name, names, suggestion if suggestion.partition("@")[0] in names else None)
