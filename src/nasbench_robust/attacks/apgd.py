"""Auto-PGD (Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020), L-infinity or L2.

Projected ascent with momentum whose step is halved when the objective stops to grow: APGD-CE on the cross entropy,
untargeted, and APGD-T on the targeted difference-of-logits ratio, one target after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .balls import BALLS
from .dispatch import checked
from .passes import Attempt, attempt_in_turn, is_right, logits_of, ranked_targets, value_and_gradient

if TYPE_CHECKING:
    from ..metrics import Attack

STEPS = 100
TARGETS = 9
MOMENTUM = 0.75  # alpha: weight of the new direction against the last movement
GROWTH = 0.75  # rho: share of the steps between two checkpoints that must increase the objective


@checked
def apgd_ce(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    batch_size: int = 1000,
) -> torch.Tensor:
    """Maximise the cross entropy with Auto-PGD.

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `norm`, `steps` (100 if None), `restarts` (1 if None) and `checkpoints` are used.
    generator : torch.Generator
        Draws the starts, uniform in the ball and clipped to [0, 1], of the images that a restart is given.
    batch_size : int
        Images that pass through the network at a time.

    Returns
    -------
    Tensor of the shape of `images`
        Within eps of them, in every pixel or in the L2 norm: misclassified where the attack succeeded, else the point
        of the highest objective of the last restart.
    """

    def attempt(chosen: torch.Tensor, known: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss = partial(F.cross_entropy, reduction="none")
        return _ascend(network, chosen, known, loss, (known,), attack, generator, batch_size)

    return attempt_in_turn(network, images, labels, [attempt] * (attack.restarts or 1), batch_size)


@checked
def apgd_t(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator,
    batch_size: int = 1000,
) -> torch.Tensor:
    """Maximise the targeted difference-of-logits ratio with Auto-PGD, for the most likely wrong classes in turn.

    Parameters and result are those of `apgd_ce`; `targets` of the attack says how many, 9 if None, or all there are.
    """
    targets = ranked_targets(logits_of(network, images, batch_size), labels)[:, : attack.targets or TARGETS]

    def towards(rank: int) -> Attempt:
        def attempt(chosen: torch.Tensor, known: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            aims = known, targets[left, rank]
            return _ascend(network, chosen, known, targeted_dlr, aims, attack, generator, batch_size)

        return attempt

    attempts = [towards(rank) for _ in range(attack.restarts or 1) for rank in range(targets.shape[1])]
    return attempt_in_turn(network, images, labels, attempts, batch_size)


def targeted_dlr(logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return (z_t - z_y) / (z_1st - (z_3rd + z_4th) / 2), section 4 of the paper; without the 4th, of three classes.

    Two classes have no scale of that kind, and need none: the plain difference is returned.
    """
    gap = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    classes = logits.shape[1]
    if classes == 2:
        return gap
    ordered = logits.sort(dim=1).values
    scale: torch.Tensor = ordered[:, -1] - ordered[:, max(0, classes - 4) : classes - 2].mean(dim=1)
    return gap / (scale + 1e-12)


def checkpoints(steps: int, rule: str | None = None) -> list[int]:
    """Return the steps after which Auto-PGD considers to halve its step size.

    By section 3.2 of the paper; or by the rule ``"programs"``, which counts the periods between them in whole steps, as
    the authors' programs and torchattacks do. With 100 steps both are the same, with 10 they are not.
    """
    if rule == "programs":
        period, shorter, least = (max(int(share * steps), 1) for share in (0.22, 0.03, 0.06))
        found = [period]
        while found[-1] + (period := max(period - shorter, least)) <= steps:
            found.append(found[-1] + period)
        return found
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return sorted({math.ceil(round(share * steps, 9)) for share in shares[1:] if share <= 1})


