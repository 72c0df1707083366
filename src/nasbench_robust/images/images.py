"""Images as tensors: loading a data set and augmenting batches of it. Needs torch.

Digits need scikit-learn, Parquet files need pillow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..errors import InvalidValueError
from .arrays import check_split, load_arrays


@dataclass(frozen=True)
class Images:
    """One data set on one device.

    Attributes
    ----------
    name : str
        Canonical name.
    train_images, test_images : Tensor, shape (n, channels, size, size)
        uint8 with values 0..255 for natural images, a quarter of the memory of floats; float32 in [0, 1] for digits,
        exact sixteenths. `to_unit` makes pixels in [0, 1] of batches of either.
    train_labels, test_labels : Tensor of int64, shape (n,)
        Classes from 0.
    validation_images, validation_labels : Tensor or None
        The same of the validation split; None where the data set has none.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    validation_images: torch.Tensor | None = None
    validation_labels: torch.Tensor | None = None

    def held_out(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and labels of the split ``"test"`` or ``"validation"``.

        Raises
        ------
        UnknownNameError
            If there is no split of that name.
        InvalidValueError
            If these images have no validation split.
        """
        check_split(self.name, split, has_validation=self.validation_images is not None)
        if self.validation_images is None or self.validation_labels is None or split == "test":
            return self.test_images, self.test_labels
        return self.validation_images, self.validation_labels


def load_images(name: str, device: str | torch.device = "cpu", root: str | os.PathLike[str] | None = None) -> Images:
    """Load a data set.

    Parameters
    ----------
    name : str
        ``"digits"``: 1,797 grey images of 8x8 pixels from scikit-learn. One fixed permutation splits them into 1,024
        for training, 256 for validation and 517 for testing. ``"cifar10"``, ``"cifar100"`` and ``"ImageNet16-120"``
        are read from files; they have no validation split.
    device : str or torch.device
        Where the tensors live.
    root : str or path, optional
        Where the files are, by default the folder that the environment variable ``NASBENCH_ROBUST_IMAGES`` names: the
        folder of the files, or the one around it, or one with a folder of the data set's name. CIFAR: torchvision's
        ``cifar-10-batches-py`` and ``cifar-100-python``, or ``train-*.parquet`` and ``test-*.parquet``; or, with
        ``"hub:uoft-cs/cifar10"``, optionally with ``"@revision"``, such files of the Hugging Face Hub, downloaded once.
        ImageNet16-120: ``train_data_batch_1`` to ``10`` and ``val_data``. Digits need none. The order of the images is
        that of the files, and a training run depends on it.

    Raises
    ------
    UnknownNameError
        If there are no images of that name.
    InvalidValueError
        If there is no such device here.
    MissingDataError
        If the files are not there.
    SourceFormatError
        If a file is not what it should be: checksum of an official file, sizes, classes.
    DownloadError
        If the hub does not deliver.
    MissingPackageError
        If scikit-learn, pillow or huggingface_hub is needed and not installed.
    """
    device = _checked_device(device)
    arrays = load_arrays(name, root)
    splits = [split for split in (arrays.train, arrays.test, arrays.validation) if split is not None]
    return Images(arrays.name, *(torch.from_numpy(array).to(device) for split in splits for array in split))


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
    except RuntimeError:
        raise InvalidValueError("device", str(device), "cpu, cuda or cuda:0", "cpu") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InvalidValueError("device", str(device), "cpu: there is no CUDA device here", "cpu")
    return found


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """Return images as floats in [0, 1]: uint8 divided by 255, floats as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


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
