"""AutoAttack in L2: closed forms, constraints, and the authors' programs image by image where draws allow it."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from helpers import seeded
from other_attacks import Batch, Linear, assert_same_up_to_chance, authors_part, right_ones, wrong

import nasbench_robust as nbr
from nasbench_robust import metrics
from nasbench_robust.attacks import autoattack, bumps, fab_t, perturb, square
from nasbench_robust.attacks.balls import BALLS
from nasbench_robust.attacks.fab import nearest_on_hyperplane
from nasbench_robust.cells import Cell
from nasbench_robust.images import TensorImages
from nasbench_robust.metrics import PARTS, Attack, Metric
from nasbench_robust.runs import run_cell, write_run
from nasbench_robust.settings import settings_for

EPS = 0.5
QUICK = Attack("autoattack", EPS, "L2", steps=10, queries=200)
FAB = importlib.import_module("nasbench_robust.attacks.fab")  # the module; the package also has functions
NAMES = dict(zip(PARTS, ("apgd-ce", "apgd-t", "fab-t", "square"), strict=True))


@pytest.fixture(scope="session")
def three() -> list[torch.nn.Module]:
    """The best cell, one of the middle and a poor one, as the package has them."""
    return [nbr.network(index, trained=True) for index in (9930, 12306, 7433)]


@pytest.fixture(scope="session")
def network(three: list[torch.nn.Module]) -> torch.nn.Module:
    return three[0]


# ---------------------------------------------------------------------- closed forms


@pytest.mark.parametrize(("part", "classes"), [("apgd_ce", 2), ("apgd_t", 6), ("fab_t", 2), ("fab_t", 6)])
def test_attacks_find_the_radius_of_a_linear_network(part: str, classes: int) -> None:
    network = Linear(classes)
    images, labels, radius = network.case(norm="L2")
    eps = float(radius.median())
    attack = replace(Attack("autoattack", eps, "L2", steps=50), name=part)
    sure = (radius / eps - 1).abs() > 0.003
    assert sure.sum() >= 38
    found = perturb(network, images, labels, attack, seeded())
    assert torch.equal(wrong(network, found, labels)[sure], (radius < eps)[sure])


@pytest.mark.parametrize("classes", [2, 6])
def test_fab_finds_the_nearest_misclassified_point(classes: int) -> None:
    network = Linear(classes)
    images, labels, radius = network.case(norm="L2")
    found = fab_t(network, images, labels, Attack("fab_t", EPS, "L2", steps=30), minimal=True)
    assert wrong(network, found, labels).all()
    distance = (found - images).flatten(1).norm(dim=1)
    assert (distance >= radius * (1 - 1e-9)).all()
    torch.testing.assert_close(distance, radius, rtol=0.01, atol=0)


def test_hyperplane_is_reached_by_the_shortest_way_inside_the_box() -> None:
    """The way solves the dual problem, found by bisection: all pixels follow the normal until the box stops them."""
    points = torch.rand(50, 1, 3, 3, generator=seeded(1), dtype=torch.float64)
    normal = torch.randn(50, 1, 3, 3, generator=seeded(2), dtype=torch.float64)
    normal[:9] = normal[:9].where(torch.rand(9, 1, 3, 3, generator=seeded(4)) > 0.3, 0)  # pixels without a say
    value = 2 * torch.randn(50, generator=seeded(3), dtype=torch.float64)
    way = nearest_on_hyperplane(points, normal, value, "L2")

    def step(length: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        moved = (points - (length * value.sign())[:, None, None, None] * normal).clamp(0, 1) - points
        return moved, value + (normal * moved).flatten(1).sum(dim=1)

    low, high = torch.zeros(50, dtype=torch.float64), torch.full((50,), 1e6, dtype=torch.float64)
    for _ in range(100):
        middle = (low + high) / 2
        short = step(middle)[1].sign() == value.sign()
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    expected, rest = step(high)
    torch.testing.assert_close(way, expected, rtol=0, atol=1e-9)
    assert 10 < (rest.abs() < 1e-9).sum() < 50


def test_square_never_breaks_a_robust_image_and_gains_with_the_radius() -> None:
    network = Linear(6)
    images, labels, radius = network.case(norm="L2")
    shares = []
    for factor in (0.5, 1.0, 2.0, 4.0):
        eps = factor * float(radius.median())
        found = square(network, images, labels, Attack("square", eps, "L2", queries=500), seeded())
        broken = wrong(network, found, labels)
        assert not (broken & (radius > eps)).any()
        shares.append(broken.double().mean().item())
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


# ---------------------------------------------------------------------- constraints


@pytest.mark.parametrize("eps", [EPS, 1.5])
@pytest.mark.parametrize("part", PARTS)
def test_result_stays_in_the_ball_and_in_the_pixel_range(
    part: str, eps: float, network: torch.nn.Module, batch: Batch
) -> None:
    found = perturb(network, *batch, replace(QUICK, eps=eps).part(part), seeded())
    assert (found - batch[0]).flatten(1).norm(dim=1).max() <= eps * (1 + 1e-6)
    assert found.min() >= 0
    assert found.max() <= 1
    assert wrong(network, found, batch[1]).sum() > wrong(network, *batch).sum()


@pytest.mark.parametrize(("channels", "size"), [(3, 4), (3, 9), (1, 19)])
def test_square_takes_images_of_any_size(channels: int, size: int) -> None:
    """With free steps on a flat margin every candidate is kept, and each has the length of eps."""
    images = torch.full((5, channels, size, size), 0.5, dtype=torch.float64)
    seen: list[torch.Tensor] = []

    class Falling(torch.nn.Module):
        """Gives the label's logit a lead that shrinks with every question, but never is gone."""

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels.detach().clone())
            lead = torch.full((len(pixels),), 1 / len(seen), dtype=pixels.dtype) + 0 * pixels.flatten(1)[:, 0]
            return torch.stack([lead, torch.zeros_like(lead)], dim=1)

    labels = torch.zeros(5, dtype=torch.int64)
    found = square(Falling(), images, labels, Attack("square", 0.3, "L2", queries=60), seeded())
    torch.testing.assert_close(found, seen[-1])
    candidates = torch.stack(seen[1:]) - images
    torch.testing.assert_close(candidates.flatten(2).norm(dim=2), torch.full((60, 5), 0.3, dtype=torch.float64))
    moved = (candidates[1:] != candidates[:-1]).flatten(2).any(dim=2)
    assert moved.double().mean() > 0.9  # a window that is filled with what it had stays as it is


