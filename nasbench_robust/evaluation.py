"""Measuring a trained network: which images it classifies correctly, as they are and under attack."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from .attacks import perturb
from .images import to_unit
from .metrics import Metric

__all__ = ["evaluate"]


def evaluate(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    metrics: Iterable[Metric],
    generator: torch.Generator,
    *,
    batch_size: int = 1000,
) -> dict[Metric, torch.Tensor]:
    """Return, for every metric, which images are classified correctly.

    Parameters
    ----------
    network : Module
        Is put into eval mode and left as it was found.
    images : Tensor, shape (n, channels, size, size)
        Floats in [0, 1], or uint8 that become such a batch at a time.
    labels : Tensor of int64, shape (n,)
    metrics : iterable of Metric
        Clean accuracy, or accuracy under an attack that can be run.
    generator : torch.Generator
        For random starts; metrics are measured in the order given.
    batch_size : int
        Images at a time; it has no influence on the attacks but for the order of their draws.

    Returns
    -------
    dict of Metric to Tensor of bool, shape (n,)
    """
    was_training = network.training
    network.eval()
    try:
        batches = [slice(start, start + batch_size) for start in range(0, len(labels), batch_size)]
        return {
            metric: torch.cat([_is_correct(network, to_unit(images[b]), labels[b], metric, generator) for b in batches])
            for metric in metrics
        }
    finally:
        network.train(was_training)


def _is_correct(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, metric: Metric, generator: torch.Generator
) -> torch.Tensor:
    if metric.attack is not None:
        images = perturb(network, images, labels, metric.attack, generator)
    with torch.no_grad():
        predicted: torch.Tensor = network(images).argmax(dim=1)
    return predicted == labels
