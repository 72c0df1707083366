"""The tangent kernel against whole Jacobians in float64, those against autograd, and the identities of kernels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from kernel_oracles import jacobian
from native_twins import ODD_CELLS, needs_engine, random_batch, relative_error, smooth_batch, twins
from torch import nn

from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import OPERATIONS
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.networks import Network
from nasbench_robust.ntk import BN_MODES, ntk
from nasbench_robust.skeletons import Skeleton

SMALL = Skeleton(channels=3, cells_per_stage=1, classes=4, input_channels=2, image_size=8)
SINGLE = [Cell([operation] * 6) for operation in OPERATIONS]
MIXED = Cell(["nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3", "skip_connect"])
CELLS = [*SINGLE, MIXED, *(Cell(operations) for operations in ODD_CELLS.values())]
OUTPUTS = ("sum", "trace", "full", 2)


def make(cell: Cell = MIXED, skeleton: Skeleton = SMALL, count: int = 5) -> tuple[Network, torch.Tensor]:
    """Return a network in float64, batch normalisations as after training, and images away from its kinks."""
    network, _ = twins(cell, skeleton)
    return network, torch.from_numpy(smooth_batch(network, skeleton, count, 0)[0])


def contracted(rows: torch.Tensor, output: str | int) -> torch.Tensor:
    """Return the kernel that Jacobians of shape (n, classes, P) have."""
    if output == "full":
        return torch.einsum("ikp,jlp->ijkl", rows, rows)
    if output == "trace":
        return torch.einsum("ikp,jkp->ij", rows, rows)
    row = rows.sum(1) if output == "sum" else rows[:, output]
    return row @ row.T


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return relative_error(found.numpy(), expected.numpy())


# ------------------------------------------------------------------ the kernel against Jacobians


@pytest.mark.parametrize("bn", BN_MODES)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_equals_jacobian_for_every_operation_output_and_mode(cell: Cell, bn: str) -> None:
    network, images = make(cell)
    rows = jacobian(network, images, bn=bn)
    for output in OUTPUTS:
        assert error(ntk(network, images, output=output, bn=bn, precision="fp64"), contracted(rows, output)) < 1e-10


@pytest.mark.parametrize("bn", BN_MODES)
def test_other_depths_and_sizes(bn: str) -> None:
    for skeleton in (Skeleton(2, 2, 5, 3, 12), Skeleton(1, 1, 2, 1, 4)):
        network, images = make(MIXED, skeleton, 3)
        rows = jacobian(network, images, bn=bn)
        assert error(ntk(network, images, output="sum", bn=bn, precision="fp64"), contracted(rows, "sum")) < 1e-10


def test_a_plain_network_of_the_same_layers() -> None:
    """Bias, stride, dilation, rectangular kernels, in-place ReLU: nothing is about the cells of this package."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, (3, 1), padding=(1, 0), bias=True),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 3, 3, stride=2, dilation=2, padding=2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(3 * 16, 6, bias=False),
        nn.ReLU(),
        nn.Linear(6, 3),
    ).double()
    images = torch.randn(4, 2, 8, 8).double()
    for bn in BN_MODES:
        rows = jacobian(network, images, bn=bn)
        for output in OUTPUTS:
            found = ntk(network, images, output=output, bn=bn, precision="fp64")
            assert error(found, contracted(rows, output)) < 1e-10


def test_a_network_without_running_statistics() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(), nn.Linear(12, 2)
    ).double()
    images = torch.rand(3, 2, 4, 4).double()
    for bn in ("batch_frozen", "batch_coupled"):
        rows = jacobian(network, images, bn=bn)
        assert error(ntk(network, images, output="sum", bn=bn, precision="fp64"), contracted(rows, "sum")) < 1e-10
    with pytest.raises(InvalidValueError, match="keeps no running statistics"):
        ntk(network, images, output="sum", bn="eval")


