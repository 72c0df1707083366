"""Auto-PGD, step by step, against a plain reading of the paper's algorithm 1 for one image."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import as_trained, network_of, seeded

from nasbench_robust.attacks import apgd, apgd_ce, apgd_t
from nasbench_robust.cells import Cell
from nasbench_robust.metrics import Attack

STEPS = 40
EPS = (0.01, 0.03, 0.06)


def cross_entropy(logits: torch.Tensor, label: int, _target: int) -> torch.Tensor:
    return F.cross_entropy(logits[None], torch.tensor([label]))


def ratio(logits: torch.Tensor, label: int, target: int) -> torch.Tensor:
    """Return the targeted difference-of-logits ratio."""
    first, _, third, fourth, *_ = logits.sort(descending=True).values
    return (logits[target] - logits[label]) / (first - (third + fourth) / 2)


def checkpoints(steps: int) -> list[int]:
    shares = [0.0, 0.22]
    while shares[-1] <= 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return [math.ceil(round(share * steps, 9)) for share in shares if share <= 1]


def auto_pgd(network, objective, image, label, target, attack, noise) -> tuple[torch.Tensor, bool, set[str]]:
    """Return the point found, whether it is misclassified, and for which reasons steps were halved."""
    eps, in_l2 = attack.eps, attack.norm == "L2"

    def project(point: torch.Tensor) -> torch.Tensor:
        if in_l2:
            distance = float((point - image).norm())
            return (point if distance <= eps else image + (point - image) * eps / distance).clamp(0, 1)
        return torch.minimum(torch.maximum(point, image - eps), image + eps).clamp(0, 1)

    def ask(point: torch.Tensor) -> tuple[float, torch.Tensor, bool]:
        pixels = point.clone().requires_grad_()
        logits = network(pixels[None])[0]
        value = objective(logits, label, target)
        (gradient,) = torch.autograd.grad(value, pixels)
        return value.item(), gradient, int(logits.argmax()) != label

    places, reasons = checkpoints(STEPS), set()
    step = 2 * eps
    before = here = project(image + noise)
    value, gradient, fooled = ask(here)
    best, best_point, best_gradient = value, here, gradient
    growths, step_at, best_at = 0, None, -math.inf  # since, and at, the last checkpoint
    for k in range(1, STEPS + 1):
        if fooled:
            return here, True, reasons
        moved = project(here + step * (gradient / gradient.norm() if in_l2 else gradient.sign()))
        if k > 1:
            moved = project(here + 0.75 * (moved - here) + 0.25 * (here - before))
        before, here = here, moved
        old = value
        value, gradient, fooled = ask(here)
        growths += value > old
        if value > best:
            best, best_point, best_gradient = value, here, gradient
        if k in places and not fooled:
            length = k - places[places.index(k) - 1]
            seldom, stuck = growths < 0.75 * length, step_at == step and best_at == best
            step_at, best_at, growths = step, best, 0
            if seldom or stuck:
                reasons.add("seldom" if seldom else "stuck")
                step /= 2
                here, value, gradient = best_point, best, best_gradient
    return (here, True, reasons) if fooled else (best_point, False, reasons)


def noise_of(norm: str, eps: float, generator: torch.Generator) -> torch.Tensor:
    """Return the noise of a start; in L2 the direction is drawn first, then the radius."""
    if norm == "Linf":
        return torch.empty(1, 1, 8, 8).uniform_(-eps, eps, generator=generator)[0].double()
    direction = torch.empty(1, 8, 8).normal_(generator=generator).double()
    radius = float(torch.empty(1).uniform_(generator=generator)) ** (1 / 64)
    return eps * radius * direction / direction.norm()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("part", ["apgd_ce", "apgd_t"])
def test_every_step_is_that_of_the_paper(part: str, norm: str) -> None:
    attack, objective = (apgd_ce, cross_entropy) if part == "apgd_ce" else (apgd_t, ratio)
    network = as_trained(network_of(Cell.from_index(9930))).eval()
    images = torch.rand(24, 1, 8, 8, generator=seeded(2), dtype=torch.float64)
    with torch.no_grad():
        order = network(images).argsort(dim=1, descending=True)
    halved, kept = set(), 0
    for number, image in enumerate(images):
        label, target = int(order[number, 0]), int(order[number, 1])
        eps = EPS[number % len(EPS)] * (5 if norm == "L2" else 1)
        settings = Attack(part, eps, norm, steps=STEPS, **({"targets": 1} if part == "apgd_t" else {}))
        found = attack(network, image[None], torch.tensor([label]), settings, seeded(number))[0]
        noise = noise_of(norm, eps, seeded(number))
        expected, fooled, reasons = auto_pgd(network, objective, image, label, target, settings, noise)
        # Starts in L2 are drawn in single precision.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 if norm == "Linf" else 1e-5)
        halved |= reasons
        kept += not fooled
    assert "seldom" in halved
    assert kept >= 6


def test_a_step_is_halved_where_it_stalls() -> None:
    """By rows: grows often and to a new best; seldom; often and to no new best, after no halving and after one."""
    images = torch.zeros(4, 1, 1, 1, dtype=torch.float64)
    state = apgd._start(images, torch.zeros(4, dtype=torch.int64), Attack("apgd_ce", 0.1), seeded())
    state.point, state.gradient = images + 0.1, images + 1
    state.best_point, state.best_gradient = images + 0.2, images + 2
    state.value = torch.tensor([4.0, 3.0, 3.0, 3.0], dtype=torch.float64)
    state.best_value = torch.tensor([4.0, 5.0, 5.0, 5.0], dtype=torch.float64)
    state.best_before = torch.tensor([3.0, 4.0, 5.0, 5.0], dtype=torch.float64)
    state.halved = torch.tensor([False, False, False, True])
    state.growths = torch.tensor([3, 2, 3, 3])
    apgd._halve_where_it_stalls(state, 4)
    halved = [False, True, True, False]
    assert state.halved.tolist() == halved
    assert state.step.flatten().tolist() == [0.1 if each else 0.2 for each in halved]
    assert state.point.flatten().tolist() == [0.2 if each else 0.1 for each in halved]
    assert state.gradient.flatten().tolist() == [2 if each else 1 for each in halved]
    assert state.value.tolist() == [4.0, 5.0, 5.0, 3.0]
    assert state.growths.tolist() == [0] * 4
    assert state.best_before.tolist() == [4.0, 5.0, 5.0, 5.0]
