"""Boxes of numbers, and what each kind of layer makes of one: the rules of interval bound propagation.

Affine layers take centre and radius (c, r) to (W c + b, |W| r); the ReLU acts on the end points (Gowal et al., "On the
effectiveness of interval bound propagation for training verifiably robust models", 2018). Batch normalisation is affine
by running statistics only: in train mode it is an error. Rounding of floating-point numbers is not accounted for.

The radii of deep networks leave the range of single precision, and double precision takes four times as long on a CPU.
So boxes are counted in units of a power of two, one per image, that cells and residual blocks choose anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce, singledispatch
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...attacks import check_images, checked_radius
from ...cells import EDGES
from ...errors import InvalidValueError
from ...networks import CellLayer, Normalisation, ResidualBlock, Zero


class Box(NamedTuple):
    """Numbers that lie within `radius` of `centre`, elementwise, in units of 2 to the power of `exponent`.

    Attributes
    ----------
    centre, radius : Tensor, shape (n, ...)
    exponent : Tensor, shape (n,)
        Whole numbers; 0 in all boxes that public functions of `intervals` return.
    """

    centre: torch.Tensor
    radius: torch.Tensor
    exponent: torch.Tensor

    @classmethod
    def between(cls, lower: torch.Tensor, upper: torch.Tensor) -> Box:
        """Return the box with these end points, in units of 1."""
        return cls((lower + upper) / 2, (upper - lower) / 2, lower.new_zeros(len(lower)))

    @property
    def lower(self) -> torch.Tensor:
        """Least values."""
        return self.centre - self.radius

    @property
    def upper(self) -> torch.Tensor:
        """Largest values."""
        return self.centre + self.radius

    def plus(self, other: Box) -> Box:
        """Return a box of all sums; both boxes have the same units."""
        assert self.exponent is other.exponent
        return self._replace(centre=self.centre + other.centre, radius=self.radius + other.radius)

    def each(self, linear: Callable[[torch.Tensor], torch.Tensor]) -> Box:
        """Return the box of all values of a linear map without negative weights."""
        return self._replace(centre=linear(self.centre), radius=linear(self.radius))

    def in_units(self, values: torch.Tensor) -> torch.Tensor:
        """Return values, which broadcast against the centre, in the units of the box."""
        return values / torch.exp2(self.exponent).view(-1, *[1] * (self.centre.dim() - 1))

    def in_its_own_units(self) -> Box:
        """Return the same box in units in which its largest end point is about 1. Derivatives stay what they are."""
        largest = (self.centre.abs() + self.radius).detach().flatten(1).amax(dim=1)
        change = torch.where(largest > 0, largest, 1).log2().round()
        return self.each(self._replace(exponent=change).in_units)._replace(exponent=self.exponent + change)

    def in_units_of_one(self) -> Box:
        """Return the same box with an exponent of 0: what is too large for the floating-point type becomes infinite."""
        back = self._replace(exponent=-self.exponent)
        return self.each(back.in_units)._replace(exponent=torch.zeros_like(self.exponent))


def image_box(images: torch.Tensor, eps: float) -> Box:
    """Return all images in [0, 1] that differ from `images` by at most `eps` in every pixel.

    Raises
    ------
    InvalidValueError
        If `eps` or a pixel is not in [0, 1].
    """
    eps = checked_radius(eps)
    check_images(images)
    return Box.between((images - eps).clamp(min=0), (images + eps).clamp(max=1))


@singledispatch
def propagate(module: nn.Module, _box: Box) -> Box:
    """Return a box that holds what the module makes of every point of a box.

    A new kind of layer takes part by ``@propagate.register``.

    Raises
    ------
    InvalidValueError
        If there is no rule for the module, or it is a batch normalisation in train mode.
    """
    kinds = ", ".join(sorted(kind.__name__ for kind in propagate.registry if kind is not object))
    raise InvalidValueError("layer", module, f"one of {kinds}, or a rule for it by propagate.register")


@propagate.register
def _(module: nn.Conv2d, box: Box) -> Box:
    if module.padding_mode != "zeros":
        raise InvalidValueError("layer", module, "padding with zeros")
    shape = module.stride, module.padding, module.dilation, module.groups
    return _affine(module, box, lambda values, weight: F.conv2d(values, weight, None, *shape))  # type: ignore[arg-type]


@propagate.register
def _(module: nn.Linear, box: Box) -> Box:
    return _affine(module, box, F.linear)


def _affine(module: nn.Conv2d | nn.Linear, box: Box, times: Callable[..., torch.Tensor]) -> Box:
    """Return the box of a layer, given what it makes of values and weights without its bias."""
    centre = times(box.centre, module.weight)
    if module.bias is not None:
        centre = centre + box.in_units(module.bias.view(1, -1, *[1] * (centre.dim() - 2)))
    return box._replace(centre=centre, radius=times(box.radius, module.weight.abs()))


@propagate.register
def _(module: nn.BatchNorm2d, box: Box) -> Box:
    if module.training or module.running_mean is None or module.running_var is None:
        raise InvalidValueError("layer", module, "batch normalisation by running statistics, in eval mode")
    scale = (module.running_var + module.eps).rsqrt()
    shift = -module.running_mean * scale
    if module.affine:
        scale, shift = scale * module.weight, shift * module.weight + module.bias
    scale, shift = scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)
    return box._replace(centre=box.centre * scale + box.in_units(shift), radius=box.radius * scale.abs())


@propagate.register
def _(module: Normalisation, box: Box) -> Box:
    return box._replace(centre=(box.centre - box.in_units(module.mean)) / module.std, radius=box.radius / module.std)


@propagate.register
def _(_module: nn.ReLU, box: Box) -> Box:
    lower, upper = F.relu(box.lower), F.relu(box.upper)
    return box._replace(centre=(lower + upper) / 2, radius=(upper - lower) / 2)


@propagate.register(nn.AvgPool2d)
@propagate.register(nn.Identity)
@propagate.register(Zero)
def _(module: nn.Module, box: Box) -> Box:
    return box.each(module)


@propagate.register
def _(module: nn.Sequential, box: Box) -> Box:
    return in_turn(module, box)


@propagate.register
def _(module: ResidualBlock, box: Box) -> Box:
    return propagate(module.shortcut, box).plus(propagate(module.convolutions, box)).in_its_own_units()


@propagate.register
def _(module: CellLayer, box: Box) -> Box:
    return through_cell(box, lambda edge, source: propagate(module.edges[edge], source))


def in_turn(modules: Iterable[nn.Module], box: Box) -> Box:
    """Propagate through one module after the other."""
    for module in modules:
        box = propagate(module, box)
    return box


def through_cell(box: Box, along_edge: Callable[[int, Box], Box]) -> Box:
    """Return the box of node 3, given node 0 and what each edge, by its number in `EDGES`, makes of its source."""
    nodes = [box]
    for target in (1, 2, 3):
        incoming = [along_edge(edge, nodes[source]) for edge, (source, node) in enumerate(EDGES) if node == target]
        nodes.append(reduce(Box.plus, incoming))
    return nodes[3].in_its_own_units()
