"""Certified bounds of networks and supernets by interval propagation, differentiable in the architecture.

A mixed operation is a sum with non-negative weights, so centre and radius are the weighted sums of the operations'.
What is certified: for every image of the box each logit lies in its interval, and each difference of logits above its
bound, up to rounding. The bounds are loose, and looser with every layer: see `log_radius`. All are those of the network
in eval mode, which it has to be in; `jacobians.running_statistics` puts it there for a while.

Hosseini, Yang and Xie ("DSRNA", CVPR 2021) regularise a search by a certified lower bound. That it is this one, and
what is made of it, is a reconstruction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import nn

from ...attacks import check_images, check_labels, one_precision
from ...checks import integer
from ...errors import InvalidValueError
from ...images import pinned_float32
from ...networks import NONE, MixedCell, Network, Subnetwork, Supernet
from .boxes import Box, image_box, in_turn, propagate, through_cell

ROUNDING = 1e-6  # by how much straight-through weights of operations may be below zero


@pinned_float32()
def interval_bounds(
    network: nn.Module, lower: torch.Tensor, upper: torch.Tensor, mixture: torch.Tensor | None = None
) -> Box:
    """Bound the logits of all images between two images.

    Parameters
    ----------
    network : Module
        A `Network`, `Supernet` or `Subnetwork`, or an `nn.Sequential` of layers that `boxes.propagate` knows, the last
        of them linear. In eval mode.
    lower, upper : Tensor, shape (n, channels, size, size)
        Least and largest value of every pixel.
    mixture : Tensor of the shape of `Supernet.alpha`, optional
        Weights of a supernet's operations, not negative; by default its own. The bounds are differentiable in it.

    Returns
    -------
    Box of shape (n, classes)
        In units of 1. Radii beyond the range of the floating-point type are infinite; `log_radius` does not need them.

    Raises
    ------
    InvalidValueError
        If a pixel's bounds are the wrong way round, a layer is unknown or in train mode, a weight is negative, or a
        mixture comes with a network that is no supernet.
    """
    if lower.shape != upper.shape:
        raise InvalidValueError("the shape of upper", tuple(upper.shape), f"{tuple(lower.shape)}, as lower has")
    if not bool((lower <= upper).all()):  # NaN fails too
        excess = float((lower - upper).max())
        raise InvalidValueError("lower", f"up to {excess:g} above upper", "bounds of pixels in ascending order")
    with one_precision(network, lower, "lower"):
        return _logits(network, Box.between(lower, upper), mixture).in_units_of_one()


@pinned_float32()
def certified_margins(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float, mixture: torch.Tensor | None = None
) -> torch.Tensor:
    """Bound from below by how much the label's logit exceeds each other one, on all images within eps.

    The difference is folded into the last layer, whose weights become W_y - W_c: never looser and usually much tighter
    than the difference of the two logits' intervals.

    Parameters
    ----------
    network, mixture
        See `interval_bounds`.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    eps : float
        L-infinity radius, pixels in [0, 1]; the box is cut off at 0 and 1.

    Returns
    -------
    Tensor, shape (n, classes)
        Lower bounds of f_y - f_c; infinity at the label itself. An image is certified where the smallest is positive:
        no image of its box is misclassified.
    """
    with one_precision(network, images):
        features, last = _before_last_layer(network, image_box(images, eps), mixture)
        check_labels(labels, len(images), last.out_features)
        weights = last.weight[labels][:, None] - last.weight  # (n, classes, features)
        lowest = torch.einsum("ncf,nf->nc", weights, features.centre)
    lowest = lowest - torch.einsum("ncf,nf->nc", weights.abs(), features.radius)
    lowest = lowest * torch.exp2(features.exponent)[:, None]
    if last.bias is not None:
        lowest = lowest + last.bias[labels][:, None] - last.bias
    return lowest.scatter(1, labels[:, None], torch.inf)


def certified_accuracy(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float, *, batch_size: int = 1000
) -> float:
    """Return the share of images that no perturbation within eps can have misclassified, by `certified_margins`.

    At most the accuracy under any attack of that radius, and the accuracy as the images are at radius 0. Bounds are
    loose, so that images that are robust may count as not certified.

    Parameters
    ----------
    network, images, labels, eps
        See `certified_margins`; at least one image.
    batch_size : int
        Images at a time.
    """
    integer(1)("batch_size", batch_size)
    check_images(images)
    check_labels(labels, len(images))
    if not len(images):
        raise InvalidValueError("images", "none", "at least one image")
    parts = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
    with torch.no_grad():
        worst = torch.cat([certified_margins(network, *part, eps).amin(dim=1) for part in parts])
    return float((worst > 0).double().mean())


@pinned_float32()
def log_radius(
    network: nn.Module, images: torch.Tensor, eps: float, mixture: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean over images and logits of the natural logarithm of the radius of a logit's interval.

    The radius itself explodes with depth and is useless beside a loss: `benchmarks/bounds.py` prints it. The gradient
    of its logarithm is that of a relative change. In both, convolutions raise the radius most, pooling and skip less
    and none not at all, whatever they do for accuracy: minimised strongly, it makes cells without convolutions.

    Parameters
    ----------
    network, images, eps, mixture
        See `certified_margins`; `eps` is positive.

    Returns
    -------
    Tensor, shape ()
        Minus infinity if no path leads from the image to some logit, which cannot happen with a softmax mixture.

    Raises
    ------
    InvalidValueError
        As for `interval_bounds`, and if `eps` is 0.
    """
    if eps == 0:
        raise InvalidValueError("eps", eps, "a positive radius, whose bounds have a logarithm")
    with one_precision(network, images):
        logits = _logits(network, image_box(images, eps), mixture)
    return logits.radius.log().mean() + math.log(2) * logits.exponent.mean()


