"""The image data sets, one row each: sizes, classes, normalisation, budget, files, protocol. No pixels, no torch.

Sources: CIFAR-10/100 and ImageNet16-120 as in NAS-Bench-201 (Dong and Yang, ICLR 2020) and as used for NAS-RobBench-201
(Wu et al., ICLR 2024); digits are the test set of the UCI optical recognition of handwritten digits data set (Alpaydin
and Kaynak, 1998, CC BY 4.0), as scikit-learn ships it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import UnknownNameError
from .metrics import autoattack, fgsm, pgd


@dataclass(frozen=True)
class Layout:
    """One set of files in which a data set is found.

    Attributes
    ----------
    format : str
        Key of `nasbench_robust.images.READERS`.
    folders : tuple of str
        Where the files may lie, below the folder that is searched.
    train, test : tuple of str
        File names, or one pattern, of each split.
    note : str
        What the files are, for messages.
    md5 : mapping of str to str
        Of the official files, by name.
    """

    format: str
    folders: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    note: str
    md5: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        inside = f"{self.folders[0]}/" if self.folders[0] != "." else ""
        return f"{inside}{{{', '.join((*self.train, *self.test))}}} ({self.note})"


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
    layouts : tuple of Layout
        Files that hold it, in the order in which they are looked for.
    load : str or callable, optional
        What returns the `nasbench_robust.images.Images` of a data set that is not read from such files, or
        ``"room.file:function"``.
    protocol : mapping
        What the benchmark trains it with, where that is not the published protocol on CIFAR-10: fields of
        `nasbench_robust.settings.TrainingSettings`, ``channels`` and ``cells_per_stage`` of its skeleton.
    spellings : tuple of str
        Other names that it is known by, lower case without punctuation.
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
    layouts: tuple[Layout, ...] = field(default=(), repr=False)
    load: str | Callable[[], Any] | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict, repr=False)
    spellings: tuple[str, ...] = ()

    @property
    def held_out(self) -> dict[str, int]:
        """Images of every split that networks are measured on: test first, then validation where there is one."""
        sizes = {"test": self.test_images, "validation": self.validation_images}
        return {split: images for split, images in sizes.items() if images}


def _of_255(*values: float) -> tuple[float, ...]:
    return tuple(value / 255 for value in values)


def _batches(folders: tuple[str, ...], note: str, md5: dict[str, str]) -> Layout:
    """Return the layout of pickled batches, the last of which is the test split."""
    *train, test = md5
    return Layout("batches", folders, tuple(train), (test,), note, md5)


_TORCHVISION = "pickled batches as torchvision has them"
_PARQUET = Layout(
    "parquet",
    (".", "data", "plain_text"),
    ("train-*.parquet",),
    ("test-*.parquet",),
    "with columns img or image and fine_label or label, as the Hugging Face Hub has them",
)

# Checksums: CIFAR as in torchvision, ImageNet16 as in the code of NAS-Bench-201.
CIFAR10 = Dataset(
    name="cifar10",
    classes=10,
    input_channels=3,
    image_size=32,
    train_images=50_000,
    test_images=10_000,
    mean=_of_255(125.3, 123.0, 113.9),
    std=_of_255(63.0, 62.1, 66.7),
    eps=8 / 255,
    layouts=(
        _batches(
            ("cifar-10-batches-py", "."),
            _TORCHVISION,
            {
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
            },
        ),
        _PARQUET,
    ),
)
CIFAR100 = Dataset(
    name="cifar100",
    classes=100,
    input_channels=3,
    image_size=32,
    train_images=50_000,
    test_images=10_000,
    mean=_of_255(129.3, 124.1, 112.4),
    std=_of_255(68.2, 65.4, 70.4),
    eps=8 / 255,
    layouts=(
        _batches(
            ("cifar-100-python", "."),
            _TORCHVISION,
            {"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
        ),
        _PARQUET,
    ),
)
IMAGENET16_120 = Dataset(
    name="ImageNet16-120",
    classes=120,
    input_channels=3,
    image_size=16,
    train_images=151_700,
    test_images=6_000,
    mean=_of_255(122.68, 116.66, 104.01),
    std=_of_255(63.22, 61.26, 65.09),
    eps=8 / 255,
    layouts=(
        _batches(
            (".", "ImageNet16"),
            "the pickled batches of all 1,000 classes of 16x16 ImageNet",
            {
                "train_data_batch_1": "27846dcaa50de8e21a7d1a35f30f0e91",
                "train_data_batch_2": "c7254a054e0e795c69120a5727050e3f",
                "train_data_batch_3": "4333d3df2e5ffb114b05d2ffc19b1e87",
                "train_data_batch_4": "1620cdf193304f4a92677b695d70d10f",
                "train_data_batch_5": "348b3c2fdbb3940c4e9e834affd3b18d",
                "train_data_batch_6": "6e765307c242a1b3d7d5ef9139b48945",
                "train_data_batch_7": "564926d8cbf8fc4818ba23d2faac7564",
                "train_data_batch_8": "f4755871f718ccb653440b9dd0ebac66",
                "train_data_batch_9": "bb6dd660c38c58552125b1a92f86b5d4",
                "train_data_batch_10": "8f03f34ac4b42271a294f91bf480f29b",
                "val_data": "3410e3017fdaefba8d5073aaa65e4bd6",
            },
        ),
    ),
    protocol={"crop_padding": 2},
    spellings=("imagenet", "imagenet16"),
)
DIGITS = Dataset(
    name="digits",
    classes=10,
    input_channels=1,
    image_size=8,
    train_images=1_024,
    test_images=517,
    mean=(0.3051,),  # pixels of the training images divided by 16 (tests/images recomputes them)
    std=(0.3754,),
    eps=0.1,
    validation_images=256,
    load="images.loading:digits",
    protocol={
        "channels": 4,
        "cells_per_stage": 1,
        "attack": pgd(0.1, steps=7, step_size=0.1 / 4),
        "epochs": 20,
        "batch_size": 32,
        "crop_padding": 1,
        "flip": False,
        "evaluation": (fgsm(0.05), pgd(0.05), fgsm(0.1), pgd(0.1), autoattack(0.1)),
    },
)
DATASETS: dict[str, Dataset] = {row.name: row for row in (CIFAR10, CIFAR100, IMAGENET16_120, DIGITS)}


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
        folded = _fold(name)
        for row in DATASETS.values():
            if folded in (_fold(row.name), *row.spellings):
                return row.name
    raise UnknownNameError("data set", name, tuple(DATASETS))


def _fold(name: str) -> str:
    return re.sub(r"[-_ .]", "", name.lower())


def dataset(name: str) -> Dataset:
    """Return the row of the data set called `name`, in any usual spelling."""
    return DATASETS[canonical_name(name)]
