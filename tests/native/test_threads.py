"""Threads of the native engine: the same numbers, to the last bit, for any number of them, and faster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
from native_twins import needs_engine, random_batch, twins

from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.native import NativeNetwork, use_threads
from nasbench_robust.skeletons import Skeleton

pytestmark = needs_engine

# Training is shared out from 4096 values of a block in its first tensor on; 40 images are 3 blocks of 16, or 10 of 4.
SKELETON, WIDE, IMAGES = Skeleton(4, 1, 10, 3, 32), Skeleton(16, 1, 4, 1, 16), 40
CELLS = [int(index) for index in np.random.default_rng(0).choice(15625, 18, replace=False)] + [9930, 15624]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    yield
    use_threads(1)


def everything(network: NativeNetwork) -> bytes:
    """Return all that the engine computes with threads: passes, attacks and two steps of training."""
    images, labels = random_batch(network.skeleton, IMAGES)
    found: list[np.ndarray] = []
    for _ in range(2):
        network.fold()
        attacked = network.pgd(images, labels, np.full_like(images, 0.01), eps=0.1, step_size=0.05, steps=2)
        network.differentiate(attacked, labels)
        network.update(0.1, 0.9, 5e-4)
        found += [attacked, network.gradient.copy(), network.statistics.copy(), network.parameters.copy()]
    network.fold()
    found += network.logits_and_gradient(images, np.ones((IMAGES, network.skeleton.classes), np.float32))
    own = network.logits(images).argmax(axis=1)
    found += network.autoattack(images, own, eps=0.02, steps=2, queries=20, restarts=1, seed=3)
    return b"".join(each.tobytes() for each in found)


@pytest.mark.parametrize("index", CELLS)
def test_numbers_do_not_depend_on_the_number_of_threads(index):
    skeleton = WIDE if index % 2 else SKELETON
    found = []
    for threads in (1, 2, 3, 5):
        use_threads(threads)
        found.append(everything(twins(Cell.from_index(index), skeleton)[1]))
    assert found[1:] == found[:1] * 3


def logits_in_child(network: NativeNetwork, images: np.ndarray, queue: multiprocessing.Queue) -> None:
    queue.put(network.logits(images))


def test_process_that_was_forked_after_threads_worked_has_threads_too():
    network = twins(Cell.from_index(9930), SKELETON)[1]
    images, _ = random_batch(SKELETON, IMAGES)
    use_threads(2)
    expected = network.logits(images)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=logits_in_child, args=(network, images, queue), daemon=True)
    child.start()
    assert np.array_equal(queue.get(timeout=60), expected)
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_number_of_threads_is_checked(count):
    with pytest.raises(InvalidValueError, match="threads"):
        use_threads(count)