def _logits(network: nn.Module, images: Box, mixture: torch.Tensor | None) -> Box:
    features, last = _before_last_layer(network, images, mixture)
    return propagate(last, features)


def _before_last_layer(network: nn.Module, box: Box, mixture: torch.Tensor | None) -> tuple[Box, nn.Linear]:
    """Return the box of the inputs of the last linear layer, shape (n, features), and that layer."""
    if mixture is None:
        return _features(network, box)
    if not isinstance(network, Supernet):
        raise InvalidValueError("mixture", mixture, f"none for a {type(network).__name__}: a Supernet takes one")
    least = float(mixture.detach().min())
    if not least >= -ROUNDING:  # NaN fails too
        raise InvalidValueError("mixture", f"as low as {least:g}", "weights that are not negative", "0")
    return _through_supernet(network, box, mixture, None)


@singledispatch
def _features(network: nn.Module, _box: Box) -> tuple[Box, nn.Linear]:
    raise InvalidValueError("network", type(network).__name__, "a Network, Supernet, Subnetwork or nn.Sequential")


@_features.register
def _(network: nn.Sequential, box: Box) -> tuple[Box, nn.Linear]:
    *layers, last = network
    if not isinstance(last, nn.Linear):
        raise InvalidValueError("network", network, "a network whose last layer is linear")
    return in_turn(layers, box), last


@_features.register
def _(network: Network, box: Box) -> tuple[Box, nn.Linear]:
    box = in_turn((network.normalise, network.stem, network.cells, network.last_activation), box)
    return _pixel_mean(box), network.classifier


@_features.register
def _(network: Subnetwork, box: Box) -> tuple[Box, nn.Linear]:
    return _through_supernet(network.supernet, box, torch.ones_like(network.supernet.alpha), network.choice)


@_features.register
def _(network: Supernet, box: Box) -> tuple[Box, nn.Linear]:
    return _through_supernet(network, box, network.mixture(), None)


def _through_supernet(
    network: Supernet, box: Box, mixture: torch.Tensor, choice: Sequence[Sequence[int]] | None
) -> tuple[Box, nn.Linear]:
    box = in_turn((network.normalise, network.stem), box)
    for stage, (cells, group) in enumerate(zip(network.stages, network.groups, strict=True)):
        if stage:
            box = propagate(network.reductions[stage - 1], box)
        for cell in cells:  # type: ignore[attr-defined]
            box = _through_mixed_cell(cell, box, mixture[group], None if choice is None else choice[group])
    return _pixel_mean(propagate(network.last_activation, box)), network.classifier


def _through_mixed_cell(cell: MixedCell, box: Box, mixture: torch.Tensor, choice: Sequence[int] | None) -> Box:
    """Propagate through a mixed cell; `mixture` has shape (6, 5), `choice` names the only operation of every edge."""

    def along_edge(edge: int, source: Box) -> Box:
        total = source.each(torch.zeros_like)
        operations: nn.ModuleList = cell.edges[edge]  # type: ignore[assignment]
        for code in range(len(operations)) if choice is None else (choice[edge],):
            if code != NONE:
                total = total.plus(propagate(operations[code], source).each(mixture[edge, code].mul))
        return total

    return through_cell(box, along_edge)


def _pixel_mean(box: Box) -> Box:
    return box.each(lambda values: values.mean(dim=(2, 3)))
