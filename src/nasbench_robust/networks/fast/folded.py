"""A network in eval mode as a function of images alone, for attacks and evaluation: normalisation folded away."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..published import Network
from .shared import SharedNetwork


class FoldedNetwork(SharedNetwork):
    """A `Network` in eval mode whose batch normalisations are part of the convolutions before them.

    Equal to the network up to rounding, and so is its gradient with respect to the images; there is none with respect
    to parameters. It is the network as it was when `fold` was last called.

    Parameters
    ----------
    network : Network
        On its device; its mode is of no importance and left alone.
    dtype : torch.dtype, optional
        Of features and of the weights of convolutions, for example ``torch.bfloat16``; the network's by default.
    """

    def __init__(self, network: Network, dtype: torch.dtype | None = None) -> None:
        super().__init__(network, dtype)
        self.fold()

    @torch.no_grad()
    def fold(self) -> None:
        """Take over the network's parameters and statistics as they are now."""
        (linear,), eps = self._linear, self._norms[-1].eps
        scale = self._of_norms("weight") / (self._of_norms("running_var") + eps).sqrt()
        shift = self._of_norms("bias") - self._of_norms("running_mean") * scale
        *scales, last_scale = self._by_group(scale)
        *shifts, last_shift = self._by_group(shift)
        facts = zip(self._weights(), scales, shifts, strict=True)
        self._folded = [self._fold_group(weight, *affine) for weight, *affine in facts]
        self._last = last_shift[:, None, None], last_scale[:, None, None]
        self._head = linear.weight.clone(), linear.bias.clone()

    def _fold_group(
        self, weight: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias of a group's convolution; one without normalisation has no bias."""
        normalised = len(scale) > 0
        weight = weight * scale[:, None, None, None] if normalised else weight.clone()
        return (
            weight.to(self._dtype, memory_format=torch.channels_last),
            shift.to(self._dtype) if normalised else None,
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size)."""
        features = self._features(images, self._convolve)
        shift, scale = self._last
        active = F.relu(torch.addcmul(shift, features, scale))
        return F.linear(active.mean(dim=(2, 3)), *self._head)

    def _convolve(self, number: int, features: torch.Tensor) -> torch.Tensor:
        return self._groups[number].convolve(features, *self._folded[number])