def test_result_does_not_depend_on_the_batch_size(network: torch.nn.Module, batch: Batch) -> None:
    attack = replace(QUICK, queries=60, targets=2)
    one, small = (autoattack(network, *batch, attack, seeded(), batch_size=size) for size in (1000, 7))
    for name, alive in one.survivors.items():
        assert torch.equal(alive, small.survivors[name])
    assert torch.equal(~wrong(network, one.adversarial, batch[1]), one.robust)


# ---------------------------------------------------------------------- the authors' programs


def start_of_the_authors(ball: Any, _generator: torch.Generator) -> torch.Tensor:
    """Return the start that the authors' APGD draws with seed 0: a point of the sphere."""
    torch.manual_seed(0)
    noise = torch.randn(ball._images.shape)
    return (ball._images + ball.step(noise, ball._eps)).clamp(0, 1)


def test_apgd_from_equal_starts_breaks_the_images_that_the_authors_break(
    authors: ModuleType, three: list[torch.nn.Module], digits: TensorImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 100 steps both have the same checkpoints."""
    monkeypatch.setattr(BALLS["L2"], "start", start_of_the_authors)
    for network in three:
        images, labels = right_ones(network, digits, 60)
        expected = authors_part(authors, "apgd-ce", network, (images, labels), EPS, 100, "L2")
        found = perturb(network, images, labels, Attack("apgd_ce", EPS, "L2", steps=100), seeded())
        assert torch.equal(~wrong(network, found, labels), expected)
        assert 0 < expected.sum() < 60


def test_fab_breaks_the_images_that_the_authors_break(
    authors: ModuleType, three: list[torch.nn.Module], digits: TensorImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    attack = Attack("fab_t", EPS, "L2", steps=10)
    for network in three:
        images, labels = right_ones(network, digits, 40)
        expected = authors_part(authors, "fab-t", network, (images, labels), EPS, 10, "L2")
        searched = ~wrong(network, fab_t(network, images, labels, attack), labels)
        with monkeypatch.context() as patch:
            patch.setattr(FAB, "SEARCH_STEPS", 0)  # the authors' AutoAttack has no final search
            plain = ~wrong(network, fab_t(network, images, labels, attack), labels)
        assert torch.equal(plain, expected)
        assert (searched <= expected).all()
        assert (searched != expected).sum() <= 3


def reach_the_border(authors: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the authors' Square draw the last row and column too, as its paper does and this package."""
    kind = importlib.import_module(f"{authors.__name__}.square").SquareAttack
    draw = kind.random_int
    monkeypatch.setattr(kind, "random_int", lambda self, low, high: draw(self, low, high + 1))


@pytest.mark.parametrize("part", ["apgd_t", "square"])
def test_other_parts_are_as_strong_as_the_authors(
    part: str, authors: ModuleType, three: list[torch.nn.Module], digits: TensorImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach_the_border(authors, monkeypatch)
    for network in three:
        images, labels = right_ones(network, digits, 100)
        expected = authors_part(authors, NAMES[part], network, (images, labels), EPS, 10, "L2", queries=200)
        found = perturb(network, images, labels, replace(QUICK, checkpoints="programs").part(part), seeded())
        # A short random search that breaks half of the images is left to chance in more of them.
        assert_same_up_to_chance(~wrong(network, found, labels), expected, share=1 / 10 if part == "square" else 1 / 20)


def test_bumps_are_those_of_the_authors(authors: ModuleType) -> None:
    theirs = importlib.import_module(f"{authors.__name__}.square").SquareAttack(torch.nn.Identity(), norm="L2", eps=EPS)
    theirs.device = "cpu"
    for side in (1, 2, 3, 5, 6, 7, 27):
        torch.manual_seed(side)
        expected = theirs.eta(side)
        assert min(float((bump - expected).abs().max()) for bump in bumps._bumps(side)) < 1e-6


def test_autoattack_ends_where_the_authors_does_after_every_part(
    authors: ModuleType, three: list[torch.nn.Module], digits: TensorImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    reach_the_border(authors, monkeypatch)
    for network in three:
        images, labels = right_ones(network, digits, 30)
        result = autoattack(network, images, labels, replace(QUICK, checkpoints="programs", queries=100), seeded())
        alive = torch.ones(len(labels), dtype=torch.bool)
        for part, name in NAMES.items():
            left = alive.nonzero()[:, 0]
            batch = images[left], labels[left]
            alive[left] = authors_part(authors, name, network, batch, EPS, 10, "L2", queries=100)
            assert_same_up_to_chance(result.survivors[part], alive)


# ---------------------------------------------------------------------- evaluation, rows


def test_autoattack_in_l2_is_evaluated_stored_and_queried(digits: TensorImages, tmp_path: Any) -> None:
    attack = metrics.autoattack(EPS, steps=1, norm="L2")
    assert attack == Attack("autoattack", EPS, "L2", steps=1, restarts=1, queries=5000)
    attack = replace(attack, queries=10, targets=2)
    settings = replace(settings_for("digits"), epochs=1, evaluation=(attack, metrics.fgsm(EPS)))
    done = run_cell(Cell.from_index(9930), settings, replace(digits, train=digits.train[:256]), seed=0)
    write_run(done, settings, tmp_path)
    bench, name = nbr.load(tmp_path), "autoattack_acc@L2:0.5"
    assert bench.query(9930, "digits", name) == done.row[name] == done.row["autoattack_correct@L2:0.5"] / 517
    assert [part for part in done.parts if part.startswith(name)] == [f"{name}>{part}" for part in PARTS]
    assert np.array_equal(done.parts[f"{name}>square"], done.outcomes[Metric.of(attack)])
    assert not [finding for finding in nbr.validate(tmp_path) if finding.severity == "error"]
