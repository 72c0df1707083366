"""The engine's Square attack skips queries whose answers it knows: its result is that of the search that skips none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from native_twins import SplitMix, needs_engine, random_batch, twins

from nasbench_robust.attacks._square import share_of_pixels
from nasbench_robust.cells import Cell
from nasbench_robust.native import NativeNetwork
from nasbench_robust.skeletons import Skeleton

pytestmark = needs_engine

PART = 3  # of AutoAttack


class PlainSearch:
    """Random search over squares on one image, query by query."""

    def __init__(self, native: NativeNetwork, image: np.ndarray, label: int, eps: float, draws: SplitMix) -> None:
        self.native, self.label, self.draws = native, label, draws
        self.low = np.maximum(image - np.float32(eps), np.float32(0))
        self.high = np.minimum(image + np.float32(eps), np.float32(1))

    def run(self, queries: int) -> np.ndarray | None:
        """Return a misclassified image, or None."""
        channels, size, _ = self.low.shape
        stripes = SplitMix(~self.draws.key % 2**64)
        up = np.array([[stripes[c * size + x] >> 63 for x in range(size)] for c in range(channels)], bool)
        point = np.where(up[:, None, :], self.high, self.low)
        least, fooled = self.ask(point)
        query = 0
        while not fooled and (query := query + 1) < queries:
            candidate = self.with_square(point, query, queries)
            margin, fooled = self.ask(candidate)
            if margin < least or fooled:
                point, least = candidate, margin
        return point if fooled else None

    def with_square(self, point: np.ndarray, query: int, queries: int) -> np.ndarray:
        channels, size, _ = point.shape
        side = max(1, round(math.sqrt(share_of_pixels(query, queries) * size * size)))
        span = size - side + 1
        move = self.draws[query] % (span * span << channels)
        row, column = divmod(move >> channels, span)
        candidate = point.copy()
        for channel in range(channels):
            inside = channel, slice(row, row + side), slice(column, column + side)
            candidate[inside] = (self.high if move >> channel & 1 else self.low)[inside]
        return candidate

    def ask(self, image: np.ndarray) -> tuple[np.float32, bool]:
        logits = self.native.logits(image[None])[0]
        return logits[self.label] - np.delete(logits, self.label).max(), bool(logits.argmax() != self.label)


def masked(cell: Cell, skeleton: Skeleton, shift: float) -> NativeNetwork:
    """Return a network with large flat regions, where gradients are 0 and only Square finds a way."""
    _, native = twins(cell, skeleton, seed=5)
    last = skeleton.widths[-1]
    linear = (last + 1) * skeleton.classes
    native.parameters[-linear - last : -linear] = shift  # of the last batch normalisation, before its ReLU
    native.parameters[-linear : -skeleton.classes] *= 20
    native.fold()
    return native


@pytest.mark.parametrize(
    ("index", "skeleton", "shift", "eps"),
    [
        (9930, Skeleton(2, 1, 5, 1, 8), -2, 0.4),
        (9930, Skeleton(3, 1, 4, 3, 4), -1, 0.2),
        (2581, Skeleton(2, 1, 10, 2, 4), -1, 0.2),
    ],
)
@pytest.mark.parametrize(("queries", "restarts"), [(1, 1), (2, 1), (60, 2), (400, 1)])
def test_skipping_changes_nothing(index, skeleton, shift, eps, queries, restarts):
    native = masked(Cell.from_index(index), skeleton, shift)
    images, _ = random_batch(skeleton, 70, seed=1)
    images[::7] = np.round(images[::7])  # black and white: one bound of a pixel is the pixel itself
    labels = native.logits(images).argmax(axis=1)
    budget = {"eps": eps, "steps": 1, "queries": queries, "restarts": restarts, "seed": 11}
    survivors, found = native.autoattack(images, labels, **budget)
    for image in np.flatnonzero(survivors[3]):
        for attempt in range(restarts):
            draws = SplitMix.of(11, PART, attempt, int(image))
            point = PlainSearch(native, images[image], labels[image], eps, draws).run(queries)
            if point is not None:
                break
        assert survivors[4, image] == (point is None)
        assert np.array_equal(found[image], images[image] if point is None else point)
    if queries == 400:
        assert (survivors[3] & ~survivors[4]).sum() > 2
        assert survivors[4].any()
