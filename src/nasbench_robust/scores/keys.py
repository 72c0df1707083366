"""Which scores settings ask for, each by the kernel, the attack and the name that identify it. No torch."""

from __future__ import annotations

from typing import NamedTuple

from ..ntk import SCORES
from ..proxies import find_proxy
from .settings import ScoreSettings

KERNELS = ("robust", "cross", "robust_twice", "cross_twice", "combined", "combined_robust")  # of an attack
COMBINED = ("combined", "combined_robust")
OF_ATTACKED = ("standard_attacked", "adversarial_clean", "adversarial_attacked")  # accuracies that need an attack


class ScoreKey(NamedTuple):
    """What identifies a score within one set of settings: columns of a table, fields of a `Scored`."""

    kernel: str | None
    attack: str | None
    score: str


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel, as for `ntk.score_kernel`."""
    return "cross" if kernel.startswith("cross") else "symmetric"


def score_keys(settings: ScoreSettings) -> list[ScoreKey]:
    """Return the keys of all scores that settings ask for, in the order of the rows of `score_cell`."""
    labels = [attack.label for attack in settings.attacks]
    keys = [key for attack in (None, *labels) for key in kernel_keys(attack)] if settings.kernels else []
    for name in settings.proxies:
        keys.append(ScoreKey(None, None, name))
        if labels and find_proxy(name).adversarial:
            keys.append(ScoreKey(None, labels[-1], name))
    return keys


def kernel_keys(attack: str | None) -> list[ScoreKey]:
    """Return the keys of what the clean kernel says, or the kernels of an attack, regression included."""
    kernels = ("clean",) if attack is None else KERNELS
    keys = [(kernel, score.name) for kernel in kernels for score in SCORES if kind_of(kernel) in score.kinds]
    if attack is not None:
        keys += [(kernel, "weyl_bound") for kernel in COMBINED]
    keys += [("regression", name) for name in (["standard_clean"] if attack is None else OF_ATTACKED)]
    return [ScoreKey(kernel, attack, name) for kernel, name in keys]
