"""One-shot scores: how accurate cells are with the weights of a supernet, without training of their own."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from ...attacks import check_images, one_precision
from ...cells import Cell
from ...engines import Step, tell
from ...engines.torch import evaluate
from ...images import pinned_float32, to_unit
from ...metrics import Metric
from ...networks import Subnetwork, Supernet

BATCH = 256  # images of a forward pass that collects statistics


@pinned_float32()
def one_shot_accuracies(
    supernet: Supernet,
    cells: Sequence[Cell],
    statistics: torch.Tensor,
    images: torch.Tensor,
    labels: torch.Tensor,
    metrics: Sequence[Metric],
    generator: torch.Generator,
    kept: dict[str, Any] | None = None,
) -> dict[Metric, list[float]]:
    """Return the accuracies of cells as subnetworks of a supernet of one shared cell.

    The running statistics of batch normalisation belong to the mixture of operations that was trained. They are
    collected anew for every cell, as means over batches, and the supernet itself is left as it was.

    Parameters
    ----------
    supernet : Supernet
    cells : sequence of Cell
    statistics : Tensor, shape (m, channels, size, size)
        Images for the statistics: some that the weights were trained on.
    images, labels : Tensor, shapes (n, channels, size, size) and (n,)
        What accuracy is measured on: images that the weights were not trained on.
    metrics : sequence of Metric
    generator : torch.Generator
        For the attacks' random starts.
    kept : dict, optional
        Filled with what is done of every cell; a call with what an interrupted one left here goes on from there.

    Returns
    -------
    dict of Metric to list of float
        One accuracy per cell, in [0, 1].
    """
    check_images(statistics, "statistics", bytes_too=True)
    scratch = copy.deepcopy(supernet)
    kept = {} if kept is None else kept
    rows: list[list[float]] = kept.setdefault("rows", [])
    if "draws" in kept:
        generator.set_state(kept["draws"].cpu())
    for number, cell in enumerate(cells[len(rows) :], len(rows)):
        tell(Step("one-shot scores of cells", number, len(cells)))
        network = Subnetwork(scratch, [cell])
        _collect_statistics(network, statistics)
        outcomes = evaluate(network, images, labels, metrics, generator)
        kept["draws"] = generator.get_state()
        rows.append([float(outcomes[metric].double().mean()) for metric in metrics])
    return {metric: [row[number] for row in rows] for number, metric in enumerate(metrics)}


@torch.no_grad()
def _collect_statistics(network: torch.nn.Module, images: torch.Tensor) -> None:
    """Replace the running statistics of batch normalisation by means over batches."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # cumulative mean
    network.train()
    with one_precision(network, to_unit(images[:0]), "statistics"):
        for batch in torch.split(images, BATCH):
            network(to_unit(batch))
    network.eval()
