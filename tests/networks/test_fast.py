"""The fast paths give what the network gives: in float64 to the last digits, for every kind of cell and skeleton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import as_trained, network_of, seeded
from native_twins import cells_to_compare
from torch.utils._python_dispatch import TorchDispatchMode

from nasbench_robust import metrics
from nasbench_robust.attacks import pgd
from nasbench_robust.attacks._fgsm import input_gradient
from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import Trainer, evaluate, train
from nasbench_robust.errors import UnknownNameError
from nasbench_robust.images import Split, TensorImages
from nasbench_robust.metrics import Metric
from nasbench_robust.networks import PATHS, Network, duplicate, make_path
from nasbench_robust.networks.fast import BatchNetwork, FoldedNetwork
from nasbench_robust.networks.fast.plan import sources_of
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton

TINY = Skeleton(channels=4, cells_per_stage=1, classes=10, input_channels=1, image_size=8)
SKELETONS = [TINY, Skeleton(3, 2, 7, 3, 12)]
CELL = Cell.from_index(9930)
QUICK = replace(
    settings_for("digits"), epochs=2, batch_size=64, attack=metrics.pgd(0.1, steps=2), evaluation=(metrics.fgsm(0.1),)
)


def make(cell: Cell, skeleton: Skeleton = TINY, dtype: torch.dtype = torch.float64) -> Network:
    return as_trained(network_of(cell, skeleton), cell.index).to(dtype)


def batch(skeleton: Skeleton, dtype: torch.dtype = torch.float64, count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded(5)
    shape = count, skeleton.input_channels, skeleton.image_size, skeleton.image_size
    labels = torch.randint(skeleton.classes, (count,), generator=generator)
    return torch.rand(shape, generator=generator, dtype=dtype), labels


def assert_equal(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-10) -> None:
    scale = max(1e-30, float(expected.detach().abs().max()))
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


# ------------------------------------------------------------------ what is shared


def test_what_leaves_a_node_is_computed_together() -> None:
    cell = Cell.from_str("|none~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|")
    zero, one, two = sources_of(cell)
    assert (zero.node, one.node, two.node) == (0, 1, 2)
    assert one.convolutions == ((4,), (2,))  # a convolution of zeros is not nothing
    assert (zero.skips, two.pools) == ((2,), (3,))
    renamed = Cell.from_str("|skip_connect~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|")
    (source,) = sources_of(renamed)
    assert (source.node, source.convolutions) == (0, ((3, 4, 5),))


# ------------------------------------------------------------------ eval mode


@pytest.mark.parametrize("skeleton", SKELETONS, ids=["grey", "colour"])
def test_folded_network_has_the_logits_and_input_gradients_of_the_network(skeleton: Skeleton) -> None:
    images, labels = batch(skeleton)
    for cell in cells_to_compare(60):
        network = make(cell, skeleton).eval()
        folded = FoldedNetwork(network)
        with torch.no_grad():
            assert_equal(folded(images), network(images))
        assert_equal(input_gradient(folded, images, labels), input_gradient(network, images, labels))
        assert all(parameter.grad is None for parameter in network.parameters())


def test_folded_network_follows_the_network_when_folded_again() -> None:
    network = make(CELL).eval()
    folded, (images, _) = FoldedNetwork(network), batch(TINY)
    before = network(images).detach()
    with torch.no_grad():
        for tensor in (*network.parameters(), *(each for name, each in network.named_buffers() if "running" in name)):
            tensor.mul_(1.1)
    with torch.no_grad():
        assert_equal(folded(images), before)
        folded.fold()
        assert_equal(folded(images), network(images))
    assert not torch.allclose(network(images), before)


def test_folded_network_leaves_mode_and_state_alone() -> None:
    network = make(CELL).train()
    folded = FoldedNetwork(network).eval()
    folded(batch(TINY)[0])
    assert network.training
    assert folded.state_dict() == {}
    assert not list(folded.parameters())


def test_bfloat16_is_near_and_keeps_logits_in_single_precision() -> None:
    network = make(CELL, SKELETONS[1], torch.float32).eval()
    images, labels = batch(SKELETONS[1], torch.float32)
    folded = FoldedNetwork(network, torch.bfloat16)
    logits, expected = folded(images), network(images)
    assert logits.dtype == torch.float32
    assert 1e-5 < (logits - expected).norm() / expected.norm() < 0.03
    found, wanted = (input_gradient(each, images, labels).flatten() for each in (folded, network))
    assert F.cosine_similarity(found, wanted, dim=0) > 0.95  # rounding flips ReLUs


def test_attack_from_equal_noise_finds_equal_images() -> None:
    images, labels = batch(SKELETONS[1])
    settings = metrics.pgd(8 / 255, steps=7, step_size=2 / 255)
    for cell in cells_to_compare(3):
        network = make(cell, SKELETONS[1]).eval()
        found, expected = (pgd(each, images, labels, settings, seeded(1)) for each in (FoldedNetwork(network), network))
        assert (found - expected).abs().max() < 1e-9


# ------------------------------------------------------------------ train mode


def take_steps(network: Network, module: torch.nn.Module, skeleton: Skeleton, steps: int) -> list[float]:
    """Take SGD steps as the trainer does, and return the losses."""
    images, labels = batch(skeleton)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-3)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        if isinstance(module, BatchNetwork):
            module.clear_idle_gradients()
        loss = F.cross_entropy(module(images), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def dead_statistics(cell: Cell) -> set[str]:
    """Ends of the names of running statistics on edges that cannot influence the output."""
    dead = [edge for edge, source in enumerate(cell.plan.reads) if source is None]
    return {f"edges.{edge}.2.running_{kind}" for edge in dead for kind in ("mean", "var")}


@pytest.mark.parametrize("skeleton", SKELETONS, ids=["grey", "colour"])
def test_training_step_is_that_of_the_network(skeleton: Skeleton) -> None:
    images, labels = batch(skeleton)
    for cell in cells_to_compare(50):
        plain, network = make(cell, skeleton).train(), make(cell, skeleton)
        fast = BatchNetwork(network)
        logits, expected = fast(images), plain(images)
        assert_equal(logits, expected)
        F.cross_entropy(logits, labels).backward()
        F.cross_entropy(expected, labels).backward()
        fast.clear_idle_gradients()
        largest = max(float(parameter.grad.abs().max()) for parameter in plain.parameters())
        for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-10 * largest)
        skipped = tuple(dead_statistics(cell))
        for (name, mine), theirs in zip(network.named_buffers(), plain.buffers(), strict=True):
            if not name.endswith(skipped):
                torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_several_steps_leave_the_state_of_the_network() -> None:
    for cell in cells_to_compare(10):
        plain, network = make(cell).train(), make(cell)
        losses = take_steps(network, BatchNetwork(network), TINY, 4)
        np.testing.assert_allclose(losses, take_steps(plain, plain, TINY, 4), rtol=1e-8)
        skipped = tuple(dead_statistics(cell))
        for (name, mine), theirs in zip(network.state_dict().items(), plain.state_dict().values(), strict=True):
            if not name.endswith(skipped):  # dead weights, which decay, are compared
                torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-8, msg=f"{cell}: {name}")


def test_single_precision_agrees_to_its_rounding() -> None:
    network, images = make(CELL, SKELETONS[1], torch.float32), batch(SKELETONS[1], torch.float32)[0]
    with torch.no_grad():
        assert_equal(FoldedNetwork(network)(images), duplicate(network).eval()(images), 1e-5)
        assert_equal(BatchNetwork(network)(images), duplicate(network).train()(images), 1e-4)


def test_bfloat16_update_keeps_parameters_and_gradients_in_single_precision() -> None:
    network = make(CELL, SKELETONS[1], torch.float32)
    images, labels = batch(SKELETONS[1], torch.float32)
    plain = duplicate(network).train()
    F.cross_entropy(BatchNetwork(network, torch.bfloat16)(images), labels).backward()
    F.cross_entropy(plain(images), labels).backward()
    found, expected = (torch.cat([each.grad.flatten() for each in n.parameters()]) for n in (network, plain))
    assert found.dtype == torch.float32
    assert F.cosine_similarity(found, expected, dim=0) > 0.9
    assert not torch.equal(found, expected)


# ------------------------------------------------------------------ the trainer


@pytest.fixture(scope="module")
def few(first_digits: Callable[[int], TensorImages]) -> TensorImages:
    return first_digits(200)


def in_double(images: TensorImages) -> TensorImages:
    splits = {name: getattr(images, name) for name in ("train", "test", "validation")}
    return replace(images, **{name: Split(split.pixels.double(), split.labels) for name, split in splits.items()})


def test_fast_training_is_plain_training(few: TensorImages) -> None:
    trainers = {path: Trainer(CELL, QUICK, in_double(few), seed=0, path=path) for path in ("plain", "fast")}
    for name, trainer in trainers.items():
        trainer.network.double()
        trainer._path = make_path(name, trainer.network)  # of the network in float64
        while not trainer.finished:
            trainer.step()
    plain, fast = trainers.values()
    for mine, theirs in zip(fast.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)
    for mine, theirs in zip(fast.curve, plain.curve, strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-9)
        assert replace(mine, train_loss=0.0) == replace(theirs, train_loss=0.0)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_learns_and_repeats_itself(path: str, few: TensorImages) -> None:
    settings = replace(QUICK, epochs=5, batch_size=25, attack=metrics.pgd(0.1, steps=1))
    network, curve = train(CELL, settings, few, seed=0, path=path)
    again, same = train(CELL, settings, few, seed=0, path=path)
    assert curve == same
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))
    assert curve[-1].train_loss < 0.95 * curve[0].train_loss


def test_evaluation_of_the_folded_network_counts_the_same_images(few: TensorImages) -> None:
    network = train(CELL, QUICK, few, seed=0)[0].double()
    wanted = [
        Metric("clean_acc"),
        Metric.of(metrics.fgsm(0.05)),
        Metric.of(replace(metrics.autoattack(0.02, steps=5), queries=50)),
    ]
    images, labels = few.test.pixels.double(), few.test.labels
    found, expected = (evaluate(each, images, labels, wanted, seeded(0)) for each in (FoldedNetwork(network), network))
    assert all(torch.equal(found[metric], expected[metric]) for metric in wanted)


WAITS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "_unique2")


class NoWaiting(TorchDispatchMode):
    """Fails where a GPU would have to finish before Python goes on: numbers that are read, shapes that are data."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masks = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)
        if name in WAITS or masks:
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("path", PATHS)
def test_no_step_waits_for_the_device(path: str, few: TensorImages) -> None:
    trainer = Trainer(CELL, QUICK, few, seed=0, path=path)
    with NoWaiting():
        for _ in range(3):
            assert trainer.step() is None
    assert trainer.step() is not None  # the fourth ends the epoch, and reads


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.sum() > 0),
        lambda x: x[x > 0.5],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0.5),
        lambda x: x.__setitem__(x > 0.5, x[0]),
    ],
    ids=["item", "bool", "mask", "nonzero", "masked_select", "assignment"],
)
def test_what_would_wait_is_noticed(wait: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting():
        wait(torch.rand(8))


def test_unknown_path_is_refused(few: TensorImages) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'fast'"):
        Trainer(CELL, QUICK, few, seed=0, path="fst")
