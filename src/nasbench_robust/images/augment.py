"""Augmentation of batches of arrays by given draws, and pixels in [0, 1] of arrays and tensors alike. No torch."""

from __future__ import annotations

import numpy as np

from ..arrays import Booleans, Integers, Singles
from .images import Pixels


def to_unit(pixels: Pixels) -> Pixels:
    """Return pixels as floats in [0, 1]: uint8 divided by 255, floats as they are; arrays become float32."""
    if isinstance(pixels, np.ndarray):
        floats = pixels.astype(np.float32)
        return floats / np.float32(255) if pixels.dtype == np.uint8 else floats
    return pixels if pixels.is_floating_point() else pixels.float() / 255


def crop(images: Singles, padding: int, corners: Integers) -> Singles:
    """Shift every image by up to `padding` pixels in both directions, filling with zeros.

    Parameters
    ----------
    images : ndarray, shape (n, channels, size, size)
    padding : int
        Zero pixels on every side before a crop of the original size.
    corners : ndarray of int, shape (2, n)
        Row and column of each image's crop in the padded image, 0..2 * padding.
    """
    size = images.shape[-1]
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    return np.ascontiguousarray(windows[np.arange(len(images)), :, corners[0], corners[1]])


def flip(images: Singles, flipped: Booleans) -> Singles:
    """Mirror the images that are marked, left to right."""
    return np.where(flipped[:, None, None, None], images[..., ::-1], images)
