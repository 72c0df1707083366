"""The network against an independent functional forward pass, and the published facts about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import as_trained, network_of, seeded

from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import EDGES, OPERATIONS
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.networks import CellLayer, Network, OperationCounter, duplicate, network_for
from nasbench_robust.skeletons import Skeleton

TINY = Skeleton(channels=2, cells_per_stage=1, classes=3, input_channels=1, image_size=8)


def make(cell: Cell, skeleton: Skeleton = TINY, seed: int = 0) -> Network:
    return as_trained(network_of(cell, skeleton, seed), seed)


def normalised(batch: torch.Tensor, state: dict, prefix: str, train: bool) -> torch.Tensor:
    """Batch normalisation written out."""
    if train:
        mean, variance = batch.mean(dim=(0, 2, 3)), batch.var(dim=(0, 2, 3), unbiased=False)
    else:
        mean, variance = state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]
    scaled = (batch - mean.view(1, -1, 1, 1)) / torch.sqrt(variance.view(1, -1, 1, 1) + 1e-5)
    return scaled * state[f"{prefix}.weight"].view(1, -1, 1, 1) + state[f"{prefix}.bias"].view(1, -1, 1, 1)


def pooled(features: torch.Tensor) -> torch.Tensor:
    """Average of the 3x3 neighbours that exist."""
    ones = torch.ones_like(features[:1, :1])
    kernel = torch.ones(1, 1, 3, 3, dtype=features.dtype)
    count = F.conv2d(ones, kernel, padding=1)
    return F.conv2d(features, kernel.expand(features.shape[1], 1, 3, 3), padding=1, groups=features.shape[1]) / count


def reference_forward(cell: Cell, skeleton: Skeleton, state: dict, images: torch.Tensor, train: bool) -> torch.Tensor:
    """The published network, written as functions of a state dictionary, independently of the module."""

    def conv(features: torch.Tensor, prefix: str, padding: int, stride: int = 1) -> torch.Tensor:
        return F.conv2d(features, state[f"{prefix}.weight"], padding=padding, stride=stride)

    def cell_layer(features: torch.Tensor, prefix: str) -> torch.Tensor:
        nodes = [features, 0, 0, 0]
        for number, ((source, target), operation) in enumerate(zip(EDGES, cell.operations, strict=True)):
            value = nodes[source]
            edge = f"{prefix}.edges.{number}"
            if operation == "none":
                value = torch.zeros_like(features)
            elif operation == "avg_pool_3x3":
                value = pooled(value)
            elif operation != "skip_connect":
                padding = 1 if operation == "nor_conv_3x3" else 0
                value = normalised(conv(value.clamp(min=0), f"{edge}.1", padding), state, f"{edge}.2", train)
            nodes[target] = nodes[target] + value
        return nodes[3]

    features = (images - state["normalise.mean"]) / state["normalise.std"]
    features = normalised(conv(features, "stem.0", 1), state, "stem.1", train)
    position = 0
    for stage in range(3):
        for _ in range(skeleton.cells_per_stage):
            features = cell_layer(features, f"cells.{position}")
            position += 1
        if stage < 2:
            block = f"cells.{position}"
            first, second = f"{block}.convolutions.0", f"{block}.convolutions.1"
            main = normalised(conv(features.clamp(min=0), f"{first}.1", 1, 2), state, f"{first}.2", train)
            main = normalised(conv(main.clamp(min=0), f"{second}.1", 1), state, f"{second}.2", train)
            halved = features.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)
            features = main + conv(halved, f"{block}.shortcut.1", 0)
            position += 1
    features = normalised(features, state, "last_activation.0", train).clamp(min=0).mean(dim=(2, 3))
    return features @ state["classifier.weight"].T + state["classifier.bias"]


def sample_cells(count: int) -> list[Cell]:
    rng = np.random.default_rng(0)
    single = [Cell([operation] * 6) for operation in OPERATIONS]
    return single + [Cell.sample(rng) for _ in range(count)]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_logits_equal_an_independent_forward_pass(train: bool) -> None:
    images = torch.rand(4, 1, 8, 8, generator=seeded(1), dtype=torch.float64)
    for cell in sample_cells(50):
        network = make(cell).train(train)
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        expected = reference_forward(cell, TINY, state, images, train)
        with torch.no_grad():
            torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("arch", "parameters"),
    [
        ("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", 73_306),
        ("|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|", 1_531_546),
    ],
)
def test_published_parameter_counts(arch: str, parameters: int) -> None:
    network = network_for(Cell.from_str(arch), Skeleton(), "cifar10", torch.Generator())
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    "skeleton",
    [TINY, Skeleton(3, 2, 7, 3, 12), Skeleton.for_dataset("cifar100"), Skeleton.for_dataset("ImageNet16-120")],
    ids=str,
)
def test_closed_forms_count_what_is_built(skeleton: Skeleton) -> None:
    for cell in sample_cells(3):
        network = make(cell, skeleton)
        assert cell.parameters(skeleton) == sum(parameter.numel() for parameter in network.parameters())
        shape = (1, skeleton.input_channels, skeleton.image_size, skeleton.image_size)
        with OperationCounter() as counter:
            network.eval()(torch.rand(shape, dtype=torch.float64))
        assert cell.flops(skeleton) == counter.flops / 2  # a multiplication and an addition each


def test_normalisation_is_inside_and_is_not_trained() -> None:
    network = network_for(Cell.from_index(0), Skeleton(), "cifar10", torch.Generator())
    white = torch.ones(1, 3, 2, 2)
    expected = (255 - torch.tensor([125.3, 123.0, 113.9])) / torch.tensor([63.0, 62.1, 66.7])
    torch.testing.assert_close(network.normalise(white)[0, :, 0, 0], expected)
    assert not any("normalise" in name for name, _ in network.named_parameters())


def test_average_pool_does_not_count_padding() -> None:
    layer = CellLayer(Cell(["none", "none", "none", "avg_pool_3x3", "none", "none"]), 2)
    constant = torch.full((1, 2, 4, 4), 3.0)
    torch.testing.assert_close(layer(constant), constant)


def test_edge_that_leaves_an_unreachable_node_passes_the_shift_of_its_normalisation() -> None:
    layer = CellLayer(Cell(["none", "none", "none", "none", "nor_conv_1x1", "none"]), 2).eval()
    with torch.no_grad():
        layer.edges[4][2].bias.fill_(0.75)
    assert not Cell(["none", "none", "none", "none", "nor_conv_1x1", "none"]).connected
    torch.testing.assert_close(layer(torch.rand(1, 2, 4, 4)), torch.full((1, 2, 4, 4), 0.75))


def test_edge_into_a_node_without_way_out_has_no_influence() -> None:
    cell = Cell(["nor_conv_3x3", "none", "none", "skip_connect", "none", "none"])
    features = torch.rand(2, 2, 4, 4)
    torch.testing.assert_close(CellLayer(cell, 2).train()(features), features)


def test_disconnected_network_ignores_its_input_and_has_zero_gradient() -> None:
    for index in (10, 12, 74, 172, 879):
        network = make(Cell.from_index(index)).eval()
        images = torch.rand(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)
        logits = network(images)
        torch.testing.assert_close(logits, logits[:1].expand_as(logits))
        (gradient,) = torch.autograd.grad(logits.sum(), images)
        assert not gradient.any()


def test_weights_come_from_the_generator_alone() -> None:
    cell = Cell.from_index(1462)
    torch.manual_seed(1)
    one = make(cell, seed=5).state_dict()
    torch.manual_seed(2)
    two = make(cell, seed=5).state_dict()
    other = make(cell, seed=6).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["stem.0.weight"], other["stem.0.weight"])


def test_initial_weights_have_the_distribution_of_pytorch() -> None:
    network = network_for(Cell.from_index(1462), Skeleton(), "cifar10", seeded(0))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 2000:
            theirs = torch.nn.Conv2d(module.in_channels, module.out_channels, module.kernel_size).weight.detach()
            ours = module.weight.detach()
            assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.05)
            assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.05)


def test_wrong_number_of_means_is_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"mean is \[0, 0\], expected 1 value"):
        Network(Cell.from_index(0), TINY, mean=[0, 0], std=[1], generator=torch.Generator())


def test_duplicate_is_a_network_of_its_own() -> None:
    network = make(Cell(["nor_conv_3x3"] * 6))
    network.extra = network.classifier  # used twice
    network(torch.rand(2, 1, 8, 8).double()).sum().backward()
    twin = duplicate(network)
    state, copied = network.state_dict(), twin.state_dict()
    assert all(torch.equal(state[name], copied[name]) for name in state)
    assert twin.extra is twin.classifier
    assert twin.classifier is not network.classifier
    assert all(parameter.grad is None and parameter.requires_grad for parameter in twin.parameters())
    assert not {tensor.data_ptr() for tensor in state.values()} & {tensor.data_ptr() for tensor in copied.values()}
    twin.stem.register_forward_hook(lambda *_: None)
    twin.train(False).requires_grad_(False)
    assert network.training
    assert not network.stem._forward_hooks
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert {tensor.dtype for tensor in duplicate(network, torch.float32).parameters()} == {torch.float32}
    assert duplicate(network, torch.float32).stem[1].num_batches_tracked.dtype == torch.int64
