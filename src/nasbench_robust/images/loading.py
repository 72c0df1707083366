"""From the name of a data set to its images. Digits are part of the package; Parquet files need pillow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .._door import resolve
from ..datasets import DIGITS, dataset
from ..errors import MissingDataError
from ..files import as_path, hub
from .files import IMAGES_VARIABLE, expected_files, read_images
from .images import ArrayImages, Images, Split, TensorImages, checked_device

if TYPE_CHECKING:
    import torch

_DIGITS = Path(__file__).parents[1] / "data" / "digits" / "images.npz"  # pixels 0..16, classes


def load_images(
    name: str, device: str | torch.device = "cpu", root: str | os.PathLike[str] | None = None
) -> TensorImages:
    """Load a data set as tensors.

    Parameters
    ----------
    name : str
        ``"digits"``: 1,797 grey images of 8x8 pixels, part of the package. One fixed permutation splits them into 1,024
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
        If pillow or huggingface_hub is needed and not installed.
    """
    place = checked_device(device)  # before the reading, which takes longer
    return load_arrays(name, root).to(place)


def load_arrays(name: str, root: str | os.PathLike[str] | None = None) -> ArrayImages:
    """Load a data set as arrays, without torch; parameters and errors are those of `load_images`."""
    row = dataset(name)
    if row.load is None:
        return Images(row.name, *read_images(row.name, _folder(row.name, root)))
    images: ArrayImages = resolve(row.load)()
    return images


def _folder(name: str, root: str | os.PathLike[str] | None) -> Path:
    """Return the folder to search for a data set's files."""
    folder = root if root is not None else os.environ.get(IMAGES_VARIABLE)
    if not folder:
        raise MissingDataError(f"no folder of {name} was named", expected_files(name))
    if isinstance(folder, str) and folder.startswith("hub:"):
        patterns = [
            p for layout in dataset(name).layouts if layout.format == "parquet" for p in layout.train + layout.test
        ]
        return hub.download(folder, *(f"*{pattern}" for pattern in patterns))
    return as_path(folder, "root")


def digits() -> ArrayImages:
    """Return the digits in the benchmark's splits."""
    with np.load(_DIGITS) as stored:
        pixels, labels = stored["pixels"], stored["labels"]
    # The legacy generator: its stream is frozen by numpy, so these splits are the same with every version.
    order = np.random.RandomState(0).permutation(len(labels))
    images = (pixels[order] / 16).astype(np.float32)[:, None]
    classes = labels[order].astype(np.int64)
    cuts = np.cumsum([DIGITS.train_images, DIGITS.validation_images])
    train, validation, test = map(Split, np.split(images, cuts), np.split(classes, cuts))
    return Images("digits", train, test, validation)
