"""Facts about the image data sets: names, sizes, classes, normalisation, perturbation budget. No pixels, no torch.

Sources: CIFAR-10/100 and ImageNet16-120 as in NAS-Bench-201 (Dong and Yang, ICLR 2020) and as used for NAS-RobBench-201
(Wu et al., ICLR 2024); digits as shipped with scikit-learn (the test set of the UCI optical digits).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import UnknownNameError


@dataclass(frozen=True)
class Dataset:
    """What is fixed about one image data set.

    Attributes
    ----------
    name : str
        Canonical name.
    classes, input_channels, image_size : int
        Number of classes, channels and pixels along a side.
    train_images, test_images : int
        Sizes of the training and of the test split.
    mean, std : tuple of float
        Per-channel normalisation of pixels in [0, 1]; a layer inside the network, so that `eps` is in pixels.
    eps : float
        L-infinity budget that `pgd_acc` and its like mean when no `eps` is given, in units of pixels in [0, 1].
    validation_images : int
        Size of a validation split apart from the other two, for search methods to select on; 0 where the published
        protocol has none.
    """

    name: str
    classes: int
    input_channels: int
    image_size: int
    train_images: int
    test_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    eps: float
    validation_images: int = 0

    @property
    def held_out(self) -> dict[str, int]:
        """Images of every split that networks are measured on: test first, then validation where there is one."""
        sizes = {"test": self.test_images, "validation": self.validation_images}
        return {split: images for split, images in sizes.items() if images}


def _of_255(*values: float) -> tuple[float, ...]:
    return tuple(value / 255 for value in values)


DATASETS: dict[str, Dataset] = {
    facts.name: facts
    for facts in (
        Dataset("cifar10", 10, 3, 32, 50_000, 10_000, _of_255(125.3, 123.0, 113.9), _of_255(63.0, 62.1, 66.7), 8 / 255),
        Dataset(
            "cifar100", 100, 3, 32, 50_000, 10_000, _of_255(129.3, 124.1, 112.4), _of_255(68.2, 65.4, 70.4), 8 / 255
        ),
        Dataset(
            "ImageNet16-120",
            120,
            3,
            16,
            151_700,
            6_000,
            _of_255(122.68, 116.66, 104.01),
            _of_255(63.22, 61.26, 65.09),
            8 / 255,
        ),
        # mean and std: pixels of the 1,024 training images divided by 16 (tests/test_images.py recomputes them)
        Dataset("digits", 10, 1, 8, 1_024, 517, (0.3051,), (0.3754,), 0.1, validation_images=256),
    )
}

_SPELLINGS = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in DATASETS} | {
    "imagenet": "ImageNet16-120",
    "imagenet16": "ImageNet16-120",
}


def canonical_name(name: object) -> str:
    """Return the canonical spelling of a data set's name (``"CIFAR-10"`` gives ``"cifar10"``).

    Raises
    ------
    UnknownNameError
        If no data set is known by that name.
    """
    if isinstance(name, str):
        if name in DATASETS:
            return name
        found = _SPELLINGS.get(re.sub(r"[-_ .]", "", name.lower()))
        if found:
            return found
    raise UnknownNameError("data set", name, tuple(DATASETS))


def dataset(name: str) -> Dataset:
    """Return the facts of the data set called `name`, in any usual spelling."""
    return DATASETS[canonical_name(name)]
