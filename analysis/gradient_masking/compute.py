"""From cells to rows: trainings in the native engine, accuracies by radius under attacks, and certified ones.

What is measured is ``clean``; ``pgd``, with 20 steps; ``gradients``, what withstands APGD-CE, APGD-T and FAB-T;
``autoattack``, the same and Square on what they leave; ``square`` alone on all images; ``certified``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from nasbench_robust import metrics
from nasbench_robust.attacks import perturb
from nasbench_robust.cells import Cell
from nasbench_robust.engines import Draws
from nasbench_robust.engines.native import NativeTrainer, measure
from nasbench_robust.images import load_arrays
from nasbench_robust.metrics import Attack, Metric
from nasbench_robust.networks import Network, network_for
from nasbench_robust.search.bounds import certified_accuracy
from nasbench_robust.settings import settings_for

CELLS = {  # representatives, most convolutions first
    1462: "3x3 on all edges",
    9930: "3x3 and a skip",
    818: "chain of 3x3",
    4317: "1x1 on all edges",
    10589: "one 1x1, pool, skip",
    7581: "pool on all edges",
    1835: "skip on all edges",
}
RADII = tuple(levels / 255 for levels in (3, 8, 16, 32, 64, 128, 255))
SMALL = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3)  # of what bounds may certify
STEPS = 10  # of AutoAttack's parts


@dataclass(frozen=True)
class Effort:
    """How much is done: the seed, test images, queries of Square, epochs of training (None: those of digits)."""

    seed: int
    images: int
    queries: int
    epochs: int | None


def measure_all(cells: Sequence[int], effort: Effort, on_cell: Callable[[list[dict[str, Any]]], None]) -> pd.DataFrame:
    """Return a row for every cell, radius and way to measure; every cell's are told as they are done."""
    rows: list[dict[str, Any]] = []
    for index in cells:
        done = [
            {"cell": index, "label": CELLS.get(index, ""), "seed": effort.seed, **row} for row in _rows(index, effort)
        ]
        on_cell(done)
        rows += done
    return pd.DataFrame(rows)


def _rows(index: int, effort: Effort) -> Iterator[dict[str, Any]]:
    settings = settings_for("digits")
    settings = replace(settings, epochs=effort.epochs or settings.epochs)
    images = load_arrays("digits")
    trainer = NativeTrainer(Cell.from_index(index), settings, images, effort.seed)
    while not trainer.finished:
        trainer.step()
    few = replace(images, test=images.test[: effort.images])
    network = in_torch(trainer)
    pixels, labels = map(torch.from_numpy, (few.test.pixels, few.test.labels.astype(np.int64)))

    def row(measured: str, eps: float, correct: int) -> dict[str, Any]:
        count = len(labels)
        return {"measured": measured, "eps": eps, "images": count, "correct": correct, "accuracy": correct / count}

    def survivors(attack: Attack | None) -> list[int]:
        """Return how many images are right, of AutoAttack after each part."""
        metric = Metric("clean_acc") if attack is None else Metric.of(attack)
        parts = list(measure(trainer.network, few, metric, Draws(effort.seed, "evaluation")))
        return np.concatenate(parts, axis=1).sum(axis=1).tolist()

    yield row("clean", 0.0, survivors(None)[0])
    for eps in (*SMALL, *RADII):
        *_, gradients, all_parts = survivors(replace(metrics.autoattack(eps, steps=STEPS), queries=effort.queries))
        yield row("pgd", eps, survivors(metrics.pgd(eps))[0])
        yield row("gradients", eps, gradients)
        yield row("autoattack", eps, all_parts)
        yield row("certified", eps, round(len(labels) * certified_accuracy(network, pixels, labels, eps)))
    for eps in RADII:
        attack = Attack("square", eps, queries=effort.queries)
        generator = torch.Generator().manual_seed(effort.seed)
        attacked = perturb(network, pixels, labels, attack, generator)
        with torch.no_grad():
            yield row("square", eps, int((network(attacked).argmax(dim=1) == labels).sum()))


def in_torch(trainer: NativeTrainer) -> Network:
    """Return the same network in torch, in eval mode."""
    same, settings = trainer.network, trainer.settings
    network = network_for(same.cell, settings.skeleton, settings.dataset, torch.Generator()).eval()
    torch.nn.utils.vector_to_parameters(torch.from_numpy(same.parameters.copy()), network.parameters())
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    buffers = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
    stored = torch.from_numpy(same.statistics.copy()).split([len(buffer) for buffer in buffers])
    for buffer, values in zip(buffers, stored, strict=True):
        buffer.copy_(values)
    return network
