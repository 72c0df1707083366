"""The warning that an accuracy under attack may be too high, and what accuracies alone show of that. No torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from ..metrics import Metric

SHARE = 0.002  # of images, by which an attack without gradients has to win: the number of AutoAttack's authors
BLACK_BOX = ("square", "autoattack")


class AttackWarning(UserWarning):
    """The accuracy under an attack may be too high: the attack does not see what the network does."""


def warn(message: str) -> None:
    """Give the warning."""
    warnings.warn(message, AttackWarning, stacklevel=3)


def warn_of_accuracies(accuracies: Mapping[Metric, float]) -> None:
    """Warn where FGSM or PGD changes nothing and an attack without gradients does, in a ball that is no larger."""
    for metric, accuracy in accuracies.items():
        attack, clean = metric.attack, accuracies.get(Metric("clean_acc", split=metric.split))
        if attack is None or attack.name in BLACK_BOX or clean is None or accuracy < clean:
            continue
        for other, less in accuracies.items():
            rival = other.attack
            if rival is None or rival.name not in BLACK_BOX or rival.eps > attack.eps:
                continue
            if (rival.norm, other.split) == (attack.norm, metric.split) and less < clean - SHARE:
                warn(f"{metric.column} equals clean accuracy and {other.column} does not: gradients seem to be masked")
