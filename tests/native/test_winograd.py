"""Convolutions by minimal filtering, from 16 channels on: what torch in float64 computes, at every shape of a tile."""

from __future__ import annotations

import numpy as np
import pytest
from native_twins import compare_eval, differentiate, gradients_of, needs_engine, smooth_batch, twins

from nasbench_robust.cells import Cell
from nasbench_robust.skeletons import Skeleton

pytestmark = needs_engine

CONVOLUTIONS = Cell.from_str(
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
)
# Widths that are no multiple of the 4, 8 or 16 lanes and sums in registers; of images of 12 and 24 pixels the stages
# have 9 tiles and 36, 1 tile of 4 pixels or none at all.
SHAPES = [(16, 8), (16, 12), (17, 16), (19, 24), (32, 4)]


@pytest.mark.parametrize(("channels", "size"), SHAPES)
def test_passes_and_training_equal_torch(channels, size):
    skeleton = Skeleton(channels, 1, 10, 1, size)
    network, native = twins(CONVOLUTIONS, skeleton)
    images, labels = smooth_batch(network, skeleton, 6, seed=1)
    logits, gradient = compare_eval(network, native, images)
    assert logits < 1e-5
    assert gradient < 1e-5
    loss = differentiate(network, images, labels)[0]
    found, _ = native.differentiate(images, labels)
    assert found == pytest.approx(loss, rel=1e-5)
    exact = gradients_of(network)
    assert np.abs(native.gradient - exact).max() < 1e-3 * np.abs(exact).max()
