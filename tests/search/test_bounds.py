"""First-order bounds against closed forms, and what holds for these and for the certified ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from helpers import network_of, seeded, shaken, supernet_of
from torch import nn

from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.networks import Subnetwork
from nasbench_robust.search.bounds import (
    certified_margins,
    image_box,
    interval_bounds,
    jacobian_norms,
    jacobian_robustness,
    linearised_radius,
    log_radius,
    running_statistics,
)
from nasbench_robust.search.bounds.boxes import propagate
from nasbench_robust.skeletons import Skeleton

TINY = Skeleton(channels=2, cells_per_stage=1, classes=3, input_channels=1, image_size=4)
EMPTY, CONVOLUTIONS = Cell(["none"] * 6), Cell(["nor_conv_3x3"] * 6)
CELL = Cell.from_index(9930)
EPS = 8 / 255


# ---------------------------------------------------------------------- Jacobians


@pytest.fixture
def linear() -> nn.Linear:
    layer = nn.Linear(12, 4).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=seeded(9))
    return layer


def test_a_linear_network_has_the_absolute_row_sums_and_no_sign_vector_beats_them(linear):
    images = torch.rand(3, 12, generator=seeded(), dtype=torch.float64)
    norms = jacobian_norms(linear, images)
    torch.testing.assert_close(norms, linear.weight.abs().sum(dim=1).expand(3, 4))
    moves = EPS * (2 * torch.randint(2, (5000, 12), generator=seeded(1)) - 1).double()
    change = (linear(images[0] + moves) - linear(images[0])).abs()
    assert (change <= EPS * norms[0] + 1e-12).all()
    assert (change > 0.9 * EPS * norms[0]).any()  # the bound is not vacuous
    best = linear(images[0] + EPS * linear.weight.sign()).diagonal() - linear(images[0])
    torch.testing.assert_close(best, EPS * norms[0])
    assert float(jacobian_robustness(linear, images, EPS).detach()) == pytest.approx(-EPS * float(norms.mean()))
    torch.testing.assert_close(jacobian_norms(linear, images, q=2)[0], linear.weight.norm(dim=1))
    torch.testing.assert_close(jacobian_norms(linear, images, q=torch.inf)[1], linear.weight.abs().amax(dim=1))


def test_rows_are_those_of_every_image_by_itself(three):
    network = shaken(network_of(CELL))
    norms = jacobian_norms(network, three[0])
    for row, image in enumerate(three[0]):
        jacobian = torch.autograd.functional.jacobian(network, image[None])[0, :, 0]
        torch.testing.assert_close(norms[row], jacobian.flatten(1).abs().sum(dim=1))


def test_drawn_logits_are_unbiased(linear):
    images, count = torch.zeros(12_000, 12, dtype=torch.float64), 12_000
    exact = jacobian_norms(linear, images[:1])[0]
    drawn = jacobian_norms(linear, images, draws=2, generator=seeded(3))
    assert drawn.shape == (count, 2)
    pairs = list(permutations(range(4), 2))
    seen = [int(torch.isclose(drawn, exact[list(pair)]).all(dim=1).sum()) for pair in pairs]
    assert sum(seen) == count  # two different logits, always
    assert sum((each - 1000) ** 2 / 1000 for each in seen) < 31.3  # chi-squared, 11 degrees of freedom, 0.1 %
    # Every ordered pair is equally likely: so the expectation is the mean over them, and that is the mean over all.
    assert np.mean([float(exact[list(pair)].mean()) for pair in pairs]) == pytest.approx(float(exact.mean()))
    everything = jacobian_norms(linear, images[:5], draws=4, generator=seeded())
    torch.testing.assert_close(everything.mean(dim=1), exact.mean().expand(5))


def test_the_linearised_radius_of_a_linear_network_is_where_its_decision_changes(linear):
    images = torch.rand(50, 12, generator=seeded(2), dtype=torch.float64)
    labels = linear(images).argmax(dim=1)
    radius = linearised_radius(linear, images, labels)
    assert (radius > 0).all()
    changed = torch.zeros(2, 50, dtype=torch.bool)
    for wrong in range(4):
        ways = (linear.weight[wrong] - linear.weight[labels]).sign()  # lower this margin fastest
        for row, factor in enumerate((1 - 1e-6, 1 + 1e-6)):
            moved = images + factor * radius[:, None] * ways
            changed[row] |= linear(moved).argmax(dim=1) != labels
    assert not changed[0].any()
    assert changed[1].all()
    others = (labels + 1) % 4
    assert (linearised_radius(linear, images, others) < 0).all()


def test_fewer_rivals_bound_the_linearised_radius_from_above(three):
    network = shaken(network_of(CELL))
    values = torch.stack([linearised_radius(network, *three, rivals=rivals) for rivals in range(1, 10)])
    assert (values.diff(dim=0) <= 0).all()
    assert torch.equal(values[-1], linearised_radius(network, *three))
    assert not values.requires_grad
    pixels = three[0].clone().requires_grad_()
    logits = network(pixels)
    rival = logits.scatter(1, three[1][:, None], -torch.inf).argmax(dim=1)
    gap = (logits.gather(1, three[1][:, None]) - logits.gather(1, rival[:, None]))[:, 0]
    (gradient,) = torch.autograd.grad(gap.sum(), pixels)
    torch.testing.assert_close(values[0], gap.detach() / gradient.abs().sum(dim=(1, 2, 3)))


# ---------------------------------------------------------------------- all bounds


def test_the_mixture_of_a_supernet_is_the_default(three):
    supernet = shaken(supernet_of())
    mixture = supernet.mixture()
    assert log_radius(supernet, three[0], EPS) == log_radius(supernet, three[0], EPS, mixture)
    norms = jacobian_norms(supernet, three[0])
    assert torch.equal(norms, jacobian_norms(lambda images: supernet(images, mixture), three[0]))


OBJECTIVES = {
    "log_radius": lambda net, mix, images, labels: log_radius(net, images, EPS, mix),
    "margins": lambda net, mix, images, labels: certified_margins(net, images, labels, EPS, mix).amin(dim=1).mean(),
    "linearised": lambda net, mix, images, labels: linearised_radius(
        lambda batch: net(batch, mix), images, labels, create_graph=True
    ).mean(),
    "jacobian": lambda net, mix, images, labels: jacobian_robustness(lambda batch: net(batch, mix), images, EPS),
    "jacobian_l2": lambda net, mix, images, labels: jacobian_robustness(
        lambda batch: net(batch, mix), images, EPS, q=2, draws=1, generator=seeded()
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_in_alpha_are_finite_differences(name):
    supernet = shaken(supernet_of(TINY, groups=(0, 0, 1)))
    images = torch.rand(2, 1, 4, 4, generator=seeded(7), dtype=torch.float64)
    labels = torch.tensor([0, 2])

    def objective(alpha: torch.Tensor) -> torch.Tensor:
        return OBJECTIVES[name](supernet, alpha.softmax(dim=-1), images, labels)

    alpha = supernet.alpha.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(alpha), alpha)
    step, largest = 1e-6, float(gradient.abs().max())
    assert largest > 1e-5
    for edge, code in [(0, 0), (0, 3), (1, 2), (2, 4), (3, 1), (4, 3), (5, 0), (5, 4)]:
        for group in (0, 1):
            move = torch.zeros_like(alpha)
            move[group, edge, code] = step
            change = objective(alpha.detach() + move) - objective(alpha.detach() - move)
            expected = float(change.detach()) / (2 * step)
            assert float(gradient[group, edge, code]) == pytest.approx(expected, rel=1e-4, abs=1e-5 * largest)


def test_a_network_without_a_path_does_not_move(three):
    supernet = shaken(supernet_of())
    for network in (shaken(network_of(EMPTY)), Subnetwork(supernet, [EMPTY])):
        for module in (network, network.requires_grad_(False)):
            assert (jacobian_norms(module, three[0]) == 0).all()
            assert torch.isinf(log_radius(module, three[0], EPS))
            assert (linearised_radius(module, *three).abs() > 1e100).all()


def test_batch_statistics_are_an_error_wherever_they_are_taken(three):
    supernet = shaken(supernet_of()).train()
    network = shaken(network_of(CONVOLUTIONS)).train()
    for forward in (network, supernet, lambda images: supernet(images, supernet.mixture())):
        with pytest.raises(InvalidValueError, match="eval mode"):
            jacobian_norms(forward, three[0])
    for module in (network, supernet):
        with pytest.raises(InvalidValueError, match="eval mode"):
            log_radius(module, three[0], EPS)
        module.classifier.eval()
        with running_statistics(module):
            log_radius(module, three[0], EPS)
            jacobian_norms(module, three[0])
        assert module.training
        assert module.stem[1].training
        assert not module.classifier.training


def test_bad_input_is_named(three, linear):
    images, labels = three
    supernet, network = shaken(supernet_of()), shaken(network_of(CONVOLUTIONS))
    rows = torch.rand(2, 12, dtype=torch.float64)
    reflecting = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect").double()
    cases = [
        ("eps is -0.1, expected .*; did you mean 0", lambda: certified_margins(network, images, labels, -0.1)),
        ("eps is 8, expected .*; did you mean 1", lambda: log_radius(network, images, 8)),
        ("the range of images is '0..255'", lambda: log_radius(network, 255 * images, EPS)),
        ("eps is 0.0, expected a positive", lambda: log_radius(network, images, 0.0)),
        ("lower is 'up to 0.5 above upper'", lambda: interval_bounds(network, images + 0.5, images)),
        ("mixture is .*only|mixture is .*Supernet", lambda: log_radius(network, images, EPS, supernet.mixture())),
        ("mixture is 'as low as -0", lambda: log_radius(supernet, images, EPS, supernet.mixture() - 0.5)),
        ("network is 'Linear', expected a Network", lambda: interval_bounds(linear, rows, rows)),
        ("last layer is linear", lambda: interval_bounds(nn.Sequential(nn.ReLU()), rows, rows)),
        ("padding with zeros", lambda: propagate(reflecting, image_box(images, EPS))),
        ("q is 0.5, expected a norm from 1", lambda: jacobian_norms(linear, rows, q=0.5)),
        ("draws is 5, expected .* 1 to 4", lambda: jacobian_norms(linear, rows, draws=5, generator=seeded())),
        ("draws is 0", lambda: jacobian_norms(linear, rows, draws=0, generator=seeded())),
        ("no generator is given", lambda: jacobian_norms(linear, rows, draws=1)),
        ("rivals is 4, expected .* 1 to 3", lambda: linearised_radius(linear, rows, labels[:2] % 4, rivals=4)),
    ]
    for message, call in cases:
        with pytest.raises(InvalidValueError, match=message):
            call()
