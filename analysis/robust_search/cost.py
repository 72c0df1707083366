"""What a search costs beside the training of a cell of the table, in floating-point operations that are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nasbench_robust.cells import Cell, operation_counts, representatives
from nasbench_robust.engines.torch import Trainer
from nasbench_robust.images import TensorImages
from nasbench_robust.networks import OperationCounter
from nasbench_robust.search.supernet import BilevelSearch, SearchSettings
from nasbench_robust.settings import settings_for

DRAWN_STEPS = 50  # counted where every step draws other operations
COUNTED_IMAGES = 4  # of a step of training


def flops_of_search(settings: SearchSettings, images: TensorImages) -> float:
    """Return the operations of all steps of a search, counted on its first."""
    search = BilevelSearch(settings, images, 0)
    steps = DRAWN_STEPS if search.method.samples else 1
    with OperationCounter() as counter:
        for _ in range(steps):
            search.step()
    return counter.flops / steps * search.steps_per_epoch * settings.epochs


def flops_of_training(images: TensorImages) -> float:
    """Return the operations of adversarially training a cell of the table, the mean over its cells.

    Counted on a small step of one cell; steps of more images, and of other cells in a forward pass, are in proportion.
    """
    settings = settings_for(images.name)
    counted = Cell.from_index(1462)  # convolutions on all edges
    with OperationCounter() as counter:
        Trainer(counted, replace(settings, batch_size=COUNTED_IMAGES), images, 0).step()
    steps = settings.epochs * len(images.train.labels) / COUNTED_IMAGES
    everything = np.unique(representatives())
    forward = settings.skeleton.flops(
        *(operation_counts(name)[everything] for name in ("nor_conv_1x1", "nor_conv_3x3"))
    )
    return float(counter.flops * steps * forward.mean() / counted.flops(settings.skeleton))
