"""Augmentation of batches of tensors by draws from a generator. Needs torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def random_crop(images: torch.Tensor, padding: int, generator: torch.Generator) -> torch.Tensor:
    """Shift every image by up to `padding` pixels in both directions, filling with zeros.

    Parameters
    ----------
    images : Tensor, shape (n, channels, size, size)
    padding : int
        Zero pixels on every side before a crop of the original size.
    generator : torch.Generator
        Two draws per image.

    Returns
    -------
    Tensor of the same shape
    """
    if padding == 0:
        return images
    count, _, size, _ = images.shape
    padded = F.pad(images, (padding,) * 4)
    corners = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator, device=generator.device)
    rows, columns = corners.to(images.device) + torch.arange(size, device=images.device)
    batch = torch.arange(count, device=images.device)[:, None, None]
    # Advanced indices around the channel slice move the channels to the end.
    return padded[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def shrink(images: torch.Tensor, size: int) -> torch.Tensor:
    """Return images of `size` pixels along a side, each the mean of the square of pixels that it stands for.

    Parameters
    ----------
    images : Tensor, shape (n, channels, side, side)
        Of floats.
    size : int
        Divides the side without a remainder.
    """
    return images if images.shape[-1] == size else F.interpolate(images, size, mode="area")


def random_flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror every image left to right with probability one half; one draw per image."""
    flipped = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(3), images)


def use_threads(count: int) -> None:
    """Let torch use so many CPU threads; results depend on it."""
    torch.set_num_threads(count)
