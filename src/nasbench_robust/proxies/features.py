"""Scores of the features between the blocks of a network that standard Gaussian images enter: MeCo and AZ-NAS.

The images enter behind the normalisation of pixels. Batch normalisation is in train mode, with the statistics of the
batch. Eigenvalues and singular values are in float64.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..networks import Network
from ..ntk import Value
from .preparing import gaussian, gaussian_images, training_copy

AZ_IMAGES = 16  # the authors' program takes 64
LEAST_SHARE, LEAST_NORM = 1e-8, 1e-6  # AZ-NAS: added to what a logarithm is taken of, to what is divided by


@torch.no_grad()
def meco(network: Network, generator: torch.Generator) -> float | Value:
    """Return the sum over modules of the smallest eigenvalue of the correlation of their output channels.

    Jiang, Wang and Bie, "MeCo", NeurIPS 2023. One image is looked at, and channels are correlated over its pixels; a
    channel that is the same everywhere correlates with nothing, itself included. As in the authors' program every
    module counts, also one that is made of others, also on edges without influence; so how often an output counts
    depends on how the network is divided into modules. The image is drawn, as the paper has it; the authors' program
    for NAS-Bench-201 takes a training image.
    """
    copy, least = training_copy(network), [0.0]

    def keep(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        correlations = torch.corrcoef(output[0].flatten(1).double()).nan_to_num(0)
        least.append(float(torch.linalg.eigvalsh(correlations)[0]))

    for part in (copy.stem, *copy.cells, copy.last_activation):
        for module in part.modules():
            module.register_forward_hook(keep)
    features = copy.last_activation(copy.cells(copy.stem(gaussian_images(1, copy, generator))))
    return sum(least) if features.isfinite().all() else Value.failed("the features are not finite")


def az_nas(network: Network, generator: torch.Generator) -> dict[str, float | Value]:
    """Return three parts of AZ-NAS by their names in `PROXIES`; the fourth one, complexity, is `flops`.

    Lee and Ham, "AZ-NAS", CVPR 2024. The network gets Kaiming's normal weights, drawn anew, and the batch normalisation
    of a new network. 16 images enter it, where the authors' program takes 64.

    Expressivity is the sum, over the features behind the stem and behind each block (a cell or a residual block), of
    the entropy of their principal components: with the shares s of the eigenvalues of the covariance of channels, over
    images and pixels, -sum(s log(s + 1e-8)). Progressivity is the smallest step of the entropy from one to the next.

    Trainability is the mean over blocks of 2 - s - 1 / (s + 1e-6), s the largest singular value of how gradients pass:
    signs that are drawn at the outputs are passed back to the inputs, and s is that of the mean, over images and
    pixels, of the products of their channels; where a block halves the image, four pixels of its input are one with
    four times as many channels. A block that passes the signs on unchanged has minus infinity in the authors' program;
    here the score has no value then.
    """
    copy = _with_kaiming_weights(network, generator)
    features = copy.stem(gaussian_images(AZ_IMAGES, copy, generator)).detach()
    entropies, passing = [entropy(features)], []
    for block in copy.cells:
        inputs = features.requires_grad_()
        outputs = block(inputs)
        signs = gaussian(outputs.shape, generator).sign().to(outputs)
        (passed,) = torch.autograd.grad(outputs, inputs, signs)
        norm = math.inf if torch.equal(passed, signs) else spectral_norm(signs, passed)
        passing.append(2 - norm - 1 / (norm + LEAST_NORM))
        features = outputs.detach()
        entropies.append(entropy(features))
    unchanged = Value.failed("a block passes gradients on unchanged")
    return {
        "az_expressivity": sum(entropies),
        "az_progressivity": min(later - earlier for earlier, later in pairwise(entropies)),
        "az_trainability": sum(passing) / len(passing) if math.isfinite(sum(passing)) else unchanged,
    }


def spectral_norm(outputs: torch.Tensor, inputs: torch.Tensor) -> float:
    """Return the largest singular value of the mean product of the channels of two batches of features."""
    smaller = F.pixel_unshuffle(inputs, inputs.shape[-1] // outputs.shape[-1])
    columns = [each.movedim(1, -1).flatten(0, -2).double() for each in (smaller, outputs)]
    return float(torch.linalg.matrix_norm(columns[0].T @ columns[1] / len(columns[0]), ord=2))


def entropy(features: torch.Tensor) -> float:
    """Return the entropy of the principal components of the channels of a batch."""
    eigenvalues = torch.linalg.eigvalsh(torch.cov(features.transpose(0, 1).flatten(1).double(), correction=0))
    shares = eigenvalues / eigenvalues.sum()
    return float(-(shares * (shares + LEAST_SHARE).log()).sum())


@torch.no_grad()
def _with_kaiming_weights(network: Network, generator: torch.Generator) -> Network:
    copy = training_copy(network)
    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(gaussian(layer.weight.shape, generator) * math.sqrt(2 / layer.weight[0].numel()))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return copy
