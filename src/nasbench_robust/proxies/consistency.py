"""CRoZe: whether features, weights and gradients of a network stay the same when it and its images are perturbed.

Ha, Kim and Hwang, "Generalizable lightweight proxy for robust NAS against diverse perturbations", NeurIPS 2023. The
numbers and the sums are those of the authors' program.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .. import metrics
from ..attacks import fgsm
from ..networks import CellLayer, Network, ResidualBlock, duplicate
from ..ntk import Value
from .preparing import layers_with_weights, positive_copy, unless_zero

WEIGHT_STEP = 2.0  # length of the perturbation of a layer's weights, in lengths of the weights
IMAGE_STEP = metrics.fgsm(0.01)


@dataclass(frozen=True)
class Trace:
    """What is compared: for each layer its weights, their gradients and the features that stand for its place."""

    weights: list[torch.Tensor]
    gradients: list[torch.Tensor]
    features: list[torch.Tensor]


def croze(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the consistency of the network on the images with a perturbed network on perturbed images.

    Both have absolute weights at first, and batch normalisation bypassed. The weights of each layer of the second are
    then moved up the gradient of the loss by twice their length, and its images by FGSM on it with eps 0.01, in pixels.
    Two differences to the authors' program: there FGSM steps down the loss, in normalised pixels, and the residual
    blocks keep their batch normalisation. In float64.
    """
    clean, images = positive_copy(network), images.double()
    perturbed = perturbed_copy(clean, images, labels)
    moved = fgsm(perturbed, images, labels, IMAGE_STEP)
    one, other = trace(clean, images, labels), trace(perturbed, moved, labels)
    return unless_zero(consistency(one, other), one.gradients, other.gradients)


def perturbed_copy(network: Network, images: torch.Tensor, labels: torch.Tensor) -> Network:
    """Copy the network and move each layer's weights up the gradient of the loss by `WEIGHT_STEP` times their norm."""
    copy = duplicate(network)
    weights = [layer.weight for layer in layers_with_weights(copy)]
    gradients = torch.autograd.grad(F.cross_entropy(copy(images), labels), weights)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            length = torch.linalg.vector_norm(gradient)
            if length > 0:  # layers that the loss does not depend on stay as they are
                weight.add_(gradient * (WEIGHT_STEP * torch.linalg.vector_norm(weight) / length))
    return copy


def trace(network: Network, images: torch.Tensor, labels: torch.Tensor) -> Trace:
    """Pass the images through the network and back, and keep what is compared."""
    stages = _stage_features(network, images)
    layers, places = _places(network)
    weights = [layer.weight for layer in layers]
    gradients = torch.autograd.grad(F.cross_entropy(network.classifier(stages[-1]), labels), weights)
    features = [stages[place].detach() for place in places]
    return Trace([weight.detach() for weight in weights], list(gradients), features)


def _stage_features(network: Network, images: torch.Tensor) -> list[torch.Tensor]:
    """Return the features behind the stem, behind each residual block, behind the last cell, and when pooled."""
    features = network.stem(network.normalise(images))
    stages = [features]
    for block in network.cells:
        features = block(features)
        if isinstance(block, ResidualBlock):
            stages.append(features)
    return [*stages, features, network.last_activation(features).mean(dim=(2, 3))]


def _places(network: Network) -> tuple[list[torch.nn.Conv2d | torch.nn.Linear], list[int]]:
    """Return the layers with weights, and for each the position of its features among the five.

    As in the authors' program: the last cell of a stage and the block behind it are compared by the features behind
    that block, the cells before by the features that enter the stage.
    """
    layers = layers_with_weights(network.stem)
    places, cells = [0] * len(layers), 0
    for block in network.cells:
        cells += isinstance(block, CellLayer)
        own = layers_with_weights(block)
        layers += own
        places += [cells // network.skeleton.cells_per_stage] * len(own)
    return [*layers, network.classifier], [*places, 4]


def consistency(one: Trace, other: Trace) -> float:
    """Return the sum over layers of the product of three consistencies; symmetric, and largest for equal traces.

    They are sums of 1 + cosine of the features, 1 + cosine of the weights, and the magnitude of the cosine of the
    gradients. A cosine is taken along the first axis (images, output channels); the sums run over all others.
    """
    total = 0.0
    for layer in range(len(one.weights)):
        features = (1 + _cosines(one.features[layer], other.features[layer])).sum()
        weights = (1 + _cosines(one.weights[layer], other.weights[layer])).sum()
        steps = _cosines(one.gradients[layer], other.gradients[layer]).abs().sum()
        total += float(features * weights * steps)
    return total


def _cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(one, other, dim=0)
