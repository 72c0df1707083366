"""The same network twice, in torch and in the native engine, for the tests of the latter."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nasbench_robust.attacks import pgd
from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import OPERATIONS
from nasbench_robust.engines.native import NativeTrainer
from nasbench_robust.images import ArrayImages
from nasbench_robust.metrics import Attack
from nasbench_robust.native import NativeNetwork, is_available
from nasbench_robust.networks import Network, network_for
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.skeletons import Skeleton

DIGITS, CELL = settings_for("digits"), Cell.from_index(9930)

needs_engine = pytest.mark.skipif(not is_available(), reason="this installation has no native engine")

# Cells that a plan may get wrong: dead edges, aliases of nodes, nodes without inputs, outputs of nothing.
ODD_CELLS = {
    "all none": ["none"] * 6,
    "all skip": ["skip_connect"] * 6,
    "only the input": ["none", "none", "none", "skip_connect", "none", "none"],
    "edge from a node without inputs": ["none", "none", "none", "none", "nor_conv_1x1", "none"],
    "convolution after a node without inputs": ["none", "none", "nor_conv_3x3", "none", "none", "nor_conv_1x1"],
    "that and the input": ["none", "none", "nor_conv_3x3", "avg_pool_3x3", "skip_connect", "nor_conv_1x1"],
    "edge into a node without way out": ["nor_conv_3x3", "none", "none", "skip_connect", "none", "none"],
    "all edges but the last one dead": ["none", "none", "none", "none", "none", "nor_conv_3x3"],
    "pools of nothing": ["none", "none", "avg_pool_3x3", "none", "avg_pool_3x3", "avg_pool_3x3"],
    "alias of an alias": ["skip_connect", "none", "skip_connect", "nor_conv_3x3", "none", "skip_connect"],
    "three skips of one node": ["skip_connect", "skip_connect", "none", "skip_connect", "skip_connect", "skip_connect"],
    "one node read by all kinds": ["skip_connect", "nor_conv_1x1", "none", "nor_conv_3x3", "avg_pool_3x3", "none"],
}

LARGE_CELLS = {
    "heavy": Cell(["nor_conv_3x3"] * 6),
    "medium": Cell.from_index(9930),
    "light": Cell(["avg_pool_3x3", "skip_connect", "nor_conv_1x1", "skip_connect", "none", "avg_pool_3x3"]),
}

# Widths and sizes that fill, and that do not fill, the groups and tiles of the convolutions.
SKELETONS = [
    Skeleton(4, 1, 10, 1, 8),
    Skeleton(3, 2, 7, 3, 12),
    Skeleton(8, 1, 10, 3, 16),
    Skeleton(5, 1, 5, 1, 4),
    Skeleton(1, 2, 4, 2, 8),
]


def cells_to_compare(count: int) -> list[Cell]:
    """Return cells of one operation each, odd ones, and `count` random ones."""
    rng = np.random.default_rng(0)
    single = [Cell([operation] * 6) for operation in OPERATIONS]
    return single + [Cell(operations) for operations in ODD_CELLS.values()] + [Cell.sample(rng) for _ in range(count)]


def twins(cell: Cell, skeleton: Skeleton, seed: int = 0) -> tuple[Network, NativeNetwork]:
    """Return a network in float64 in torch, and in the engine, with batch normalisations as after training."""
    channels = skeleton.input_channels
    facts = {"mean": [0.3, 0.4, 0.5][:channels], "std": [0.37, 0.2, 0.3][:channels]}
    generator = torch.Generator().manual_seed(seed)
    network = Network(cell, skeleton, **facts, generator=generator)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
                module.running_mean.normal_(0, 0.3, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
    native = NativeNetwork(cell, skeleton, **facts)
    native.parameters[:] = flat(network.parameters())
    native.statistics[:] = flat(statistics_of(network))
    native.fold()
    return network.double(), native


def trained(settings: TrainingSettings, images: ArrayImages, seed: int = 0, cell: Cell = CELL) -> NativeTrainer:
    trainer = NativeTrainer(cell, settings, images, seed)
    while not trainer.finished:
        trainer.step()
    return trainer


def torch_twin(native: NativeNetwork, settings: TrainingSettings) -> Network:
    """Return the network of the engine in torch, in float64, with the normalisation of the settings' data set."""
    network = network_for(native.cell, settings.skeleton, settings.dataset, torch.Generator()).double()
    copy_to_torch(native, network)
    return network.eval()


