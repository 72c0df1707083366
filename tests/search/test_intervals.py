"""Certified bounds by intervals: sound on sampled and on searched points, exact where there is a closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import network_of, seeded, shaken, supernet_of, with_weights_of
from torch import nn

from nasbench_robust import metrics
from nasbench_robust.attacks import pgd
from nasbench_robust.attacks.passes import margin
from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import EDGES, OPERATIONS
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.images import TensorImages
from nasbench_robust.networks import Network, Normalisation, Subnetwork
from nasbench_robust.search.bounds import certified_accuracy, certified_margins, image_box, interval_bounds, log_radius
from nasbench_robust.search.bounds.boxes import Box, propagate
from nasbench_robust.skeletons import Skeleton

WIDER = Skeleton(4, 1, 10, 1, 8)
RNG = np.random.default_rng(5)
CELLS = [Cell([name] * 6) for name in OPERATIONS] + [Cell.sample(RNG) for _ in range(30)]
CONVOLUTIONS = Cell(["nor_conv_3x3"] * 6)
EPS = 8 / 255
Data = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def digits(images: TensorImages) -> Data:
    return images.train.pixels, images.train.labels


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
def test_no_point_of_the_box_leaves_the_bounds(kind, digits, three):
    data = three[0][:2], three[1][:2]
    for cell in CELLS:
        network = network_of(cell)
        check_soundness(trained(network, digits) if kind == "trained" else shaken(network), data)


@pytest.mark.parametrize("groups", [(0, 0, 0), (0, 0, 1)])
def test_no_point_leaves_the_bounds_of_a_supernet(groups, digits, three):
    supernet = trained(supernet_of(groups=groups), digits)
    check_soundness(supernet, three)
    for seed in range(3):
        alpha = 2 * torch.randn(supernet.alpha.shape, generator=seeded(seed), dtype=torch.float64)
        check_soundness(supernet, three, alpha.softmax(dim=-1))


# ---------------------------------------------------------------------- intervals: exactness


def test_a_point_is_bounded_by_itself(digits, three):
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
def test_the_units_of_a_box_change_nothing(layer):
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
def test_bounds_equal_an_independent_propagation_of_end_points(three):
    box = image_box(three[0], EPS)
    for cell in CELLS:
        network = shaken(network_of(cell))
        bounds = interval_bounds(network, box.lower, box.upper)
        lower, upper = reference_bounds(cell, network, box.lower, box.upper)
        torch.testing.assert_close(bounds.lower, lower, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(bounds.upper, upper, rtol=1e-8, atol=1e-8)


@torch.no_grad()
def test_bounds_of_a_rising_network_are_its_logits_at_the_end_points(three):
    box = image_box(three[0], EPS)
    supernets = [supernet_of(groups=groups) for groups in ((0, 0, 0), (0, 0, 1), (0, 1, 2))]
    for network in (*(shaken(network_of(cell)) for cell in CELLS), *map(shaken, supernets)):
        for name, parameter in network.named_parameters():
            if name.endswith("weight"):
                parameter.abs_()
        bounds = interval_bounds(network, box.lower, box.upper)
        torch.testing.assert_close(bounds.lower, network(box.lower), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(bounds.upper, network(box.upper), rtol=1e-9, atol=1e-9)


def test_the_box_of_an_image_is_cut_off_at_the_limits_of_pixels():
    box = image_box(torch.tensor([[0.0, 0.1, 0.5, 1.0]], dtype=torch.float64), 0.2)
    torch.testing.assert_close(box.lower, torch.tensor([[0.0, 0.0, 0.3, 0.8]], dtype=torch.float64))
    torch.testing.assert_close(box.upper, torch.tensor([[0.2, 0.3, 0.7, 1.0]], dtype=torch.float64))


def test_margins_of_a_linear_layer_are_reached():
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
def test_margins_are_at_least_as_tight_as_differences_of_bounds(three):
    images, labels = three
    box = image_box(images, EPS)
    gains = []
    for cell in CELLS[1:]:
        network = shaken(network_of(cell, WIDER))
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
def test_a_one_hot_mixture_has_the_bounds_of_the_subnetwork_and_of_the_network(three):
    supernet, (images, labels) = shaken(supernet_of()), three
    for cell in CELLS[:15]:
        network = with_weights_of(supernet, network_of(cell), [cell] * 3)
        expected = certified_margins(network, images, labels, EPS)
        sub = certified_margins(Subnetwork(supernet, [cell]), images, labels, EPS)
        mixed = certified_margins(supernet, images, labels, EPS, one_hot(cell))
        torch.testing.assert_close(sub, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(mixed, expected, rtol=1e-10, atol=1e-10)


def test_radii_beyond_single_precision_have_logarithm_and_gradient(digits):
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


def two_pixels() -> nn.Module:
    """Return logits max(x1 - x2, 0) + .1 and max(x1 + x2 - 1, 0)."""
    hidden, last = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0, -1.0], [1.0, 1.0]])), hidden.bias.copy_(torch.tensor([0.0, -1.0]))
        last.weight.copy_(torch.eye(2)), last.bias.copy_(torch.tensor([0.1, 0.0]))
    return nn.Sequential(hidden, nn.ReLU(), last).double().eval()


def test_certified_accuracy_is_what_a_hand_computes() -> None:
    """At (.6, .2) within .1 the first hidden unit is in [.2, .6] and the second 0: the margin is at least .3.

    Within .15 they are in [.1, .7] and [0, .1]: at least .1. Within .2 in [0, .8] and [0, .2]: -.1, not certified,
    although no point is misclassified. At (.9, .9) the second logit wins, which is right for the label 1 alone.
    """
    images, labels = torch.tensor([[0.6, 0.2]], dtype=torch.float64), torch.tensor([0])
    network = two_pixels()
    for eps, margin_by_hand in ((0.1, 0.3), (0.15, 0.1), (0.2, -0.1)):
        margins = certified_margins(network, images, labels, eps)
        assert margins[0, 1].item() == pytest.approx(margin_by_hand, abs=1e-7)
        assert certified_accuracy(network, images, labels, eps) == (margin_by_hand > 0)
    more = torch.cat([images, torch.full((3, 2), 0.9, dtype=torch.float64)])
    assert certified_accuracy(network, more, torch.tensor([0, 1, 0, 1]), 0.05, batch_size=3) == 3 / 4
    with pytest.raises(InvalidValueError, match="images is 'none'"):
        certified_accuracy(network, images[:0], labels[:0], 0.1)


@torch.no_grad()
def test_log_radius_is_the_mean_logarithm(three):
    network = shaken(network_of(CONVOLUTIONS))
    box = image_box(three[0], EPS)
    radius = interval_bounds(network, box.lower, box.upper).radius
    assert float(log_radius(network, three[0], EPS)) == pytest.approx(float(radius.log().mean()), rel=1e-12)


def test_the_gradient_of_the_bound_favours_none_and_then_what_has_no_weights():
    supernet = shaken(supernet_of(WIDER, spread=0.0))
    images = torch.rand(4, 1, 8, 8, generator=seeded(8), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(log_radius(supernet, images, EPS), supernet.alpha)
    by_operation = dict(zip(OPERATIONS, gradient[0].sum(dim=0).tolist(), strict=True))
    assert by_operation["none"] == min(by_operation.values()) < 0
    assert by_operation["nor_conv_3x3"] == max(by_operation.values()) > 0
    assert by_operation["skip_connect"] < by_operation["nor_conv_3x3"] / 2


def test_an_unknown_layer_is_named_until_it_has_a_rule():
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
