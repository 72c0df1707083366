"""Certified and first-order bounds: sound on sampled and on searched points, exact where there is a closed form."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import seeded, shaken, with_weights_of
from torch import nn

from nasbench_robust import metrics
from nasbench_robust.attacks import pgd
from nasbench_robust.attacks.passes import margin
from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import EDGES, OPERATIONS
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.images import TensorImages
from nasbench_robust.networks import Network, Normalisation, Subnetwork, Supernet
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
from nasbench_robust.search.bounds.boxes import Box, propagate
from nasbench_robust.skeletons import Skeleton

SMALL = Skeleton(channels=4, cells_per_stage=1, classes=10, input_channels=1, image_size=8)
TINY = Skeleton(channels=2, cells_per_stage=1, classes=3, input_channels=1, image_size=4)
RNG = np.random.default_rng(5)
CELLS = [Cell([name] * 6) for name in OPERATIONS] + [Cell.sample(RNG) for _ in range(30)]
EMPTY, CONVOLUTIONS = Cell(["none"] * 6), Cell(["nor_conv_3x3"] * 6)
EPS = 8 / 255
Data = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def digits(images: TensorImages) -> Data:
    return images.train.pixels, images.train.labels


@pytest.fixture(scope="module")
def three(digits: Data) -> Data:
    return digits[0][:3].double(), digits[1][:3]


def network_of(cell: Cell, skeleton: Skeleton = SMALL, seed: int = 0) -> Network:
    return Network(cell, skeleton, mean=[0.3], std=[0.4], generator=seeded(seed))


def supernet_of(skeleton: Skeleton = SMALL, groups: tuple[int, int, int] = (0, 0, 0), spread: float = 1.0) -> Supernet:
    supernet = Supernet(skeleton, mean=[0.3], std=[0.4], generator=seeded(1), groups=groups)
    with torch.no_grad():
        supernet.alpha.normal_(0, spread, generator=seeded(2))
    return supernet


def trained(network: nn.Module, digits: Data, steps: int = 4) -> nn.Module:
    """Train a little, so that weights and statistics are not those of the initialisation."""
    optimiser = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    for step in range(steps):
        rows = slice(64 * step, 64 * step + 64)
        loss = F.cross_entropy(network(digits[0][rows]), digits[1][rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.double().eval()


def points(network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, label: torch.Tensor, count: int):
    """Return points of the box around one image: uniform, corners, corners along every logit's gradient, PGD's."""
    box = image_box(image[None], EPS)
    shape = (count, *image.shape)
    uniform = box.lower + torch.rand(shape, generator=seeded(4), dtype=image.dtype) * (2 * box.radius)
    corners = torch.where(torch.rand(shape, generator=seeded(5)) < 0.5, box.lower, box.upper)
    attack = metrics.pgd(EPS, steps=5, step_size=EPS / 2)
    found = [uniform, corners, pgd(network, image[None], label[None], attack, seeded(6))]
    pixels = image[None].clone().requires_grad_()
    for logit in network(pixels)[0]:
        (gradient,) = torch.autograd.grad(logit, pixels, retain_graph=True, materialize_grads=True)
        found += [torch.where(gradient > 0, box.upper, box.lower), torch.where(gradient > 0, box.lower, box.upper)]
    return torch.cat(found)


def check_soundness(network: nn.Module, data: Data, mixture: torch.Tensor | None = None, count: int = 100) -> None:
    """Compare the bounds of every image with the logits at points of its box."""

    def forward(batch: torch.Tensor) -> torch.Tensor:
        return network(batch) if mixture is None else network(batch, mixture)

    images, labels = data
    with torch.no_grad():
        box = image_box(images, EPS)
        bounds = interval_bounds(network, box.lower, box.upper, mixture)
        margins = certified_margins(network, images, labels, EPS, mixture)
    for row in range(len(images)):
        tried = points(forward, images[row], labels[row], count)
        with torch.no_grad():
            logits = forward(tried)
        slack = 1e-9 * (1 + float(bounds.radius.max()))
        assert (logits >= bounds.lower[row] - slack).all()
        assert (logits <= bounds.upper[row] + slack).all()
        least = logits[:, labels[row], None] - logits
        least[:, labels[row]] = torch.inf
        assert (least >= margins[row] - slack).all()


# ---------------------------------------------------------------------- intervals: soundness


@pytest.mark.parametrize("kind", ["trained", "shaken"])
def test_no_point_of_the_box_leaves_the_bounds(kind: str, digits: Data, three: Data) -> None:
    data = three[0][:2], three[1][:2]
    for cell in CELLS:
        network = network_of(cell)
        check_soundness(trained(network, digits) if kind == "trained" else shaken(network), data)


@pytest.mark.parametrize("groups", [(0, 0, 0), (0, 0, 1)])
def test_no_point_leaves_the_bounds_of_a_supernet(groups: tuple[int, int, int], digits: Data, three: Data) -> None:
    supernet = trained(supernet_of(groups=groups), digits)
    check_soundness(supernet, three)
    for seed in range(3):
        alpha = 2 * torch.randn(supernet.alpha.shape, generator=seeded(seed), dtype=torch.float64)
        check_soundness(supernet, three, alpha.softmax(dim=-1))


# ---------------------------------------------------------------------- intervals: exactness


def test_a_point_is_bounded_by_itself(digits: Data, three: Data) -> None:
    images, labels = three
    supernet = shaken(supernet_of())
    for network in (*(shaken(network_of(cell)) for cell in CELLS[:12]), supernet, Subnetwork(supernet, [CELLS[7]])):
        with torch.no_grad():
            logits = network(images)
            bounds = interval_bounds(network, images, images)
            margins = certified_margins(network, images, labels, 0.0)
        torch.testing.assert_close(bounds.centre, logits, rtol=1e-11, atol=1e-11)
        assert float(bounds.radius.abs().max()) < 1e-11
        torch.testing.assert_close(margins.amin(dim=1), margin(logits, labels), rtol=1e-10, atol=1e-10)


def reference_bounds(cell: Cell, network: Network, lower: torch.Tensor, upper: torch.Tensor) -> Data:
    """Interval propagation by end points and the signs of the weights, as functions of a state dictionary."""
    state = network.state_dict()

    def conv(low: torch.Tensor, high: torch.Tensor, name: str, padding: int, stride: int = 1) -> Data:
        up, down = state[name].clamp(min=0), state[name].clamp(max=0)
        shape = {"padding": padding, "stride": stride}
        return (
            F.conv2d(low, up, **shape) + F.conv2d(high, down, **shape),
            F.conv2d(high, up, **shape) + F.conv2d(low, down, **shape),
        )

    def norm(low: torch.Tensor, high: torch.Tensor, name: str) -> Data:
        values = [state[f"{name}.{each}"] for each in ("running_mean", "running_var", "weight", "bias")]
        ends = [F.batch_norm(end, *values) for end in (low, high)]
        return torch.minimum(*ends), torch.maximum(*ends)

    def relu_conv_norm(low: torch.Tensor, high: torch.Tensor, name: str, padding: int, stride: int = 1) -> Data:
        return norm(*conv(low.relu(), high.relu(), f"{name}.1.weight", padding, stride), f"{name}.2")

    def edge(low: torch.Tensor, high: torch.Tensor, operation: str, name: str) -> Data:
        if operation == "none":
            return torch.zeros_like(low), torch.zeros_like(low)
        if operation == "avg_pool_3x3":
            count = F.avg_pool2d(torch.ones_like(low), 3, 1, 1)
            return F.avg_pool2d(low, 3, 1, 1) / count, F.avg_pool2d(high, 3, 1, 1) / count
        if operation == "skip_connect":
            return low, high
        return relu_conv_norm(low, high, name, 1 if operation == "nor_conv_3x3" else 0)

    low, high = ((end - state["normalise.mean"]) / state["normalise.std"] for end in (lower, upper))
    low, high = norm(*conv(low, high, "stem.0.weight", 1), "stem.1")
    for position in range(5):
        name = f"cells.{position}"
        if position % 2:
            main = relu_conv_norm(low, high, f"{name}.convolutions.0", 1, 2)
            main = relu_conv_norm(*main, f"{name}.convolutions.1", 1)
            side = conv(F.avg_pool2d(low, 2), F.avg_pool2d(high, 2), f"{name}.shortcut.1.weight", 0)
            low, high = main[0] + side[0], main[1] + side[1]
        else:
            lows, highs = [low, 0, 0, 0], [high, 0, 0, 0]
            for number, ((source, target), operation) in enumerate(zip(EDGES, cell.operations, strict=True)):
                found = edge(lows[source], highs[source], operation, f"{name}.edges.{number}")
                lows[target], highs[target] = lows[target] + found[0], highs[target] + found[1]
            low, high = lows[3], highs[3]
    low, high = (end.relu().mean(dim=(2, 3)) for end in norm(low, high, "last_activation.0"))
    weight, bias = state["classifier.weight"], state["classifier.bias"]
    up, down = weight.clamp(min=0).T, weight.clamp(max=0).T
    return low @ up + high @ down + bias, high @ up + low @ down + bias


@torch.no_grad()
@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(2, 3, 3, 2, 1), nn.BatchNorm2d(2), Normalisation([0.3, 0.5], [0.4, 0.2]), nn.Linear(5, 3), nn.ReLU()],
    ids=str,
)
def test_the_units_of_a_box_change_nothing(layer: nn.Module) -> None:
    layer = shaken(layer)
    lower = 1000 * torch.rand(4, 2, 5, 5, generator=seeded(), dtype=torch.float64) - 500
    if isinstance(layer, nn.Linear):
        lower = lower[:, 0, 0]
    box = Box.between(lower, lower + 3)
    other = box.in_its_own_units()
    assert (other.exponent > 5).all()
    expected, found = propagate(layer, box), propagate(layer, other).in_units_of_one()
    torch.testing.assert_close(found.centre, expected.centre)
    torch.testing.assert_close(found.radius, expected.radius)
    torch.testing.assert_close(propagate(layer, Box.between(lower, lower)).centre, layer(lower))


@torch.no_grad()
def test_bounds_equal_an_independent_propagation_of_end_points(three: Data) -> None:
    box = image_box(three[0], EPS)
    for cell in CELLS:
        network = shaken(network_of(cell))
        bounds = interval_bounds(network, box.lower, box.upper)
        lower, upper = reference_bounds(cell, network, box.lower, box.upper)
        torch.testing.assert_close(bounds.lower, lower, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(bounds.upper, upper, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_bounds_of_a_rising_network_are_its_logits_at_the_end_points(three: Data) -> None:
    box = image_box(three[0], EPS)
    supernets = [supernet_of(groups=groups) for groups in ((0, 0, 0), (0, 0, 1), (0, 1, 2))]
    for network in (*(shaken(network_of(cell)) for cell in CELLS), *map(shaken, supernets)):
        for name, parameter in network.named_parameters():
            if name.endswith("weight"):
                parameter.abs_()
        bounds = interval_bounds(network, box.lower, box.upper)
        torch.testing.assert_close(bounds.lower, network(box.lower), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(bounds.upper, network(box.upper), rtol=1e-9, atol=1e-9)


def test_the_box_of_an_image_is_cut_off_at_the_limits_of_pixels() -> None:
    box = image_box(torch.tensor([[0.0, 0.1, 0.5, 1.0]], dtype=torch.float64), 0.2)
    torch.testing.assert_close(box.lower, torch.tensor([[0.0, 0.0, 0.3, 0.8]], dtype=torch.float64))
    torch.testing.assert_close(box.upper, torch.tensor([[0.2, 0.3, 0.7, 1.0]], dtype=torch.float64))


def test_bounds_of_a_linear_layer_are_reached() -> None:
    linear = nn.Sequential(nn.Linear(6, 3)).double()
    box = image_box(torch.rand(5, 6, generator=seeded(), dtype=torch.float64), 0.1)
    bounds = interval_bounds(linear, box.lower, box.upper)
    for logit, row in enumerate(linear[0].weight):
        highest = torch.where(row > 0, box.upper, box.lower)
        torch.testing.assert_close(linear(highest)[:, logit], bounds.upper[:, logit])


def test_margins_of_a_linear_layer_are_reached() -> None:
    network = nn.Sequential(nn.Linear(6, 3)).double()
    images = torch.rand(40, 6, generator=seeded(), dtype=torch.float64)
    labels = torch.randint(3, (40,), generator=seeded(1))
    margins, box = certified_margins(network, images, labels, 0.1), image_box(images, 0.1)
    for wrong in range(3):
        worst = torch.where(network[0].weight[wrong] > network[0].weight[labels], box.upper, box.lower)
        logits = network(worst)
        reached = logits.gather(1, labels[:, None])[:, 0] - logits[:, wrong]
        torch.testing.assert_close(margins[labels != wrong, wrong], reached[labels != wrong])


@torch.no_grad()
def test_margins_are_at_least_as_tight_as_differences_of_bounds(three: Data) -> None:
    images, labels = three
    box = image_box(images, EPS)
    gains = []
    for cell in CELLS[1:]:
        network = shaken(network_of(cell))
        bounds = interval_bounds(network, box.lower, box.upper)
        margins = certified_margins(network, images, labels, EPS)
        plain = bounds.lower.gather(1, labels[:, None]) - bounds.upper
        others = F.one_hot(labels, 10) == 0
        gain = (margins - plain)[others] / bounds.radius[others]
        assert (gain > -1e-9).all()
        gains.append(float(gain.mean()))
        assert torch.isinf(margins[~others]).all()
    assert min(gains) > 0.1


# ---------------------------------------------------------------------- supernets


def one_hot(cell: Cell) -> torch.Tensor:
    codes = torch.tensor([OPERATIONS.index(name) for name in cell.operations])
    return F.one_hot(codes, len(OPERATIONS)).double()[None]


@torch.no_grad()
def test_a_one_hot_mixture_has_the_bounds_of_the_subnetwork_and_of_the_network(three: Data) -> None:
    supernet, (images, labels) = shaken(supernet_of()), three
    for cell in CELLS[:15]:
        network = with_weights_of(supernet, network_of(cell), [cell] * 3)
        expected = certified_margins(network, images, labels, EPS)
        sub = certified_margins(Subnetwork(supernet, [cell]), images, labels, EPS)
        mixed = certified_margins(supernet, images, labels, EPS, one_hot(cell))
        torch.testing.assert_close(sub, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(mixed, expected, rtol=1e-10, atol=1e-10)


def test_the_mixture_of_a_supernet_is_the_default(three: Data) -> None:
    supernet = shaken(supernet_of())
    mixture = supernet.mixture()
    assert log_radius(supernet, three[0], EPS) == log_radius(supernet, three[0], EPS, mixture)
    norms = jacobian_norms(supernet, three[0])
    assert torch.equal(norms, jacobian_norms(lambda images: supernet(images, mixture), three[0]))


def test_radii_beyond_single_precision_have_logarithm_and_gradient(digits: Data) -> None:
    supernet = supernet_of(Skeleton(8, 6, 10, 1, 8), spread=0.1)
    for module in supernet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the statistics of the next batch
    supernet(digits[0][:64])
    supernet.eval()
    found = []
    for dtype in (torch.float32, torch.float64):
        value = log_radius(supernet.to(dtype), digits[0][:2].to(dtype), EPS)
        found.append((float(value.detach()), torch.autograd.grad(value, supernet.alpha)[0]))
    assert found[0][0] > 88.8  # the logarithm of the largest number in single precision
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    torch.testing.assert_close(found[0][1].double(), found[1][1], rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        radius = interval_bounds(supernet, digits[0][:2].double(), digits[0][:2].double() + EPS).radius
        assert torch.isfinite(radius).all()
        images, labels = digits[0][:2], digits[1][:2]
        assert (certified_margins(supernet.float(), images, labels, EPS).amin(dim=1) == -torch.inf).all()


@torch.no_grad()
def test_log_radius_is_the_mean_logarithm(three: Data) -> None:
    network = shaken(network_of(CONVOLUTIONS))
    box = image_box(three[0], EPS)
    radius = interval_bounds(network, box.lower, box.upper).radius
    assert float(log_radius(network, three[0], EPS)) == pytest.approx(float(radius.log().mean()), rel=1e-12)


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
def test_gradients_in_alpha_are_finite_differences(name: str) -> None:
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


def test_the_gradient_of_the_bound_favours_none_and_then_what_has_no_weights() -> None:
    supernet = shaken(supernet_of(spread=0.0))
    images = torch.rand(4, 1, 8, 8, generator=seeded(8), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(log_radius(supernet, images, EPS), supernet.alpha)
    by_operation = dict(zip(OPERATIONS, gradient[0].sum(dim=0).tolist(), strict=True))
    assert by_operation["none"] == min(by_operation.values()) < 0
    assert by_operation["nor_conv_3x3"] == max(by_operation.values()) > 0
    assert by_operation["skip_connect"] < by_operation["nor_conv_3x3"] / 2


# ---------------------------------------------------------------------- Jacobians


@pytest.fixture
def linear() -> nn.Linear:
    layer = nn.Linear(12, 4).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=seeded(9))
    return layer


def test_a_linear_network_has_the_absolute_row_sums_and_no_sign_vector_beats_them(linear: nn.Linear) -> None:
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


def test_other_norms_are_dual_too(linear: nn.Linear) -> None:
    images = torch.rand(2, 12, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(jacobian_norms(linear, images, q=2)[0], linear.weight.norm(dim=1))
    torch.testing.assert_close(jacobian_norms(linear, images, q=torch.inf)[1], linear.weight.abs().amax(dim=1))


def test_rows_are_those_of_every_image_by_itself(three: Data) -> None:
    network = shaken(network_of(CELLS[8]))
    norms = jacobian_norms(network, three[0])
    for row, image in enumerate(three[0]):
        jacobian = torch.autograd.functional.jacobian(network, image[None])[0, :, 0]
        torch.testing.assert_close(norms[row], jacobian.flatten(1).abs().sum(dim=1))


def test_drawn_logits_are_unbiased(linear: nn.Linear) -> None:
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


def test_the_linearised_radius_of_a_linear_network_is_where_its_decision_changes(linear: nn.Linear) -> None:
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


def test_fewer_rivals_bound_the_linearised_radius_from_above(three: Data) -> None:
    network = shaken(network_of(CELLS[9]))
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


# ---------------------------------------------------------------------- edges of the domain


def test_a_network_without_a_path_does_not_move(three: Data) -> None:
    supernet = shaken(supernet_of())
    for network in (shaken(network_of(EMPTY)), Subnetwork(supernet, [EMPTY])):
        for module in (network, network.requires_grad_(False)):
            assert (jacobian_norms(module, three[0]) == 0).all()
            assert torch.isinf(log_radius(module, three[0], EPS))
            assert (linearised_radius(module, *three).abs() > 1e100).all()


def test_batch_statistics_are_an_error_wherever_they_are_taken(three: Data) -> None:
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


def test_an_unknown_layer_is_named_until_it_has_a_rule() -> None:
    class Halving(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features / 2

    network = nn.Sequential(Halving(), nn.Linear(4, 2))
    images = torch.rand(3, 4, generator=seeded())
    with pytest.raises(
        InvalidValueError, match=r"layer is Halving\(\), expected one of AvgPool2d, BatchNorm2d, .*Zero"
    ):
        interval_bounds(network, images, images)
    propagate.register(Halving, lambda module, box: box._replace(centre=box.centre / 2, radius=box.radius / 2))
    torch.testing.assert_close(interval_bounds(network, images, images).centre, network(images))


def test_bad_input_is_named(three: Data, linear: nn.Linear) -> None:
    images, labels = three
    supernet, network = shaken(supernet_of()), shaken(network_of(CONVOLUTIONS))
    rows = torch.rand(2, 12, dtype=torch.float64)
    reflecting = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect").double()
    cases: list[tuple[str, Callable[[], object]]] = [
        ("eps is -0.1, expected .*; did you mean 0", lambda: certified_margins(network, images, labels, -0.1)),
        ("eps is 8, expected .*; did you mean 1", lambda: log_radius(network, images, 8)),
        ("images is 'pixels from 0 to 255'", lambda: log_radius(network, 255 * images, EPS)),
        ("eps is 0.0, expected a positive", lambda: log_radius(network, images, 0.0)),
        ("lower is 'up to 0.5 above upper'", lambda: interval_bounds(network, images + 0.5, images)),
        ("mixture is .*only|mixture is .*Supernet", lambda: log_radius(network, images, EPS, supernet.mixture())),
        ("mixture is 'as low as -0.5'", lambda: log_radius(supernet, images, EPS, one_hot(EMPTY) - 0.5)),
        ("network is 'Linear', expected a Network", lambda: interval_bounds(linear, rows, rows)),
        ("last layer is linear", lambda: interval_bounds(nn.Sequential(nn.ReLU()), rows, rows)),
        ("padding with zeros", lambda: propagate(reflecting, image_box(images, EPS))),
        ("q is 0.5, expected a norm from 1", lambda: jacobian_norms(linear, rows, q=0.5)),
        ("draws is 5, expected .* 1 to 4", lambda: jacobian_norms(linear, rows, draws=5, generator=seeded())),
        ("draws is 0", lambda: jacobian_norms(linear, rows, draws=0, generator=seeded())),
        ("generator is None", lambda: jacobian_norms(linear, rows, draws=1)),
        ("rivals is 4, expected .* 1 to 3", lambda: linearised_radius(linear, rows, labels[:2] % 4, rivals=4)),
    ]
    for message, call in cases:
        with pytest.raises(InvalidValueError, match=message):
            call()