def copy_to_torch(native: NativeNetwork, network: Network) -> None:
    copy_flat(native.parameters, network.parameters())
    copy_flat(native.statistics, statistics_of(network))


@torch.no_grad()
def copy_flat(values: np.ndarray, tensors: Iterable[torch.Tensor]) -> None:
    start = 0
    for tensor in tensors:
        tensor.copy_(torch.from_numpy(values[start : start + tensor.numel()].copy()).view_as(tensor))
        start += tensor.numel()
    assert start == len(values)


def statistics_of(network: Network) -> Iterator[torch.Tensor]:
    return (buffer for name, buffer in network.named_buffers() if "running" in name)


def flat(tensors: Iterator[torch.Tensor]) -> np.ndarray:
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy()


def random_batch(skeleton: Skeleton, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    images = rng.random((count, skeleton.input_channels, skeleton.image_size, skeleton.image_size), dtype=np.float32)
    return images, rng.integers(0, skeleton.classes, count)


# How far rounding to float32 may move an input of a ReLU, in any build of the engine.
AT_KINK = 4e-6


def smooth_batch(network: Network, skeleton: Skeleton, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a batch for which rounding to float32 moves no input of a ReLU across 0, where gradients jump."""
    while nearest_kink(network, random_batch(skeleton, count, seed)[0]) < AT_KINK:
        seed += 1000
    return random_batch(skeleton, count, seed)


def nearest_kink(network: Network, images: np.ndarray, modes: tuple[bool, ...] = (False, True)) -> float:
    """Return the smallest size of an input of a ReLU that is not 0, in eval and train mode; changes no statistic."""
    found = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor], _: object) -> None:
        sizes = inputs[0].abs()
        found.append(sizes[sizes > 0].min().item() if sizes.any() else np.inf)

    state = copy.deepcopy(network.state_dict())
    hooks = [module.register_forward_hook(watch) for module in network.modules() if isinstance(module, torch.nn.ReLU)]
    with torch.no_grad():
        for train in modes:
            network.train(train)(torch.from_numpy(images).double())
    for hook in hooks:
        hook.remove()
    network.load_state_dict(state)
    return min(found)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, as a share of the largest expected value."""
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12))


def pgd_from(network: Network, images, labels, noise, attack: Attack, monkeypatch) -> np.ndarray:
    """Return what torch's PGD makes of images whose random start is known."""
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", lambda empty, *_, **__: empty.copy_(torch.from_numpy(noise)))
        pixels = torch.from_numpy(images).double()
        return pgd(network, pixels, torch.from_numpy(labels), attack, torch.Generator()).numpy()


class SplitMix:
    """The engine's draws (Steele, Lea and Flood, OOPSLA 2014): the n-th is a function of a key and of n."""

    def __init__(self, key: int) -> None:
        self.key = key

    @classmethod
    def of(cls, *parts: int) -> SplitMix:
        """Return the draws of a seed, a part of AutoAttack, an attempt and an image."""
        key, *others = parts
        for other in others:
            key = cls(key)[other]
        return cls(key)

    def __getitem__(self, number: int) -> int:
        z = (self.key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    def units(self, count: int) -> np.ndarray:
        """Return floats in [0, 1)."""
        return np.array([self[number] >> 40 for number in range(count)]) / 2**24


def compare_eval(network: Network, native: NativeNetwork, images: np.ndarray) -> tuple[float, float]:
    """Return the errors of logits and input gradients."""
    slopes = np.random.default_rng(1).normal(size=(len(images), native.skeleton.classes)).astype(np.float32)
    logits, gradient = native.logits_and_gradient(images, slopes)
    pixels = torch.from_numpy(images).double().requires_grad_()
    expected = network.eval()(pixels)
    (expected_gradient,) = torch.autograd.grad((expected * torch.from_numpy(slopes)).sum(), pixels)
    assert np.array_equal(logits, native.logits(images))
    return (relative_error(logits, expected.detach().numpy()), relative_error(gradient, expected_gradient.numpy()))


def differentiate(network: Network, images: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """Do what `NativeNetwork.differentiate` does, in torch."""
    network.zero_grad()
    pixels = torch.from_numpy(images).to(network.classifier.weight.dtype)
    logits = network.train()(pixels)
    loss = F.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    return loss.item(), int((logits.detach().numpy().argmax(axis=1) == labels).sum())


def gradients_of(network: Network) -> np.ndarray:
    return flat(parameter.grad for parameter in network.parameters())
