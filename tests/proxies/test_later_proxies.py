"""The proxies that came later, each against an independent derivation in double precision."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from helpers import seeded
from tiny_networks import CONVOLUTIONS, MIXED, TINY, batch, layers, make, value

from nasbench_robust.cells import Cell
from nasbench_robust.errors import UncomputableScoreError
from nasbench_robust.networks import Network
from nasbench_robust.proxies import PROXIES, score, scores
from nasbench_robust.proxies.features import AZ_IMAGES

IDENTITY = Cell(["none", "none", "none", "skip_connect", "none", "none"])  # the output is the input
POOLING = Cell(["none", "none", "none", "avg_pool_3x3", "none", "none"])
Matrix = npt.NDArray[np.float64]


def test_l2_norm_sums_the_lengths_of_the_weights():
    network = make(CONVOLUTIONS)
    expected = sum(math.sqrt(float((layer.weight.detach() ** 2).sum())) for layer in layers(network))
    assert value("l2_norm", network) == pytest.approx(expected, rel=1e-12)


# ---------------------------------------------------------------------- ZiCo


@pytest.mark.parametrize("cell", [MIXED, CONVOLUTIONS], ids=str)
def test_zico_weight_by_weight(cell):
    network, (images, labels) = make(cell), batch(7)
    halves = []
    for chosen in (slice(0, 4), slice(4, 7)):
        mine = deepcopy(network).train()
        F.cross_entropy(mine(images[chosen]), labels[chosen]).backward()
        halves.append([layer.weight.grad.flatten().tolist() for layer in layers(mine)])
    expected = 0.0
    for first, second in zip(*halves, strict=True):
        ratios = [
            (abs(g) + abs(h)) / 2 / math.sqrt(((g - (g + h) / 2) ** 2 + (h - (g + h) / 2) ** 2) / 2)
            for g, h in zip(first, second, strict=True)
            if g != h
        ]
        expected += math.log(sum(ratios)) if ratios else 0.0
    assert value("zico", network, count=7) == pytest.approx(expected, rel=1e-6)  # differences of gradients cancel


def test_zico_leaves_out_what_no_image_reaches():
    """Edges without influence have no gradient, whatever their weights are."""
    network = make(Cell(["nor_conv_3x3", "none", "none", "nor_conv_1x1", "none", "none"]))
    before = value("zico", network)
    with torch.no_grad():
        network.cells[0].edges[0][1].weight.mul_(2)
    assert value("zico", network) == before


def test_zico_has_no_value_where_both_halves_are_the_same():
    images, labels = batch(4)
    images[2:], labels[2:] = images[:2], labels[:2]
    with pytest.raises(UncomputableScoreError, match="both halves of the images are the same"):
        score(make(), images, labels, "zico", seeded())


# ---------------------------------------------------------------------- EPE-NAS


def correlations_by_class(network: Network, images: torch.Tensor, labels: torch.Tensor) -> list[Matrix]:
    """Jacobians by a loop over logits, centred and scaled by hand, those of one class against each other."""
    std, mine = np.array([0.4, 0.2]).repeat(64), network.train()
    rows = np.zeros((len(images), 128))
    for n in range(len(images)):
        pixels = images.clone().requires_grad_()
        mine(pixels)[n].sum().backward()
        rows += pixels.grad.flatten(1).numpy() * std
    centred = rows - rows.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return [
        np.atleast_2d(scaled[labels == label] @ scaled[labels == label].T) for label in sorted(set(labels.tolist()))
    ]


def test_epe_nas_with_few_classes():
    network, (images, labels) = make(), batch(8)
    labels[0], labels[labels == 0] = 0, 1  # a class with one image
    labels[0] = 0
    assert sorted((labels == label).sum() for label in set(labels.tolist()))[0] == 1
    expected = 0.0
    for correlation in correlations_by_class(network, images, labels):
        expected += abs(sum(math.log(abs(entry) + 1e-5) for entry in correlation.flat))
    assert score(network, images, labels, "epe_nas", seeded()) == pytest.approx(expected, rel=1e-8)


def test_epe_nas_with_many_classes_compares_them():
    network = make(skeleton=replace(TINY, classes=101))
    images, _ = batch(8)
    labels = torch.tensor([7, 7, 3, 3, 3, 100, 0, 7])  # two classes of one image, which do not count
    kept = [each for each in correlations_by_class(network, images, labels) if len(each) > 1]
    sums = [sum(math.log(abs(entry) + 1e-5) for entry in each.flat) / len(each) for each in kept]
    expected = 2 * abs(sums[0] - sums[1]) / 2
    assert len(sums) == 2
    assert score(network, images, labels, "epe_nas", seeded()) == pytest.approx(expected, rel=1e-8)


def test_epe_nas_needs_two_images_of_a_class():
    images, _ = batch(3)
    with pytest.raises(UncomputableScoreError, match="no class has two images"):
        score(make(), images, torch.tensor([2, 0, 1]), "epe_nas", seeded())


# ---------------------------------------------------------------------- SWAP


@pytest.mark.parametrize("count", [4, 20, 70])  # up to 64 images a pattern is one number
def test_swap_counts_patterns_as_strings(count):
    network, (images, _) = make(CONVOLUTIONS).train(), batch(count)
    seen: set[str] = set()

    def note(_: torch.nn.Module, inputs: tuple[torch.Tensor], __: torch.Tensor) -> None:
        for neuron in inputs[0].flatten(1).T.tolist():
            seen.add("".join("1" if unit > 0 else "0" for unit in neuron))

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, torch.nn.ReLU)]
    network(images)
    for hook in hooks:
        hook.remove()
    assert value("swap", network, count=count) == len(seen)
    assert 1 < len(seen) <= 2**count


# ---------------------------------------------------------------------- features of Gaussian images


def pixels_of(images: torch.Tensor, network: Network) -> torch.Tensor:
    """Pixels that are these images once they are normalised."""
    return images * network.normalise.std + network.normalise.mean


def outputs_of(network: Network, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Outputs of all modules by name, in one pass through the whole network, with the graph."""
    found: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: found.setdefault(name, out))
        for name, module in network.named_modules()
    ]
    network(pixels_of(images, network))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("cell", [MIXED, CONVOLUTIONS, POOLING], ids=str)
