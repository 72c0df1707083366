"""Measuring a network in the native engine: which images it classifies correctly, as they are and under attack."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...arrays import Booleans, Integers, Singles
from ...errors import UnknownNameError
from ...images import ArrayImages, to_unit
from ...metrics import Attack, Metric
from ...native import NativeNetwork
from ..draws import Draws

ATTACKS = ("fgsm Linf", "pgd Linf", "autoattack Linf")
STEPS, QUERIES = 100, 5000  # of an AutoAttack that does not say
LANES = 16  # of the widest registers; images beyond a multiple of it cost as much as one
PIXELS = 2**19  # of images that are measured between two moments at which a run can be interrupted


def runs_attack(attack: Attack) -> bool:
    """Return whether the engine has the attack; it has AutoAttack with 9 targets and the checkpoints of the paper."""
    has_targets = attack.targets in (None, 9) and attack.checkpoints in (None, "paper")
    return f"{attack.name} {attack.norm}" in ATTACKS and has_targets


def evaluate(network: NativeNetwork, images: ArrayImages, metric: Metric, draws: Draws) -> Booleans:
    """Return which images of the metric's split are classified correctly; see `nasbench_robust.engines.torch`.

    Parameters
    ----------
    network : NativeNetwork
        Folded.
    images : ArrayImages
    metric : Metric
        Clean accuracy, or accuracy under an attack that the engine has.
    draws : Draws
        For random starts.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    found: Booleans = np.concatenate(list(measure(network, images, metric, draws)), axis=1)[-1]
    return found


def measure(
    network: NativeNetwork, images: ArrayImages, metric: Metric, draws: Draws, done: int = 0
) -> Iterator[Booleans]:
    """Do the work of `evaluate` in parts, so that it can be interrupted and taken up again.

    Parameters
    ----------
    draws : Draws
        New, also for the images after the first `done`.
    done : int
        How many images were measured before.

    Yields
    ------
    ndarray of bool, shape (k, m)
        Of the next m images those that are classified correctly; of an AutoAttack after each of its parts, else k = 1.
        The parts do not depend on how many images `m` is.
    """
    attack = metric.attack
    if attack is not None and not runs_attack(attack):
        raise UnknownNameError("attack of the native engine", f"{attack.name} {attack.norm}", ATTACKS)
    pixels, labels = images.held_out(metric.split)
    length = int(np.prod(pixels.shape[1:]))
    count = max(LANES, PIXELS // length // LANES * LANES)
    seed = draws.seed() if attack is not None and attack.name == "autoattack" else None
    if attack is not None and attack.random_start:
        draws.skip(done * length * (attack.restarts or 1))
    for first in range(done, len(labels), count):
        part = slice(first, first + count)
        seen, classes = to_unit(pixels[part]), labels[part]
        if attack is None:
            yield network.is_right(seen, classes)[None]
        elif seed is not None:
            yield _autoattacked(network, seen, classes, attack, seed, first)
        else:
            yield network.is_right(
                attacked(network, seen, classes, attack, noise_of(attack, seen.shape, draws)), classes
            )[None]


def noise_of(attack: Attack, shape: tuple[int, ...], draws: Draws) -> Singles | None:
    """Draw the starts of FGSM or PGD: those of all images for the first restart, then for the next."""
    if not attack.random_start:
        return None
    restarts = attack.restarts or 1
    return draws.uniform(-attack.eps, attack.eps, shape if restarts == 1 else (restarts, *shape))


def attacked(
    network: NativeNetwork, images: Singles, labels: Integers, attack: Attack, noise: Singles | None
) -> Singles:
    """Return what FGSM or PGD makes of images."""
    steps, step_size = attack.schedule
    return network.pgd(images, labels, noise, eps=attack.eps, step_size=step_size, steps=steps)


def _autoattacked(
    network: NativeNetwork, images: Singles, labels: Integers, attack: Attack, seed: int, first: int
) -> Booleans:
    """Return the survivors of AutoAttack after each of its parts, of images that are numbered from `first`."""
    survivors, _ = network.autoattack(
        images,
        labels,
        eps=attack.eps,
        steps=attack.steps or STEPS,
        queries=attack.queries or QUERIES,
        restarts=attack.restarts or 1,
        seed=seed,
        first=first,
    )
    return survivors[1:]
