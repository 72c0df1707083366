"""The native engine computes what `networks.Network` computes: logits, gradients, statistics, training steps."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from native_twins import (
    AT_KINK,
    DIGITS,
    SKELETONS,
    cells_to_compare,
    compare_eval,
    copy_flat,
    copy_to_torch,
    differentiate,
    flat,
    gradients_of,
    nearest_kink,
    needs_engine,
    pgd_from,
    random_batch,
    relative_error,
    smooth_batch,
    statistics_of,
    torch_twin,
    twins,
)

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import EDGES
from nasbench_robust.engines.native import NativeTrainer
from nasbench_robust.engines.native.training import one_cycle
from nasbench_robust.images import load_arrays

pytestmark = needs_engine

LEARNED = Cell.from_index(9930)
COUNTS = (2, 17, 33)  # not multiples of the 4, 8 or 16 lanes
# In eval mode the engine is torch in float64 up to rounding. Gradients in train mode can be ill-conditioned, where
# batch normalisation divides by the deviation of few values: they must be about as good as torch's own in float32.
ROUNDING, FACTOR = 1e-5, 30
# The deviation of equal values is 0, and not quite 0 where their mean is a sum of hundreds of them in float32, which is
# then divided by the square root of 1e-5. Torch sums in float64 here.
EQUAL_VALUES = 5e-2


def has_equal_values(cell: Cell) -> bool:
    """Return whether a convolution starts at a node that does not depend on the image."""
    depends = [True, False, False, False]
    for (source, target), operation in zip(EDGES, cell.operations, strict=True):
        depends[target] |= operation != "none" and depends[source]
    edges = zip(EDGES, cell.operations, strict=True)
    return any("conv" in operation and not depends[source] for (source, _), operation in edges)


@pytest.mark.parametrize("skeleton", SKELETONS, ids=str)
def test_passes_equal_those_of_torch(skeleton):
    for number, cell in enumerate(cells_to_compare(40 if skeleton.image_size <= 8 else 12)):
        network, native = twins(cell, skeleton, seed=number)
        single = copy.deepcopy(network).float()
        images, labels = smooth_batch(network, skeleton, COUNTS[number % 3], seed=number)
        logits, gradient = compare_eval(network, native, images)
        assert logits < ROUNDING, (cell, logits)
        assert gradient < ROUNDING, (cell, gradient)

        before, drift = native.statistics.copy(), EQUAL_VALUES if has_equal_values(cell) else 0.0
        loss, right = differentiate(network, images, labels)
        differentiate(single, images, labels)
        assert native.differentiate(images, labels) == (pytest.approx(loss, rel=max(1e-4, drift)), right), cell
        expected, given = gradients_of(network), gradients_of(single)
        limit = max(ROUNDING, FACTOR * relative_error(given, expected), drift)
        assert relative_error(native.gradient, expected) < limit, cell
        updated = native.statistics != before  # not those on edges that cannot matter
        expected, given = flat(statistics_of(network))[updated], flat(statistics_of(single))[updated]
        limit = max(ROUNDING, FACTOR * relative_error(given, expected), drift)
        assert relative_error(native.statistics[updated], expected) < limit, cell


def test_statistics_of_edges_that_matter_are_updated():
    _, native = twins(Cell(["nor_conv_3x3"] * 6), SKELETONS[0])
    before = native.statistics.copy()
    native.differentiate(*random_batch(SKELETONS[0], 17))
    assert (native.statistics != before).all()


def test_disconnected_network_has_zero_gradient_and_equal_logits():
    for index in (10, 12, 74, 172, 879):
        _, native = twins(Cell.from_index(index), SKELETONS[0])
        images, _ = random_batch(SKELETONS[0], 5)
        logits, gradient = native.logits_and_gradient(images, np.ones((5, 10), np.float32))
        assert (logits == logits[0]).all()
        assert not gradient.any()


def test_an_image_is_alone_in_eval_mode():
    _, native = twins(LEARNED, SKELETONS[0])
    images, _ = random_batch(SKELETONS[0], 40)
    slopes = np.random.default_rng(1).normal(size=(40, 10)).astype(np.float32)
    whole = native.logits_and_gradient(images, slopes)
    for part in (slice(0, 1), slice(3, 20), slice(39, 40)):
        alone = native.logits_and_gradient(images[part], slopes[part])
        assert all(np.array_equal(one[part], other) for one, other in zip(whole, alone, strict=True))


def test_results_do_not_depend_on_what_was_computed_before():
    _, native = twins(LEARNED, SKELETONS[0])
    _, fresh = twins(LEARNED, SKELETONS[0])
    images, labels = random_batch(SKELETONS[0], 33)
    native.logits_and_gradient(images, np.ones((33, 10), np.float32))
    for count in (33, 20, 2, 33):  # other numbers of blocks, and other lanes of the last one
        native.differentiate(images[:count], labels[:count])
    native.statistics[:] = fresh.statistics
    assert native.differentiate(images[:18], labels[:18]) == fresh.differentiate(images[:18], labels[:18])
    assert np.array_equal(native.gradient, fresh.gradient)
    assert np.array_equal(native.statistics, fresh.statistics)


def test_update_is_that_of_torch():
    _, native = twins(LEARNED, SKELETONS[0])
    weights = torch.nn.Parameter(torch.from_numpy(native.parameters.copy()))
    optimiser = torch.optim.SGD([weights], lr=1, momentum=0.9, weight_decay=5e-4)
    rng = np.random.default_rng(0)
    for rate, momentum in ((0.1, 0.95), (0.3, 0.85), (0.01, 0.9)):
        native.gradient[:] = rng.normal(size=native.gradient.shape)
        weights.grad = torch.from_numpy(native.gradient.copy())
        optimiser.param_groups[0].update(lr=rate, momentum=momentum)
        optimiser.step()
        native.update(rate, momentum, 5e-4)
        np.testing.assert_allclose(native.parameters, weights.detach().numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(native.momentum, optimiser.state[weights]["momentum_buffer"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("skeleton", SKELETONS[:2], ids=str)
def test_full_step_equals_that_of_torch(skeleton, monkeypatch):
    attack = metrics.pgd(0.1, steps=3)
    for number, cell in enumerate(cells_to_compare(10)):
        network, native = twins(cell, skeleton, seed=number)
        images, labels = smooth_batch(network, skeleton, 17, seed=number)
        noise = np.random.default_rng(number).uniform(-0.1, 0.1, images.shape).astype(np.float32)
        found = native.pgd(images, labels, noise, eps=0.1, step_size=attack.step_size, steps=3)
        native.differentiate(found, labels)
        native.update(0.05, 0.9, 5e-4)
        expected = pgd_from(network.eval(), images, labels, noise, attack, monkeypatch)
        # A pixel whose gradient is 0 up to rounding may go either way.
        assert (np.abs(found - expected) > 1e-5).mean() < 0.02, cell
        differentiate(network, found, labels)
        torch.optim.SGD(network.parameters(), lr=0.05, weight_decay=5e-4).step()
        # Adversarial images may lie at kinks.
        assert relative_error(native.parameters, flat(network.parameters())) < 2e-3, cell


@pytest.mark.parametrize("index", [9930, 2581, 1462, 11472])
def test_epoch_of_digits_equals_that_of_torch(index):
    trainer = NativeTrainer(Cell.from_index(index), DIGITS, load_arrays("digits"), seed=0)
    native, network, attack = trainer.network, torch_twin(trainer.network, DIGITS), DIGITS.attack
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=DIGITS.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=DIGITS.max_lr, total_steps=20 * 32)
    rates, momenta = one_cycle(DIGITS.max_lr, 20 * 32)
    kinks = 0
    for step, (batch, labels, noise) in enumerate(trainer._batches()):
        native.fold()
        seen = native.pgd(batch, labels, noise, eps=attack.eps, step_size=attack.step_size, steps=attack.steps)
        at_kink = nearest_kink(network, seen, modes=(True,)) < AT_KINK
        loss, _ = native.differentiate(seen, labels)
        native.update(rates[step], momenta[step], DIGITS.weight_decay)
        expected, _ = differentiate(network, seen, labels)
        optimiser.step()
        schedule.step()
        assert loss == pytest.approx(expected, rel=1e-5)
        if at_kink:  # a ReLU may pass a gradient in one of them only: go on from the same weights
            kinks += 1
            copy_to_torch(native, network)
            momentum = (optimiser.state[parameter]["momentum_buffer"] for parameter in network.parameters())
            copy_flat(native.momentum, momentum)
        assert np.abs(native.parameters - flat(network.parameters())).max() < 5e-6
    assert step == 31
    assert kinks < 16
