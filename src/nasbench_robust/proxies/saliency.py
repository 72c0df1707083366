"""Scores that pruning gives to a weight or a channel, summed over the network as zero-cost-nas does.

zero-cost-nas is the program of Abdelfattah et al., "Zero-cost proxies for lightweight NAS", ICLR 2021. There the
weights of the convolutions and of the linear layer count, and the loss is the mean cross entropy of one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..networks import Network
from ..networks.fast import BatchNetwork
from ..ntk import Value
from .preparing import layers_with_weights, positive_copy, training_copy, unless_zero


def synflow(network: Network) -> float | Value:
    """Return the sum over weights of w dR/dw, R the summed logits of the network of absolute weights on ones.

    Tanaka et al., NeurIPS 2020. Batch normalisation is bypassed everywhere, also in the residual blocks, where
    zero-cost-nas keeps it for want of a switch. The ones enter behind the normalisation of pixels. In float64; looks at
    no image.
    """
    copy = positive_copy(network)
    size = network.skeleton.image_size
    ones = (copy.normalise.mean + copy.normalise.std).expand(1, -1, size, size)  # 1 once they are normalised
    weights = _weights(copy)
    gradients = torch.autograd.grad(copy(ones).sum(), weights)
    return unless_zero(_sum_of_products(weights, gradients), gradients)


def grad_norm(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the sum over layers of the L2 norm of the gradient of the loss.

    Abdelfattah et al., ICLR 2021. Batch normalisation in train mode, with the statistics of the batch.
    """
    copy = training_copy(network)
    gradients = torch.autograd.grad(F.cross_entropy(copy(images), labels), _weights(copy))
    norms = (float(torch.linalg.vector_norm(gradient.double())) for gradient in gradients)
    return unless_zero(sum(norms), gradients)


def l2_norm(network: Network) -> float:
    """Return the sum over layers of the L2 norm of the weights.

    Abdelfattah et al., ICLR 2021: a baseline of their program, which looks at no image and at no gradient.
    """
    return sum(float(torch.linalg.vector_norm(weight.detach().double())) for weight in _weights(network))


def zico(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the sum over layers of log sum_w E|g_w| / std(g_w), over the gradients g of the loss on two batches.

    Li et al., "ZiCo", ICLR 2023. Weights whose gradients are equal are left out, and layers without others. The batches
    are the first and the second half of the images. In the authors' program, which takes two batches of 128, the second
    gradient has the first one added to it, since nothing clears it. Batch normalisation in train mode, with the
    statistics of each batch.
    """
    copy = training_copy(network)
    pass_through, weights = BatchNetwork(copy), _weights(copy)
    halves = zip(images.chunk(2), labels.chunk(2), strict=True)
    losses = (F.cross_entropy(pass_through(x), y) for x, y in halves)
    # Weights that have no influence have no gradient, and equal gradients are left out.
    gradients = [torch.autograd.grad(loss, weights, materialize_grads=True) for loss in losses]
    sums = [_inverse_variation(torch.stack(pair).double()) for pair in zip(*gradients, strict=True)]
    if not any(sums):
        return Value.failed("the gradients of both halves of the images are the same")
    return sum(math.log(each) for each in sums if each)


def _inverse_variation(gradients: torch.Tensor) -> float:
    """Return the sum over weights of mean magnitude over standard deviation, along the first axis."""
    deviations = gradients.std(dim=0, correction=0)
    varies = deviations > 0
    return float((gradients.abs().mean(dim=0)[varies] / deviations[varies]).sum())


def snip(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the sum over weights of the magnitude of w g, g the gradient of the loss.

    Lee, Ajanthan and Torr, ICLR 2019. Batch normalisation in train mode, with the statistics of the batch.
    """
    copy = training_copy(network)
    weights = _weights(copy)
    gradients = torch.autograd.grad(F.cross_entropy(copy(images), labels), weights)
    total = _sum_of_products([weight.abs() for weight in weights], [gradient.abs() for gradient in gradients])
    return unless_zero(total, gradients)


def grasp(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the sum over weights of -w (Hg), g the gradient of the loss and H its Hessian.

    Wang, Zhang and Grosse, ICLR 2020; sign and details as in zero-cost-nas: both derivatives on one and the same batch,
    temperature 1. Batch normalisation in train mode, with the statistics of the batch.
    """
    copy = training_copy(network)
    weights = _weights(copy)
    gradients = torch.autograd.grad(F.cross_entropy(copy(images), labels), weights, create_graph=True)
    half_squared_norm = torch.stack([gradient.square().sum() for gradient in gradients]).sum() / 2
    products = torch.autograd.grad(half_squared_norm, weights)  # Hg
    return unless_zero(-_sum_of_products(weights, products), products)


def fisher(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float | Value:
    """Return the sum over channels of half the mean over images of (sum over pixels of activation times gradient)^2.

    Turner et al., "BlockSwap", ICLR 2020; details as in zero-cost-nas: activations are the outputs of the convolutions
    and of the linear layer, and a channel counts once for every weight that it has. Batch normalisation in train mode,
    with the statistics of the batch.
    """
    copy = training_copy(network)
    layers, outputs = layers_with_weights(copy), dict[nn.Module, torch.Tensor]()

    def keep(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        outputs[layer] = output

    for layer in layers:
        layer.register_forward_hook(keep)
    loss = F.cross_entropy(copy(images), labels)
    activations = [outputs[layer] for layer in layers]
    gradients, total = torch.autograd.grad(loss, activations), 0.0
    for layer, activation, gradient in zip(layers, activations, gradients, strict=True):
        saliency = (activation.detach().double() * gradient).reshape(*activation.shape[:2], -1).sum(dim=2)
        total += float(saliency.square().mean(dim=0).sum()) / 2 * layer.weight[0].numel()
    return unless_zero(total, gradients)


def _weights(network: Network) -> list[torch.Tensor]:
    return [layer.weight for layer in layers_with_weights(network)]


def _sum_of_products(weights: Iterable[torch.Tensor], others: Iterable[torch.Tensor]) -> float:
    """Return the scalar product over all layers, summed in float64."""
    pairs = zip(weights, others, strict=True)
    return sum(float((weight.detach().double() * other).sum()) for weight, other in pairs)
