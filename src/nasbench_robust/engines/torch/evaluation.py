"""Measuring a trained network: which images it classifies correctly, as they are and under attack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch

from ...attacks import (
    autoattack,
    check_images,
    check_labels,
    differentiable,
    evaluating,
    is_right,
    labels_in_range,
    unchecked,
    warn_of_accuracies,
    warn_of_network,
)
from ...checks import integer, kind
from ...errors import UnknownNameError
from ...images import to_unit
from ...metrics import ATTACKS, Metric

LOOKED_AT = 32  # images, for signs that attacks fail


def evaluate(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    metrics: Iterable[Metric],
    generator: torch.Generator,
    *,
    batch_size: int = 1000,
    on_part: Callable[[Metric, str, torch.Tensor], None] | None = None,
) -> dict[Metric, torch.Tensor]:
    """Return, for every metric, which images are classified correctly.

    Under AutoAttack, those are the images that are classified correctly as they are and withstand all of its parts.

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
        Images at a time; it has no influence on the attacks but for the order of the draws of PGD.
    on_part : callable, optional
        Called after every part of an AutoAttack with the metric, the part's name and the survivors until then.

    Returns
    -------
    dict of Metric to Tensor of bool, shape (n,)
        An image whose logits are not numbers is not classified correctly.

    Raises
    ------
    InvalidValueError
        If a pixel is not in [0, 1], or a label is no class of the network.

    Warns
    -----
    AttackWarning
        Of signs that an attack does not see what the network does.
    """
    integer(1)("batch_size", batch_size)
    (
        kind(torch.nn.Module)("network", network),
        kind(torch.Tensor)("images", images),
        kind(torch.Tensor)("labels", labels),
    )
    check_images(images, bytes_too=True)
    check_labels(labels, len(images))
    with evaluating(network), labels_in_range(network, labels), torch.inference_mode(False), torch.enable_grad():
        metrics = tuple(metrics)
        images, labels = differentiable(images), differentiable(labels)
        alone = any(metric.attack and metric.attack.name != "autoattack" for metric in metrics)
        if alone and len(images):  # AutoAttack looks for itself
            warn_of_network(network, to_unit(images[:LOOKED_AT]), labels[:LOOKED_AT])
        correct = {
            metric: _is_correct(network, images, labels, metric, generator, batch_size, on_part) for metric in metrics
        }
    warn_of_accuracies({metric: float(mask.double().mean()) for metric, mask in correct.items()})
    return correct


def _is_correct(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    metric: Metric,
    generator: torch.Generator,
    batch_size: int,
    on_part: Callable[[Metric, str, torch.Tensor], None] | None,
) -> torch.Tensor:
    attack = metric.attack
    if attack is None and metric.name != "clean_acc":
        raise UnknownNameError("metric that can be measured", metric.name, ("clean_acc", "accuracies under an attack"))
    if attack is not None and attack.name == "autoattack" and attack.norm == "Linf":
        report = None if on_part is None else partial(on_part, metric)
        return autoattack(
            network,
            to_unit(images),
            labels,
            attack,
            generator,
            batch_size=batch_size,
            keep_images=False,
            on_part=report,
        ).robust
    if attack is not None and ATTACKS[attack.name].pools:
        images = unchecked(attack)(network, to_unit(images), labels, attack, generator, batch_size)
        attack = None
    correct = []
    for batch, known in zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True):
        seen = to_unit(batch)
        if attack is not None:
            seen = unchecked(attack)(network, seen, known, attack, generator, batch_size)
        with torch.no_grad():
            correct.append(is_right(network(seen), known))
    return torch.cat(correct)
