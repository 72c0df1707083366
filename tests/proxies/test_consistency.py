"""CRoZe against backward passes and loops, and what its parts owe."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import CONVOLUTIONS, MIXED, batch, layers, make, value

from nasbench_robust.cells import Cell
from nasbench_robust.networks import Network
from nasbench_robust.proxies.consistency import Trace, consistency, perturbed_copy, trace
from nasbench_robust.proxies.preparing import positive_copy
from nasbench_robust.skeletons import Skeleton


def croze_by_hand(network: Network) -> float:
    """CRoZe of a network with one cell per stage, by backward passes and loops."""
    images, labels = batch()
    clean = positive_copy(network)
    F.cross_entropy(clean(images), labels).backward()
    perturbed = positive_copy(network)
    with torch.no_grad():
        for layer, other in zip(layers(clean), layers(perturbed), strict=True):
            length = layer.weight.grad.norm()
            if length:
                other.weight += 2 * layer.weight.norm() * layer.weight.grad / length
    pixels = images.clone().requires_grad_()
    F.cross_entropy(perturbed(pixels), labels).backward()
    moved = (images + 0.01 * pixels.grad.sign()).clamp(0, 1)
    perturbed.zero_grad()
    F.cross_entropy(perturbed(moved), labels).backward()
    behind = [
        {name: run(net, name, given) for name in ("stem", "cells.1", "cells.3", "cells.4", "classifier")}
        for net, given in ((clean, images), (perturbed, moved))
    ]
    total = 0.0
    for (name, one), other in zip(clean.named_modules(), perturbed.modules(), strict=True):
        if not isinstance(one, (torch.nn.Conv2d, torch.nn.Linear)):
            continue
        place = {"cells.0": "cells.1", "cells.2": "cells.3"}.get(name[:7], name.split(".")[0])
        place = name[:7] if name[:7] in behind[0] else place
        features = sum(1 + c for c in cosines(behind[0][place], behind[1][place]))
        weights = sum(1 + c for c in cosines(one.weight.detach(), other.weight.detach()))
        total += features * weights * sum(abs(c) for c in cosines(one.weight.grad, other.weight.grad))
    return total


def run(network: Network, name: str, images: torch.Tensor) -> torch.Tensor:
    """Output of a module, or input of the classifier."""
    kept: list[torch.Tensor] = []
    module = network.get_submodule(name)
    hook = module.register_forward_hook(lambda _, given, out: kept.append(given[0] if name == "classifier" else out))
    with torch.no_grad():
        network(images)
    hook.remove()
    return kept[0]


def cosines(one: torch.Tensor, other: torch.Tensor) -> list[float]:
    """Cosines of the columns; 0 where one of them is zero."""
    found = []
    for a, b in zip(one.flatten(1).T.numpy(), other.flatten(1).T.numpy(), strict=True):
        lengths = math.sqrt(a @ a) * math.sqrt(b @ b)
        found.append(float(a @ b) / lengths if lengths else 0.0)
    return found


@pytest.mark.parametrize("cell", [MIXED, CONVOLUTIONS], ids=str)
def test_croze_by_backward_passes_and_loops(cell):
    network = make(cell)
    assert value("croze", network) == pytest.approx(croze_by_hand(network), rel=1e-6)


def test_consistency_is_symmetric_and_largest_for_the_same_network_on_the_same_images():
    (images, labels), clean = batch(), positive_copy(make())
    perturbed = perturbed_copy(clean, images, labels)
    same, other = trace(clean, images, labels), trace(perturbed, images, labels)
    assert consistency(same, other) == consistency(other, same)
    assert consistency(same, other) < consistency(same, same)
    columns = [(f[0].numel(), w[0].numel()) for f, w in zip(same.features, same.weights, strict=True)]
    assert consistency(same, same) == pytest.approx(sum(2 * f * 2 * w * w for f, w in columns), rel=1e-6)


def test_consistency_ignores_the_length_of_features_and_the_sign_of_gradients():
    one = trace(positive_copy(make()), *batch())
    other = Trace(one.weights, [-gradient for gradient in one.gradients], [3 * each for each in one.features])
    assert consistency(one, other) == pytest.approx(consistency(one, one), rel=1e-12)


def test_perturbed_weights_lie_twice_their_length_away_and_raise_the_loss():
    (images, labels), clean = batch(), positive_copy(make(CONVOLUTIONS))
    perturbed = perturbed_copy(clean, images, labels)
    for one, other in zip(layers(clean), layers(perturbed), strict=True):
        moved = (one.weight - other.weight).detach().norm()
        assert float(moved / one.weight.detach().norm()) == pytest.approx(2)
    assert F.cross_entropy(perturbed(images), labels) > F.cross_entropy(clean(images), labels)


def test_cells_of_a_deeper_stage_are_compared_as_in_the_published_program():
    skeleton = Skeleton(channels=2, cells_per_stage=2, classes=3, input_channels=2, image_size=8)
    cell = Cell(["none", "none", "none", "nor_conv_1x1", "none", "none"])
    found = trace(positive_copy(make(cell, skeleton)), *batch())
    sizes = [tuple(features.shape[1:]) for features in found.features]
    stem, second, third = (2, 8, 8), (4, 4, 4), (8, 2, 2)
    # Stem; cells of stage 1 and block; of stage 2 and block; of stage 3; classifier.
    assert sizes == [stem, stem, *[second] * 4, second, *[third] * 4, third, third, (8,)]