def test_layers_used_twice_and_unknown_layers_are_refused() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1)
    twice = nn.Sequential(layer, layer, nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(InvalidValueError, match="used once each"):
        ntk(twice, torch.zeros(2, 1, 4, 4), output="sum", bn="eval")
    foreign = nn.Sequential(nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 2))
    with pytest.raises(InvalidValueError, match=r"1 \(LayerNorm\).*one of Conv2d, Linear, BatchNorm2d"):
        ntk(foreign, torch.zeros(2, 1, 4, 4), output="sum", bn="eval")
    grouped = nn.Sequential(nn.Conv2d(2, 2, 1, groups=2), nn.Flatten(), nn.Linear(32, 2))
    with pytest.raises(InvalidValueError, match="one group"):
        ntk(grouped, torch.zeros(2, 2, 4, 4), output="sum", bn="eval")


# ------------------------------------------------------------------ identities


@pytest.mark.parametrize("bn", BN_MODES)
def test_symmetric_and_positive_semidefinite(bn: str) -> None:
    network, images = make()
    for output in ("sum", "trace", 0):
        kernel = ntk(network, images, output=output, bn=bn, precision="fp64")
        assert error(kernel, kernel.T) < 1e-12
        assert torch.linalg.eigvalsh(kernel).min() > -1e-12 * kernel.trace()
    full = ntk(network, images, output="full", bn=bn, precision="fp64")
    flat = full.transpose(1, 2).reshape(20, 20)
    assert error(flat, flat.T) < 1e-12
    assert torch.linalg.eigvalsh(flat).min() > -1e-12 * flat.trace()


@pytest.mark.parametrize("bn", BN_MODES)
def test_permutation_block_and_transpose(bn: str) -> None:
    network, images = make()
    settings = {"output": "sum", "bn": bn, "precision": "fp64"}
    kernel = ntk(network, images, **settings)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert error(ntk(network, images[order], **settings), kernel[order][:, order]) < 1e-11
    cross = ntk(network, images[:2], images[2:], **settings)
    assert error(cross, kernel[:2, 2:]) < 1e-11
    assert error(ntk(network, images[2:], images[:2], **settings), cross.T) < 1e-11


@pytest.mark.parametrize("bn", BN_MODES)
def test_outputs_are_sums_of_the_full_kernel(bn: str) -> None:
    network, images = make()
    settings = {"bn": bn, "precision": "fp64"}
    full = ntk(network, images[:3], images[3:], output="full", **settings)
    assert full.shape == (3, 2, 4, 4)
    assert error(ntk(network, images[:3], images[3:], output="sum", **settings), full.sum((2, 3))) < 1e-11
    trace = torch.diagonal(full, dim1=2, dim2=3).sum(2)
    assert error(ntk(network, images[:3], images[3:], output="trace", **settings), trace) < 1e-11


def test_samples_see_each_other_in_batch_modes_only() -> None:
    network, images = make()
    moved = images.clone()
    moved[4] = 1 - moved[4]

    def pair(batch: torch.Tensor, bn: str) -> torch.Tensor:
        return ntk(network, batch, output="sum", bn=bn, precision="fp64")[:2, :2]

    assert torch.equal(pair(images, "eval"), pair(moved, "eval"))
    for bn in ("batch_frozen", "batch_coupled"):
        assert error(pair(moved, bn), pair(images, bn)) > 1e-3
    assert error(pair(images, "batch_frozen"), pair(images, "batch_coupled")) > 1e-3


def test_dead_edges_have_no_part() -> None:
    """The same live graph with and without convolutions that reach nothing."""
    alive = Cell(["none", "none", "none", "skip_connect", "none", "nor_conv_3x3"])
    dead = Cell(["nor_conv_3x3", "none", "none", "skip_connect", "none", "nor_conv_3x3"])
    (one, images), (other, _) = make(alive), make(dead)
    state = other.state_dict()
    state.update(one.state_dict())
    other.load_state_dict(state)
    for bn in BN_MODES:
        first, second = (ntk(network, images, output="sum", bn=bn, precision="fp64") for network in (one, other))
        assert error(second, first) < 1e-12


# ------------------------------------------------------------------ arithmetic, engines, memory


