"""Targeted fast adaptive boundary attack, FAB-T, L-infinity or L2.

Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020. FAB looks
for the nearest misclassified point, whatever its distance: it projects onto the linearised boundary between label and
target, both from where it stands and from the image, and walks between the two. It draws nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .balls import BALLS
from .dispatch import checked
from .passes import Attempt, attempt_in_turn, is_right, logits_of, margin, ranked_targets, value_and_gradient

if TYPE_CHECKING:
    from ..metrics import Attack

STEPS = 100
TARGETS = 9
MOST_BIAS = 0.1  # alpha_max: how much the walk is drawn towards the image's own projection
OVERSHOOT = 1.05  # eta: how far it goes beyond the linearised boundary
RETREAT = 0.9  # beta: where it continues, between the image and a misclassified point just found
SEARCH_STEPS = 3
LONGEST = 1e12  # way of a pixel that does not stop


@checked
def fab_t(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: Attack,
    generator: torch.Generator | None = None,  # noqa: ARG001 (nothing is drawn)
    batch_size: int = 1000,
    *,
    minimal: bool = False,
) -> torch.Tensor:
    """Look for a misclassified point within eps by FAB, towards the most likely wrong classes in turn.

    Parameters
    ----------
    network : Module
        In eval mode.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    attack : Attack
        Its `eps`, `norm`, `steps` (100 if None) and `targets` (9 if None) are used; a restart would repeat the same,
        since nothing is drawn.
    generator
        Not used.
    batch_size : int
        Images that pass through the network at a time.
    minimal : bool
        Look for the nearest misclassified point in [0, 1] instead: no image is finished before the last target, and
        the result may lie farther away than eps.

    Returns
    -------
    Tensor of the shape of `images`
        The misclassified point where one was found within eps (or at all, if `minimal`), else the image itself.
    """
    targets = ranked_targets(logits_of(network, images, batch_size), labels)[:, : attack.targets or TARGETS]
    enough = -1.0 if minimal else attack.eps
    nearest = images.clone()
    distance = images.new_full((len(images),), torch.inf)

    def towards(rank: int) -> Attempt:
        def attempt(chosen: torch.Tensor, known: torch.Tensor, left: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            nearer, far = _walk(network, chosen, known, targets[left, rank], attack, enough, batch_size)
            better = far < distance[left]
            nearest[left[better]], distance[left[better]] = nearer[better], far[better]
            return nearest[left], distance[left] <= enough

        return attempt

    attempt_in_turn(network, images, labels, [towards(rank) for rank in range(targets.shape[1])], batch_size)
    within = torch.isfinite(distance) if minimal else distance <= attack.eps
    return torch.where(within[:, None, None, None], nearest, images)


def _walk(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    targets: torch.Tensor,
    attack: Attack,
    enough: float,
    batch_size: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run algorithm 1 of the paper; return the nearest misclassified points and their distances (inf: none).

    An image is left alone as soon as such a point is not farther away than `enough`.
    """
    length_of, norm = BALLS[attack.norm].length, attack.norm
    nearest, distance = images.clone(), images.new_full((len(images),), torch.inf)
    rows = torch.arange(len(images), device=images.device)
    image, point, aims = images, images, (labels, targets)
    for _ in range(attack.steps or STEPS):
        _, value, gradient = value_and_gradient(network, point, _gap, aims, batch_size)
        onto = nearest_on_hyperplane(point, gradient, value, norm)
        from_image = nearest_on_hyperplane(image, gradient, value + _dot(gradient, image - point), norm)
        length, length_from_image = (length_of(onto).clamp(min=1e-8), length_of(from_image).clamp(min=1e-8))
        bias = (length / (length + length_from_image)).clamp(max=MOST_BIAS)[:, None, None, None]
        point = (1 - bias) * (point + OVERSHOOT * onto) + bias * (image + OVERSHOOT * from_image)
        point = point.clamp(0, 1)

        fooled = ~is_right(logits_of(network, point, batch_size), aims[0])
        far = torch.where(fooled, length_of(point - image), torch.inf)
        better = far < distance[rows]
        nearest[rows[better]], distance[rows[better]] = point[better], far[better]
        point = torch.where(fooled[:, None, None, None], (1 - RETREAT) * image + RETREAT * point, point)

        stay = distance[rows] > enough
        if not stay.all():
            rows, image, point = rows[stay], image[stay], point[stay]
            aims = aims[0][stay], aims[1][stay]
            if not len(rows):
                return nearest, distance
    hit = rows[torch.isfinite(distance[rows])]
    if len(hit):
        nearest[hit] = _search_segment(network, images[hit], nearest[hit], labels[hit], batch_size)
        distance[hit] = length_of(nearest[hit] - images[hit])
    return nearest, distance


