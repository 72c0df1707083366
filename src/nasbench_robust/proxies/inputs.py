"""Scores of how a batch passes through the network: how differently it treats the images, how far it pulls them apart.

Batch normalisation is in train mode, with the statistics of the batch, in all three.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..arrays import Floats
from ..networks import CellLayer, Network
from ..ntk import Value
from .preparing import training_copy

RIDGE = 1e-5  # jacob_cov: added to the eigenvalues
NOT_FINITE = Value.failed("the logits are not finite")
ZEN_IMAGES, ZEN_STEP = 16, 0.01  # the defaults of the authors' program


def jacob_cov(network: Network, images: torch.Tensor) -> float | Value:
    """Return -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation of the Jacobians, k = 1e-5.

    Mellor et al., "Neural architecture search without training", first version, 2020. The Jacobian of an image is the
    gradient, with respect to its normalised pixels, of the sum of all logits of the batch; rows are correlated over
    the pixels.
    """
    copy = training_copy(network)
    pixels = images.detach().clone().requires_grad_()
    logits = copy(pixels)
    if not logits.isfinite().all():
        return NOT_FINITE
    (jacobians,) = torch.autograd.grad(logits.sum(), pixels)
    rows = (jacobians * copy.normalise.std).flatten(1).double().cpu().numpy()
    if not rows.std(axis=1).all():  # then it correlates with nothing
        return Value.failed("the Jacobian of an image is the same at every pixel")
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows)) + RIDGE
    return float(-np.sum(np.log(eigenvalues) + 1 / eigenvalues))


def naswot(network: Network, images: torch.Tensor) -> float | Value:
    """Return the logarithm of the determinant of the kernel of binary codes.

    Mellor et al., "Neural architecture search without training", ICML 2021. The code of an image says which inputs of
    ReLUs are positive; the kernel counts, for two images, the ReLUs at which their codes agree. ReLUs on edges without
    influence count too, as in the authors' program.
    """
    kernel = agreement(training_copy(network), images)
    if np.isnan(kernel).any():
        return NOT_FINITE
    if not kernel.any():
        return Value.failed("the network has no ReLU")
    # Of a singular matrix of integers, rounding makes a determinant that looks like a score.
    if np.linalg.matrix_rank(kernel, hermitian=True) < len(kernel):
        return Value.failed("the kernel is singular: the codes of the images are too much alike")
    return float(np.linalg.slogdet(kernel).logabsdet)


@torch.no_grad()
def agreement(network: Network, images: torch.Tensor) -> Floats:
    """Return, for every two images, at how many ReLUs of the network both inputs are positive or both are not.

    Shape (n, n); nan where the logits are not finite, since a comparison with nan makes a code as well.
    """
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)

    def count(_: nn.Module, inputs: tuple[torch.Tensor], __: Any) -> None:
        active = (inputs[0] > 0).flatten(1).to(images)
        kernel.add_(active @ active.T + (1 - active) @ (1 - active).T)  # exact below 2^24 ReLUs

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, nn.ReLU)]
    if not network(images).isfinite().all():
        kernel.fill_(torch.nan)
    for hook in hooks:
        hook.remove()
    counts: Floats = kernel.cpu().numpy()
    return counts


@torch.no_grad()
def zen(network: Network, generator: torch.Generator) -> float:
    """Return log E |f(x) - f(x + 0.01 e)| plus the logarithms of what batch normalisation divided by.

    Lin et al., "Zen-NAS", ICCV 2021. x and e are standard Gaussian, 16 images that enter behind the normalisation of
    pixels; f gives the features before global average pooling, with weights drawn anew from the standard Gaussian; the
    norm is L2 (the authors' program takes L1). A batch normalisation adds the logarithm of the root of the variance
    of its input, averaged over channels; those on edges of the cell that no signal passes add nothing. This is one
    draw; the authors' program averages several.
    """
    copy, skeleton = training_copy(network), network.skeleton
    weight = copy.classifier.weight
    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(torch.empty(layer.weight.shape, device=generator.device).normal_(generator=generator))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    shape = (2, ZEN_IMAGES, skeleton.input_channels, skeleton.image_size, skeleton.image_size)
    images, noise = torch.empty(shape, device=generator.device).normal_(generator=generator).to(weight)
    return expressivity(copy, images, images + ZEN_STEP * noise)


def expressivity(network: Network, images: torch.Tensor, moved: torch.Tensor) -> float:
    """Return the Zen score of a network in train mode, given normalised images and where they are moved to."""
    variances: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        variances.append(inputs[0].double().var(dim=(0, 2, 3), correction=0).mean())

    hooks = [layer.register_forward_pre_hook(keep) for layer in _live_normalisations(network)]
    features = _before_pooling(network, images)
    for hook in hooks:
        hook.remove()
    difference = (features - _before_pooling(network, moved)).double().flatten(1)
    return float(torch.linalg.vector_norm(difference, dim=1).mean().log() + torch.stack(variances).log().sum() / 2)


def _before_pooling(network: Network, images: torch.Tensor) -> torch.Tensor:
    features: torch.Tensor = network.last_activation(network.cells(network.stem(images)))
    return features


def _live_normalisations(network: Network) -> list[nn.BatchNorm2d]:
    """Return the batch normalisations except those on edges that lie on no path from the cell's input to its output."""
    live = network.cell.plan.live
    dead = {
        module
        for layer in network.modules()
        if isinstance(layer, CellLayer)
        for position, operation in enumerate(layer.edges)
        if position not in live
        for module in operation.modules()
    }
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module not in dead]
