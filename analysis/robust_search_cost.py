"""What a search costs beside the training of a cell of the table, in floating-point operations that are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nasbench_robust.cells import Cell, operation_counts, representatives
from nasbench_robust.images import Images
from nasbench_robust.search.bilevel import BilevelSearch
from nasbench_robust.search.search_settings import SearchSettings
from nasbench_robust.settings import settings_for
from nasbench_robust.training import Trainer

__all__ = ["flops_of_search", "flops_of_training"]

DRAWN_STEPS = 50  # counted where every step draws other operations


class Counter(TorchDispatchMode):
    """Counts operations; torch's own FlopCounterMode fails where gradients are taken with respect to images."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it, if it is a convolution or a product of matrices."""
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def flops_of_search(settings: SearchSettings, images: Images) -> float:
    """Return the operations of all steps of a search, counted on its first."""
    search = BilevelSearch(settings, images, 0)
    steps = DRAWN_STEPS if search.method.samples else 1
    with Counter() as counter:
        for _ in range(steps):
            search.step()
    return counter.total / steps * search.steps_per_epoch * settings.epochs


def flops_of_training(images: Images) -> float:
    """Return the operations of adversarially training a cell of the table, the mean over its cells.

    Counted on the first step of one cell; those of the others are in proportion to a forward pass.
    """
    settings = settings_for(images.name)
    counted = Cell.from_index(1462)  # convolutions on all edges
    with Counter() as counter:
        Trainer(counted, settings, images, 0).step()
    steps = settings.epochs * -(-len(images.train_labels) // settings.batch_size)
    everything = np.unique(representatives())
    forward = settings.skeleton.flops(
        *(operation_counts(name)[everything] for name in ("nor_conv_1x1", "nor_conv_3x3"))
    )
    return float(counter.total * steps * forward.mean() / counted.flops(settings.skeleton))
