"""What the native engine refuses, and that its memory is not let go while somebody looks at it."""

from __future__ import annotations

import copy
import gc
import pickle

import numpy as np
import pytest
from native_twins import SKELETONS, needs_engine, random_batch, twins

from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.native import NativeNetwork
from nasbench_robust.skeletons import Skeleton

pytestmark = needs_engine

SKELETON = SKELETONS[0]
IMAGES, LABELS = random_batch(SKELETON, 5)
STEP = {"eps": 0.1, "step_size": 0.1, "steps": 1}
BUDGET = {"eps": 0.1, "steps": 1, "queries": 1, "restarts": 1, "seed": 0}


@pytest.fixture(scope="module")
def native() -> NativeNetwork:
    return twins(Cell.from_index(9930), SKELETON)[1]


def with_pixel(value: float) -> np.ndarray:
    images = IMAGES.copy()
    images[2, 0, 3, 3] = value
    return images


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda n: n.logits(IMAGES[:, :, :4]), "the shape of images is"),
        (lambda n: n.logits(IMAGES[0]), "the shape of images is"),
        (lambda n: n.logits(IMAGES.repeat(3, axis=1)), "the shape of images is"),
        (lambda n: n.logits(with_pixel(np.nan)), "the range of images is 'nan..nan'"),
        (lambda n: n.logits(with_pixel(np.inf)), r"the range of images is '.*\.\.inf'"),
        (lambda n: n.differentiate(with_pixel(np.nan), LABELS), "the range of images is 'nan..nan'"),
        (lambda n: n.logits_and_gradient(IMAGES, np.ones((4, 10), np.float32)), "the shape of logit_gradient is"),
        (lambda n: n.logits_and_gradient(IMAGES, np.ones(50, np.float32)), "the shape of logit_gradient is"),
        (lambda n: n.pgd(IMAGES, LABELS, IMAGES[:3], **STEP), "the shape of noise is"),
        (lambda n: n.pgd(IMAGES, LABELS[:4], None, **STEP), "labels is"),
        (lambda n: n.pgd(IMAGES, LABELS + 10, None, **STEP), r"expected 5 classes in 0\.\.9"),
        (lambda n: n.pgd(IMAGES, LABELS - 10, None, **STEP), "labels is"),
        (lambda n: n.pgd(IMAGES, LABELS + 2**32, None, **STEP), "labels is"),
        (lambda n: n.differentiate(IMAGES, LABELS[:, None]), "labels is"),
        (lambda n: n.differentiate(IMAGES[:0], LABELS[:0]), "more than one value per channel"),
        (lambda n: n.autoattack(IMAGES, LABELS[::2], **BUDGET), "labels is"),
        (lambda n: n.autoattack(IMAGES, LABELS, **{**BUDGET, "queries": -1}), "queries is -1"),
        (lambda n: n.autoattack(IMAGES, LABELS, **{**BUDGET, "steps": 0}), "steps is 0"),
        (lambda n: n.autoattack(IMAGES, LABELS, **{**BUDGET, "restarts": 2**40}), "restarts is"),
    ],
)
def test_bad_input_is_refused(native, ask, message):
    with pytest.raises(InvalidValueError, match=message):
        ask(native)


def test_wrong_number_of_means_is_refused():
    with pytest.raises(InvalidValueError, match=r"mean is \[0, 0\], expected 1 value"):
        NativeNetwork(Cell.from_index(0), SKELETON, mean=[0, 0], std=[1])
    with pytest.raises(InvalidValueError, match="std is"):
        NativeNetwork(Cell.from_index(0), SKELETON, mean=[0], std=[1, 1])


def test_one_value_per_channel_cannot_be_normalised():
    _, smallest = twins(Cell.from_index(9930), Skeleton(2, 1, 4, 1, 4))
    images, labels = random_batch(smallest.skeleton, 2)
    smallest.differentiate(images, labels)
    with pytest.raises(InvalidValueError, match="more than one value per channel"):
        smallest.differentiate(images[:1], labels[:1])


def test_arrays_of_other_kinds_and_layouts_mean_the_same(native):
    expected, gradient = native.logits_and_gradient(IMAGES, np.ones((5, 10), np.float32))
    mirrored = np.asfortranarray(IMAGES.astype(np.float64))
    logits, other = native.logits_and_gradient(mirrored, np.ones((10, 5)).T)
    assert np.array_equal(logits, expected)
    assert np.array_equal(other, gradient)
    short = native.pgd(IMAGES, LABELS.astype(np.int8), None, **STEP)
    assert np.array_equal(short, native.pgd(IMAGES, LABELS.tolist(), None, **STEP))


def test_inputs_are_left_alone(native):
    images, labels = IMAGES.copy(), LABELS.copy()
    native.autoattack(images, labels, **BUDGET)
    native.pgd(images, labels, np.zeros_like(images), **STEP)
    native.differentiate(images, labels)
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_nothing_gives_nothing(native):
    assert native.logits(IMAGES[:0]).shape == (0, 10)
    assert native.pgd(IMAGES[:0], LABELS[:0], None, **STEP).shape == (0, 1, 8, 8)


def test_arrays_keep_their_network():
    parameters = twins(Cell.from_index(9930), SKELETON)[1].parameters
    before = parameters.copy()
    gc.collect()
    others = [twins(Cell.from_index(9930), SKELETON, seed)[1] for seed in range(3)]  # would take its memory
    assert np.array_equal(parameters, before)
    assert len(others) == 3


def test_network_is_not_copied_by_its_address(native):
    for duplicate in (copy.copy, copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))):
        again, before = duplicate(native), native.parameters.copy()
        for name in ("parameters", "gradient", "momentum", "statistics"):
            assert np.array_equal(getattr(again, name), getattr(native, name))
        again.parameters[:] = 0
        assert np.array_equal(native.parameters, before)


def test_networks_are_freed():
    resource = pytest.importorskip("resource")

    def grow() -> int:
        for _ in range(30):
            NativeNetwork(Cell.from_index(9930), Skeleton(16, 1, 10, 3, 32), mean=[0.5] * 3, std=[1] * 3)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    first = grow()
    assert grow() < first * 1.1