def test_meco_is_a_sum_over_all_modules_with_feature_maps(cell):
    network = make(cell).train()
    image = torch.empty(1, 2, 8, 8).normal_(generator=seeded(7)).double()
    expected, counted = 0.0, 0
    for name, output in outputs_of(network, image).items():
        if name in ("", "normalise", "cells", "classifier"):
            continue
        rows = output[0].detach().flatten(1).numpy()
        varies = rows.std(axis=1) > 0
        matrix = np.zeros((len(rows), len(rows)))
        matrix[np.ix_(varies, varies)] = np.corrcoef(rows[varies]) if varies.any() else 0
        expected += min(np.linalg.eigvals(matrix).real)
        counted += 1
    assert counted > 20
    assert value("meco", network) == pytest.approx(expected, rel=1e-8)


def redrawn(network: Network) -> tuple[Network, list[torch.Tensor], torch.Generator]:
    """The network with Kaiming's weights, images, and the generator that goes on to draw signs."""
    mine, generator = deepcopy(network).train(), seeded(7)
    with torch.no_grad():
        for module in mine.modules():
            if isinstance(module, torch.nn.Conv2d):
                drawn = torch.empty(module.weight.shape).normal_(generator=generator)
                fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
                module.weight.copy_(drawn * math.sqrt(2 / fan_in))
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.reset_parameters()
    images = torch.empty(AZ_IMAGES, 2, 8, 8).normal_(generator=generator).double()
    outputs = outputs_of(mine, images)
    return mine, [outputs[name] for name in ("stem", *(f"cells.{block}" for block in range(5)))], generator


@pytest.mark.parametrize("cell", [MIXED, CONVOLUTIONS, POOLING], ids=str)
def test_parts_of_az_nas_by_singular_values_and_loops(cell):
    network = make(cell)
    _, features, generator = redrawn(network)
    entropies = []
    for each in features:
        rows = each.detach().permute(0, 2, 3, 1).reshape(-1, each.shape[1]).numpy()
        squares = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
        shares = squares / squares.sum()
        entropies.append(-sum(share * math.log(share + 1e-8) for share in shares))
    passing = []
    for inputs, outputs in pairwise(features):
        signs = torch.empty(outputs.shape).normal_(generator=generator).sign().double()
        (passed,) = torch.autograd.grad(outputs, inputs, signs, retain_graph=True)
        step, total = inputs.shape[2] // outputs.shape[2], np.zeros((0, outputs.shape[1]))
        for row in range(step):
            for column in range(step):
                part = passed[:, :, row::step, column::step]
                total = np.vstack([total, torch.einsum("nihw,nohw->io", part, signs).numpy()])
        norm = math.sqrt(max(np.linalg.eigvalsh(total.T @ total))) / (signs.numel() / signs.shape[1])
        passing.append(-norm - 1 / (norm + 1e-6) + 2)
    expected = {
        "az_expressivity": sum(entropies),
        "az_progressivity": min(np.diff(entropies)),
        "az_trainability": np.mean(passing),
    }
    for name, number in expected.items():
        assert value(name, network) == pytest.approx(number, rel=1e-6), name


def test_parts_of_az_nas_are_made_in_one_pass(monkeypatch):
    passes: list[int] = []
    from nasbench_robust.proxies import features

    made = features.az_nas
    monkeypatch.setattr(features, "az_nas", lambda *given: passes.append(1) or made(*given))
    names = [name for name in PROXIES if name.startswith("az_")]
    rows = scores(make(), *batch(), [*names, "params"], generator=seeded(7))
    assert len(passes) == 1
    assert len({row.seconds for row in rows[:3]}) == 1
    for row in rows[:3]:
        assert row.value == value(row.score, make())


def test_a_block_that_does_nothing_has_no_trainability_but_the_other_parts():
    rows = scores(make(IDENTITY), *batch(), [name for name in PROXIES if "az" in name], generator=seeded())
    found = {row.score: row.failure for row in rows}
    unchanged = "a block passes gradients on unchanged"
    assert found == {"az_expressivity": None, "az_progressivity": None, "az_trainability": unchanged}


@pytest.mark.parametrize("name", ["az_expressivity", "az_progressivity", "az_trainability"])
def test_parts_of_az_nas_do_not_depend_on_the_weights(name):
    assert value(name, make(seed=0)) == value(name, make(seed=1))
