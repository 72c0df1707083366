"""Image data sets as NumPy arrays, and augmentation of batches of them. No torch; `images` makes tensors of them.

Digits need scikit-learn, Parquet files need pillow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..datasets import canonical_name, dataset
from ..errors import InvalidValueError, MissingDataError, MissingPackageError, UnknownNameError
from ..files import hub
from ..metrics import SPLITS
from .files import IMAGES_VARIABLE, PARQUET, expected_files, read_images

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Split = tuple[Pixels, npt.NDArray[np.int64]]


@dataclass(frozen=True)
class ImageArrays:
    """One data set.

    Attributes
    ----------
    name : str
        Canonical name.
    train, test : tuple of ndarray
        Pixels, shape (n, channels, size, size), and classes from 0, shape (n,). Pixels are uint8 with values 0..255 for
        natural images; float32 in [0, 1] for digits, exact sixteenths.
    validation : tuple of ndarray or None
        The same of the validation split; None where the data set has none.
    """

    name: str
    train: Split
    test: Split
    validation: Split | None = None

    def held_out(self, split: str) -> Split:
        """Return the split ``"test"`` or ``"validation"``.

        Raises
        ------
        UnknownNameError
            If there is no split of that name.
        InvalidValueError
            If these images have no validation split.
        """
        check_split(self.name, split, has_validation=self.validation is not None)
        return self.test if self.validation is None or split == "test" else self.validation


def check_split(name: str, split: str, *, has_validation: bool) -> None:
    """Refuse a split that there is not, or that images called `name` do not have."""
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    if split == "validation" and not has_validation:
        raise InvalidValueError("split", split, f"'test': these images of {name} have no validation split", "test")


def load_arrays(name: str, root: str | os.PathLike[str] | None = None) -> ImageArrays:
    """Load a data set; parameters and errors are those of `nasbench_robust.images.images.load_images`."""
    name = canonical_name(name)
    if name == "digits":
        return _digits()
    train, test = read_images(name, _folder(name, root))
    return ImageArrays(name, train, test)


def _folder(name: str, root: str | os.PathLike[str] | None) -> Path:
    """Return the folder to search for a data set's files."""
    given = root if root is not None else os.environ.get(IMAGES_VARIABLE)
    if not given:
        raise MissingDataError(f"no folder of {name} was named", expected_files(name))
    if isinstance(given, str) and given.startswith("hub:"):
        return hub.download(given, *(f"*{pattern}" for pattern in PARQUET.train + PARQUET.test))
    return Path(given).expanduser()


def _digits() -> ImageArrays:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingPackageError("scikit-learn", "train") from None
    pixels, labels = load_digits(return_X_y=True)
    # The legacy generator: its stream is frozen by numpy, so these splits are the same with every version.
    order = np.random.RandomState(0).permutation(len(labels))
    images = (pixels[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    classes = labels[order].astype(np.int64)
    facts = dataset("digits")
    cuts = np.cumsum([facts.train_images, facts.validation_images])
    train, validation, test = zip(np.split(images, cuts), np.split(classes, cuts), strict=True)
    return ImageArrays("digits", train, test, validation)


def to_unit(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Return pixels as float32 in [0, 1]: uint8 divided by 255, floats as they are."""
    return pixels.astype(np.float32) / np.float32(255) if pixels.dtype == np.uint8 else pixels.astype(np.float32)


def crop(images: npt.NDArray[np.float32], padding: int, corners: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
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


def flip(images: npt.NDArray[np.float32], flipped: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Mirror the images that are marked, left to right."""
    return np.where(flipped[:, None, None, None], images[..., ::-1], images)
