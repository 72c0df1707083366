"""One-shot scores: how accurate cells are with the weights of a supernet, without training of their own."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from ...attacks import check_images
from ...cells import Cell
from ...engines.torch import evaluate
from ...images import to_unit
from ...metrics import Metric
from ...networks import Subnetwork, Supernet

BATCH = 256  # images of a forward pass that collects statistics


def one_shot_accuracies(
    supernet: Supernet,
    cells: Sequence[Cell],
    statistics: torch.Tensor,
    images: torch.Tensor,
    labels: torch.Tensor,
    metrics: Sequence[Metric],
    generator: torch.Generator,
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

    Returns
    -------
    dict of Metric to list of float
        One accuracy per cell, in [0, 1].
    """
    check_images(statistics, "statistics", bytes_too=True)
    scratch = copy.deepcopy(supernet)
    accuracies: dict[Metric, list[float]] = {metric: [] for metric in metrics}
    for cell in cells:
        network = Subnetwork(scratch, [cell])
        _collect_statistics(network, statistics)
        for metric, correct in evaluate(network, images, labels, metrics, generator).items():
            accuracies[metric].append(float(correct.double().mean()))
    return accuracies


@torch.no_grad()
def _collect_statistics(network: torch.nn.Module, images: torch.Tensor) -> None:
    """Replace the running statistics of batch normalisation by means over batches."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # cumulative mean
    network.train()
    for batch in torch.split(images, BATCH):
        network(to_unit(batch))
    network.eval()