@dataclass
class _State:
    """Auto-PGD under way: one row per image that is not misclassified yet."""

    image: torch.Tensor
    labels: torch.Tensor
    point: torch.Tensor
    previous: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor
    best_point: torch.Tensor
    best_value: torch.Tensor
    best_gradient: torch.Tensor
    step: torch.Tensor
    growths: torch.Tensor  # steps since the last checkpoint that increased the objective
    halved: torch.Tensor  # whether the last checkpoint halved the step
    best_before: torch.Tensor  # the best value at the last checkpoint

    def only(self, rows: torch.Tensor) -> _State:
        """Return the state of some of the images."""
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def _ascend(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    objective: Callable[..., torch.Tensor],
    aims: tuple[torch.Tensor, ...],
    attack: Attack,
    generator: torch.Generator,
    batch_size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run algorithm 1 of the paper once; return the images found and which of them are misclassified.

    An image leaves as soon as it is misclassified: nothing that would follow changes that.
    """
    adversarial, wrong = images.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
    rows = torch.arange(len(images), device=images.device)
    steps = attack.steps or STEPS
    halvings = checkpoints(steps, attack.checkpoints)
    state = _start(images, labels, attack, generator)
    for k in range(steps + 1):
        if k > 0:
            state = _move(state, attack, first=k == 1)
        logits, value, gradient = value_and_gradient(network, state.point, objective, aims, batch_size)
        fooled = ~is_right(logits, state.labels)
        if fooled.any():
            adversarial[rows[fooled]], wrong[rows[fooled]] = state.point[fooled], True
            stay = ~fooled
            state, rows, value, gradient = state.only(stay), rows[stay], value[stay], gradient[stay]
            aims = tuple(aim[stay] for aim in aims)
            if not len(rows):
                return adversarial, wrong
        state.growths += value > state.value
        state.value, state.gradient = value, gradient
        _remember_best(state)
        if k in halvings:
            last = halvings[halvings.index(k) - 1] if k != halvings[0] else 0
            _halve_where_it_stalls(state, k - last)
    adversarial[rows] = state.best_point
    return adversarial, wrong


def _start(images: torch.Tensor, labels: torch.Tensor, attack: Attack, generator: torch.Generator) -> _State:
    point = BALLS[attack.norm](images, attack.eps).start(generator)
    least = images.new_full((len(images),), -torch.inf)
    return _State(
        image=images,
        labels=labels,
        point=point,
        previous=point,
        value=images.new_full((len(images),), torch.inf),  # the start is no growth
        gradient=torch.zeros_like(images),
        best_point=point.clone(),
        best_value=least.clone(),
        best_gradient=torch.zeros_like(images),
        step=images.new_full((len(images), 1, 1, 1), 2 * attack.eps),
        growths=torch.zeros_like(labels),
        halved=torch.ones_like(labels, dtype=torch.bool),  # the first checkpoint has none before it to compare with
        best_before=least,
    )


def _move(state: _State, attack: Attack, *, first: bool) -> _State:
    """Return the state at the next point: a projected step, then momentum, then projection again."""
    ball = BALLS[attack.norm](state.image, attack.eps)
    point, previous = state.point, state.previous
    moved = ball.project(point + ball.step(state.gradient, state.step))
    if not first:
        moved = ball.project(point + MOMENTUM * (moved - point) + (1 - MOMENTUM) * (point - previous))
    return replace(state, point=moved, previous=point)


def _remember_best(state: _State) -> None:
    better = state.value > state.best_value
    state.best_value = torch.where(better, state.value, state.best_value)
    pixels = better[:, None, None, None]
    state.best_point = torch.where(pixels, state.point, state.best_point)
    state.best_gradient = torch.where(pixels, state.gradient, state.best_gradient)


def _halve_where_it_stalls(state: _State, steps: int) -> None:
    """Halve the step and go back to the best point where conditions 1 or 2 of section 3.2 hold."""
    seldom = state.growths < GROWTH * steps
    stuck = ~state.halved & (state.best_value <= state.best_before)
    state.halved = seldom | stuck
    pixels = state.halved[:, None, None, None]
    state.step = torch.where(pixels, state.step / 2, state.step)
    state.point = torch.where(pixels, state.best_point, state.point)
    state.gradient = torch.where(pixels, state.best_gradient, state.gradient)
    state.value = torch.where(state.halved, state.best_value, state.value)
    state.growths = torch.zeros_like(state.growths)
    state.best_before = state.best_value
