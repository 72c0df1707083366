"""The macro skeleton around a cell: its shape, and closed forms for parameters and FLOPs. No torch.

The skeleton is that of NAS-Bench-201 (Dong and Yang, ICLR 2020, section 2.1): a stem, three stages of N equal cells at
widths C, 2C and 4C, a residual block of stride 2 between stages, then BN, ReLU, global average pooling and a linear
layer.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from .arrays import Integers
from .datasets import dataset
from .errors import InvalidValueError

FLOPS_RULE = (
    "multiply-accumulate operations of the convolutions and of the linear layer for one image; batch normalisation, "
    "activations, pooling and additions count nothing (the rule behind the FLOPs that NATS-Bench reports)"
)

Count = TypeVar("Count", int, Integers)


@dataclass(frozen=True)
class Skeleton:
    """Shape of the network that a cell is placed in; the defaults are the published CIFAR-10 network.

    Attributes
    ----------
    channels : int
        Width C of the first stage; the stages have C, 2C and 4C channels.
    cells_per_stage : int
        N, how many copies of the cell a stage has.
    classes, input_channels : int
        Outputs of the linear layer, channels of the images.
    image_size : int
        Pixels along a side; a multiple of 4, since both branches of the residual blocks halve it.
    """

    channels: int = 16
    cells_per_stage: int = 5
    classes: int = 10
    input_channels: int = 3
    image_size: int = 32

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise InvalidValueError(field.name, value, "a positive integer")
        if self.image_size % 4:
            hint = str(max(4, round(self.image_size / 4) * 4))
            raise InvalidValueError("image_size", self.image_size, "a multiple of 4", hint)

    def check_dataset(self, name: str, *, shrunk: bool = False) -> None:
        """Raise `InvalidValueError` if the network is not for the images and classes of the data set called `name`.

        Images that are shrunk, by whole squares of pixels, may have any size that a skeleton can have.
        """
        row = dataset(name)
        sizes = [size for size in range(4, row.image_size + 1, 4) if row.image_size % size == 0]
        fits = self.image_size in sizes if shrunk else self.image_size == row.image_size
        if not fits or (self.classes, self.input_channels) != (row.classes, row.input_channels):
            images = f"{row.classes} classes and {row.input_channels} x {row.image_size}^2 pixels"
            smaller = f", or shrunk to a size of {', '.join(map(str, sizes[:-1]))}" if shrunk and sizes[:-1] else ""
            raise InvalidValueError("skeleton", self, f"a Skeleton for {images}, the images of {row.name}{smaller}")

    @classmethod
    def for_dataset(cls, name: str, *, channels: int = 16, cells_per_stage: int = 5) -> Skeleton:
        """Return the skeleton for the images and classes of the data set called `name`."""
        row = dataset(name)
        return cls(channels, cells_per_stage, row.classes, row.input_channels, row.image_size)

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels of the three stages."""
        return self.channels, 2 * self.channels, 4 * self.channels

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Pixels along a side in the three stages."""
        return self.image_size, self.image_size // 2, self.image_size // 4

    def parameters(self, conv_1x1: Count, conv_3x3: Count) -> Count:
        """Count the trainable parameters of a network whose cell has so many convolutions.

        Parameters
        ----------
        conv_1x1, conv_3x3 : int or ndarray of int64
            Convolutions of each size in the cell, on dead edges too: they are built, so they count.
        """
        # Per convolution at width c: k*k*c*c weights and BN's scale and shift.
        per_1x1 = self.cells_per_stage * sum(c * c + 2 * c for c in self.widths)
        per_3x3 = self.cells_per_stage * sum(9 * c * c + 2 * c for c in self.widths)
        stem = 9 * self.input_channels * self.channels + 2 * self.channels
        # A residual block c -> 2c: conv3x3 c*2c with BN, conv3x3 2c*2c with BN, conv1x1 c*2c without.
        blocks = sum(18 * c * c + 4 * c + 36 * c * c + 4 * c + 2 * c * c for c in self.widths[:2])
        last = self.widths[2]
        head = 2 * last + last * self.classes + self.classes
        return stem + blocks + head + conv_1x1 * per_1x1 + conv_3x3 * per_3x3

    def flops(self, conv_1x1: Count, conv_3x3: Count) -> Count:
        """Count multiply-accumulate operations for one image; `FLOPS_RULE` states the rule.

        Parameters
        ----------
        conv_1x1, conv_3x3 : int or ndarray of int64
            Convolutions of each size in the cell.
        """
        stages = list(zip(self.widths, self.sizes, strict=True))
        per_1x1 = self.cells_per_stage * sum(c * c * s * s for c, s in stages)
        stem = 9 * self.input_channels * self.channels * self.image_size**2
        blocks = sum((18 + 36 + 2) * c * c * (s // 2) ** 2 for c, s in stages[:2])
        head = self.widths[2] * self.classes
        return stem + blocks + head + conv_1x1 * per_1x1 + conv_3x3 * (9 * per_1x1)