def _search_segment(
    network: torch.nn.Module, inside: torch.Tensor, outside: torch.Tensor, labels: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """Move misclassified points towards their images by three steps of false position on the margin (final search)."""
    margins = logits_of(network, torch.cat([inside, outside]), batch_size)
    at_inside, at_outside = margin(margins, labels.repeat(2)).chunk(2)
    for _ in range(SEARCH_STEPS):
        share = (at_outside / (at_outside - at_inside).clamp(max=-1e-12))[:, None, None, None]
        between = outside + share * (inside - outside)
        logits = logits_of(network, between, batch_size)
        fooled, value = ~is_right(logits, labels), margin(logits, labels)
        pixels = fooled[:, None, None, None]
        outside, inside = torch.where(pixels, between, outside), torch.where(pixels, inside, between)
        at_outside, at_inside = torch.where(fooled, value, at_outside), torch.where(fooled, at_inside, value)
    return outside


def nearest_on_hyperplane(
    points: torch.Tensor, normal: torch.Tensor, value: torch.Tensor, norm: str = "Linf"
) -> torch.Tensor:
    """Return the shortest way from points in [0, 1] to {x : value + normal . (x - point) = 0} in the box.

    All pixels move in the direction that brings `value` to 0, in L-infinity equally fast, in L2 as fast as they are
    steep, but stop at the box. With the pixels sorted by where they stop, the length solves a linear equation once it
    is known which pixels stop before it (section 2.3 of the paper and its appendix). Where the box does not reach the
    hyperplane, every pixel goes to its bound.

    Parameters
    ----------
    points, normal : Tensor, shape (n, channels, size, size)
    value : Tensor, shape (n,)
    norm : str
        In which the way is shortest: a key of `BALLS`.
    """
    slope = -normal * value.sign()[:, None, None, None]
    direction = BALLS[norm].step(slope, 1.0)
    room = torch.where(slope > 0, 1 - points, points).flatten(1)
    steep, speed = slope.abs().flatten(1), direction.abs().flatten(1)
    # At which length a pixel stops; those that do not move or hardly do stop anywhere.
    stop, order = torch.where(speed > 0, room / speed, 0).clamp(max=LONGEST).sort(dim=1)
    gain = (room * steep).gather(1, order)
    rate = (speed * steep).gather(1, order)
    stopped = gain.cumsum(dim=1)
    moving = rate.flip(1).cumsum(dim=1).flip(1) - rate
    # reached[k]: how much value changes when the length equals the k-th smallest stop.
    reached = stopped + stop * moving
    wanted = value.abs()[:, None]
    k = torch.searchsorted(reached, wanted)
    feasible = k < reached.shape[1]
    k = k.clamp(max=reached.shape[1] - 1)
    before = stopped.gather(1, k) - gain.gather(1, k)
    length = (wanted - before) / (moving + rate).gather(1, k).clamp(min=1e-30)
    length = torch.where(feasible, length, LONGEST**2)
    return direction.sign() * torch.minimum(length * speed, room).view_as(points)


def _gap(logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's logit minus the label's."""
    return (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def _dot(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one * other).flatten(1).sum(dim=1)
