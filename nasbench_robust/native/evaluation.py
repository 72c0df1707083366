"""Measuring a network in the native engine: which images it classifies correctly, as they are and under attack."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..errors import UnknownNameError
from ..image_arrays import ImageArrays, to_unit
from ..metrics import PARTS, Attack, Metric
from .draws import Draws
from .engine import NativeNetwork

__all__ = ["evaluate", "runs_attack"]

Correct = npt.NDArray[np.bool_]
ATTACKS = ("fgsm Linf", "pgd Linf", "autoattack Linf")
STEPS, QUERIES = 100, 5000  # of an AutoAttack that does not say


def runs_attack(attack: Attack) -> bool:
    """Return whether the engine has the attack."""
    return f"{attack.name} {attack.norm}" in ATTACKS


def evaluate(
    network: NativeNetwork,
    images: ImageArrays,
    metric: Metric,
    draws: Draws,
    *,
    on_part: Callable[[Metric, str, Correct], None] | None = None,
) -> Correct:
    """Return which images of the metric's split are classified correctly; see `nasbench_robust.evaluation.evaluate`.

    Parameters
    ----------
    network : NativeNetwork
        Folded.
    images : ImageArrays
    metric : Metric
        Clean accuracy, or accuracy under an attack that the engine has.
    draws : Draws
        For random starts.
    on_part : callable, optional
        Called after every part of an AutoAttack with the metric, the part's name and the survivors until then.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    pixels, labels = images.held_out(metric.split)
    seen, attack = to_unit(pixels), metric.attack
    if attack is None:
        return _is_right(network, seen, labels)
    if not runs_attack(attack):
        raise UnknownNameError("attack of the native engine", f"{attack.name} {attack.norm}", ATTACKS)
    if attack.name == "autoattack":
        survivors, _ = network.autoattack(
            seen,
            labels,
            eps=attack.eps,
            steps=attack.steps or STEPS,
            queries=attack.queries or QUERIES,
            restarts=attack.restarts or 1,
            seed=draws.seed(),
        )
        for part, alive in zip(PARTS, survivors[1:], strict=True):
            if on_part is not None:
                on_part(metric, part, alive)
        found: Correct = survivors[-1]
        return found
    noise = draws.uniform(-attack.eps, attack.eps, seen.shape) if attack.random_start else None
    step_size, steps = (attack.eps, 1) if attack.name == "fgsm" else (attack.step_size or 0.0, attack.steps or 0)
    adversarial = network.pgd(seen, labels, noise, eps=attack.eps, step_size=step_size, steps=steps)
    return _is_right(network, adversarial, labels)


def _is_right(network: NativeNetwork, images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> Correct:
    right: Correct = np.equal(network.logits(images).argmax(axis=1), labels)
    return right