@pytest.mark.parametrize(
    ("bn", "precision", "engine", "limit"),
    [
        ("eval", "fp32", "torch", 1e-5),
        ("batch_frozen", "fp32", "torch", 1e-4),
        ("batch_coupled", "fp32", "torch", 1e-4),
        ("eval", "mixed", "torch", 2e-2),
        ("batch_frozen", "mixed", "torch", 2e-2),
        pytest.param("eval", "fp32", "native", 1e-5, marks=needs_engine),
        pytest.param("batch_frozen", "fp32", "native", 1e-4, marks=needs_engine),
    ],
)
def test_other_arithmetic(bn: str, precision: str, engine: str, limit: float) -> None:
    for cell in CELLS:
        network, images = make(cell, count=3)
        network.float()
        for output in OUTPUTS:
            expected = ntk(network, images, output=output, bn=bn, precision="fp64")
            found = ntk(network, images, output=output, bn=bn, precision=precision, engine=engine)
            assert found.dtype == torch.float64
            assert error(found, expected) < limit, f"{cell}, {output}"
    assert (limit < 1e-3) or error(found, expected) > 1e-7  # bfloat16 was used


@needs_engine
@pytest.mark.parametrize("skeleton", [Skeleton(4, 1, 10, 1, 8), Skeleton(8, 1, 10, 3, 16), Skeleton(5, 2, 3, 1, 12)])
@pytest.mark.parametrize("count", [1, 16, 19, 33])
def test_native_blocks(skeleton: Skeleton, count: int) -> None:
    """Full, partly filled and several blocks of lanes; channels that do not fill the groups of the engine."""
    network, native = twins(MIXED, skeleton)
    images, _ = smooth_batch(network, skeleton, count, 0)
    rows = jacobian(network, torch.from_numpy(images), bn="eval")
    found = native.tangent_kernel(images, np.ones((count, skeleton.classes), np.float32))
    assert relative_error(found, contracted(rows, "sum").numpy()) < 1e-5
    assert np.array_equal(found, found.T)


@pytest.mark.parametrize("bn", BN_MODES)
@pytest.mark.parametrize("output", OUTPUTS)
def test_a_small_budget_gives_the_same(bn: str, output: str | int) -> None:
    network, images = make()
    settings = {"output": output, "bn": bn, "precision": "fp64"}
    for others in (None, images[:2]):
        expected = ntk(network, images, others, **settings)
        for budget in (1e-6, 0.05, 0.2):
            assert error(ntk(network, images, others, budget_mib=budget, **settings), expected) < 1e-11


def test_the_network_is_left_as_it_is() -> None:
    network, images = make()
    network.train()
    before = copy.deepcopy(network.state_dict())
    for bn in BN_MODES:
        ntk(network, images, output="sum", bn=bn)
    assert network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_arguments_out_of_range() -> None:
    network, images = make()
    good = {"output": "sum", "bn": "eval"}
    with pytest.raises(TypeError, match="bn"):
        ntk(network, images, output="sum")
    with pytest.raises(UnknownNameError, match="unknown bn mode 'evil'; did you mean 'eval'"):
        ntk(network, images, output="sum", bn="evil")
    with pytest.raises(UnknownNameError, match="did you mean 'trace'"):
        ntk(network, images, output="traces", bn="eval")
    with pytest.raises(InvalidValueError, match=r"4.*a class in 0\.\.3"):
        ntk(network, images, output=4, bn="eval")
    with pytest.raises(UnknownNameError, match="did you mean 'fp32'"):
        ntk(network, images, precision="fp23", **good)
    with pytest.raises(UnknownNameError, match="engine"):
        ntk(network, images, engine="cuda", **good)
    with pytest.raises(InvalidValueError, match="torch for this network"):
        ntk(network, images, engine="native", precision="fp64", **good)
    with pytest.raises(InvalidValueError, match="budget_mib"):
        ntk(network, images, budget_mib=0, **good)
    with pytest.raises(InvalidValueError, match="images"):
        ntk(network, images[0], **good)
    with pytest.raises(InvalidValueError, match="shape of others"):
        ntk(network, images, images[:, :, :4, :4], **good)
    with pytest.raises(InvalidValueError, match="network"):
        ntk("resnet", images, **good)


def test_random_batch_is_deterministic() -> None:
    network, _ = make()
    images = torch.from_numpy(random_batch(SMALL, 4)[0])
    first, second = (ntk(network, images, output="trace", bn="batch_frozen") for _ in range(2))
    assert torch.equal(first, second)
