"""Images as tensors: loading a data set and augmenting batches of it. Needs torch, and scikit-learn for digits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .datasets import canonical_name, dataset
from .errors import InvalidValueError, MissingPackageError, UnknownNameError

__all__ = ["AVAILABLE", "Images", "load_images", "random_crop", "random_flip"]

AVAILABLE = ("digits",)


@dataclass(frozen=True)
class Images:
    """One data set on one device.

    Attributes
    ----------
    name : str
        Canonical name.
    train_images, test_images : Tensor of float32, shape (n, channels, size, size)
        Pixels in [0, 1].
    train_labels, test_labels : Tensor of int64, shape (n,)
        Classes from 0.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


def load_images(name: str, device: str | torch.device = "cpu") -> Images:
    """Load a data set.

    Parameters
    ----------
    name : str
        ``"digits"``: 1,797 grey images of 8x8 pixels from scikit-learn. One fixed permutation splits them into 1,280
        for training and 517 for testing.
    device : str or torch.device
        Where the tensors live.

    Raises
    ------
    UnknownNameError
        If there are no images of that name.
    InvalidValueError
        If there is no such device here.
    MissingPackageError
        If scikit-learn is not installed.
    """
    name = canonical_name(name)
    if name not in AVAILABLE:
        raise UnknownNameError("image data set", name, AVAILABLE)
    device = _checked_device(device)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingPackageError("scikit-learn", "train") from None
    pixels, labels = load_digits(return_X_y=True)
    # The legacy generator: its stream is frozen by numpy, so this split is the same with every version.
    order = np.random.RandomState(0).permutation(len(labels))
    images = torch.tensor(pixels[order] / 16, dtype=torch.float32, device=device).view(-1, 1, 8, 8)
    classes = torch.tensor(labels[order], dtype=torch.int64, device=device)
    cut = dataset(name).train_images
    return Images(name, images[:cut], classes[:cut], images[cut:], classes[cut:])


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InvalidValueError("device", str(device), "cpu, cuda or cuda:0", "cpu") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InvalidValueError("device", str(device), "cpu: there is no CUDA device here", "cpu")
    return found


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


def random_flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror every image left to right with probability one half; one draw per image."""
    flipped = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(3), images)
