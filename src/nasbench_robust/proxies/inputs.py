"""Scores of how a batch passes through the network: how differently it treats the images, how far it pulls them apart.

Batch normalisation is in train mode, with the statistics of the batch, in all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..arrays import Floats
from ..networks import CellLayer, Network
from ..networks.fast import BatchNetwork
from ..ntk import Value
from .preparing import gaussian, gaussian_images, training_copy

RIDGE = 1e-5  # jacob_cov: added to the eigenvalues; EPE-NAS: to the correlations
NOT_FINITE = Value.failed("the logits are not finite")
NO_RELU = Value.failed("the network has no ReLU")
MANY_CLASSES = 100  # EPE-NAS: with more of them classes are compared with each other
ZEN_IMAGES, ZEN_STEP = 16, 0.01  # the defaults of the authors' program


def jacob_cov(network: Network, images: torch.Tensor) -> float | Value:
    """Return -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation of the Jacobians, k = 1e-5.

    Mellor et al., "Neural architecture search without training", first version, 2020. The Jacobian of an image is the
    gradient, with respect to its normalised pixels, of the sum of all logits of the batch; rows are correlated over
    the pixels.
    """
    rows = jacobians(network, images)
    if isinstance(rows, Value):
        return rows
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(rows)) + RIDGE
    return float(-np.sum(np.log(eigenvalues) + 1 / eigenvalues))


def epe_nas(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the sum over classes of the magnitude of sum(log(abs(c) + k)), c the correlations of a class, k = 1e-5.

    Lopes, Alirezazadeh and Alexandre, "EPE-NAS", ICANN 2021. What is correlated, within each class, are the Jacobians
    of `jacob_cov`. With more than 100 classes the sums are divided by the number of images of the class, and the score
    is the sum over ordered pairs of classes of the magnitude of their difference, over the number of classes. All as in
    the authors' program, but that looks at 256 images; a class of one image counts for next to nothing, and with more
    than 100 classes not at all.
    """
    rows = jacobians(network, images)
    if isinstance(rows, Value):
        return rows
    classes = labels.cpu().numpy()
    groups = [rows[classes == label] for label in np.unique(classes)]
    if all(len(group) < 2 for group in groups):
        return Value.failed("no class has two images")
    many = network.skeleton.classes > MANY_CLASSES
    correlations = [np.corrcoef(group) for group in groups if len(group) > 1 or not many]
    sums = np.array([np.log(np.abs(each) + RIDGE).sum() / (len(each) if many else 1) for each in correlations])
    if many:
        return float(np.abs(sums[:, None] - sums).sum() / len(sums))
    return float(np.abs(sums).sum())


def jacobians(network: Network, images: torch.Tensor) -> Floats | Value:
    """Return the gradients of the sum of all logits with respect to normalised pixels, a row an image, or why not."""
    pixels = images.detach().clone().requires_grad_()
    logits = BatchNetwork(training_copy(network).requires_grad_(False))(pixels)
    if not logits.isfinite().all():
        return NOT_FINITE
    (gradients,) = torch.autograd.grad(logits.sum(), pixels)
    rows: Floats = (gradients * network.normalise.std).flatten(1).double().cpu().numpy()
    if not rows.std(axis=1).all():  # then it correlates with nothing
        return Value.failed("the Jacobian of an image is the same at every pixel")
    return rows


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
        return NO_RELU
    # Of a singular matrix of integers, rounding makes a determinant that looks like a score.
    if np.linalg.matrix_rank(kernel, hermitian=True) < len(kernel):
        return Value.failed("the kernel is singular: the codes of the images are too much alike")
    return float(np.linalg.slogdet(kernel).logabsdet)


def agreement(network: Network, images: torch.Tensor) -> Floats:
    """Return, for every two images, at how many ReLUs of the network both inputs are positive or both are not.

    Shape (n, n); nan where the logits are not finite, since a comparison with nan makes a code as well.
    """
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)

    def count(positive: torch.Tensor) -> None:
        active = positive.to(images)
        kernel.add_(active @ active.T + (1 - active) @ (1 - active).T)  # exact below 2^24 ReLUs

    if not _show_relus(network, images, count):
        kernel.fill_(torch.nan)
    counts: Floats = kernel.cpu().numpy()
    return counts


def swap(network: Network, images: torch.Tensor) -> float | Value:
    """Return the number of different patterns: of a ReLU, for which of the images its input is positive.

    Peng et al., "SWAP-NAS", ICLR 2024, without the regularisation by size, which needs a size to aim at. ReLUs on edges
    without influence count too, as in the authors' program. That averages 32 draws of Gaussian weights on 16 images;
    this is the network as it is, on the images that it is given.
    """
    patterns: list[Floats] = []

    def keep(positive: torch.Tensor) -> None:
        bits = np.packbits(positive.T.cpu().numpy(), axis=1)
        words = np.zeros((len(bits), -(-bits.shape[1] // 8) * 8), np.uint8)
        words[:, : bits.shape[1]] = bits
        patterns.append(_distinct(words.view(np.uint64)))

    if not _show_relus(training_copy(network), images, keep):
        return NOT_FINITE
    return float(len(_distinct(np.concatenate(patterns)))) if patterns else NO_RELU


def _distinct(rows: Floats) -> Floats:
    """Return the different rows; of one column a hundred times faster than `np.unique` is."""
    if rows.shape[1] > 1:
        return np.unique(rows, axis=0)
    column = np.sort(rows, axis=0)
    different: Floats = column[np.append(True, column[1:, 0] != column[:-1, 0])]
    return different


@torch.no_grad()
def _show_relus(network: Network, images: torch.Tensor, see: Callable[[torch.Tensor], None]) -> bool:
    """Show which inputs of every ReLU are positive, shape (n, ReLUs); return whether the logits are finite."""
    hooks = [
        module.register_forward_hook(lambda _, inputs, __: see((inputs[0] > 0).flatten(1)))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    is_finite = bool(network(images).isfinite().all())
    for hook in hooks:
        hook.remove()
    return is_finite


@torch.no_grad()
def zen(network: Network, generator: torch.Generator) -> float:
    """Return log E |f(x) - f(x + 0.01 e)| plus the logarithms of what batch normalisation divided by.

    Lin et al., "Zen-NAS", ICCV 2021. x and e are standard Gaussian, 16 images that enter behind the normalisation of
    pixels; f gives the features before global average pooling, with weights drawn anew from the standard Gaussian; the
    norm is L2 (the authors' program takes L1). A batch normalisation adds the logarithm of the root of the variance
    of its input, averaged over channels; those on edges of the cell that no signal passes add nothing. This is one
    draw; the authors' program averages several.
    """
    copy = training_copy(network)
    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.copy_(gaussian(layer.weight.shape, generator))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    images, noise = gaussian_images(2 * ZEN_IMAGES, copy, generator).chunk(2)
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
