"""Image data sets on the disk: where their files lie, in which format, and their pixels as arrays. No torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets import Dataset, dataset
from ..errors import MissingDataError, SourceFormatError
from .formats import MD5, Split, read_batches, read_parquet

log = logging.getLogger(__name__)

IMAGES_VARIABLE = "NASBENCH_ROBUST_IMAGES"


@dataclass(frozen=True)
class Layout:
    """One format in which a data set is found.

    Attributes
    ----------
    folders : tuple of str
        Where the files may lie, below the folder that is searched.
    train, test : tuple of str
        File names, or one pattern, of each split.
    read : callable
        From the files of a split and the data set's facts to its images.
    note : str
        What the files are, for messages.
    """

    folders: tuple[str, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    read: Callable[[Sequence[Path], Dataset], Split]
    note: str

    def __str__(self) -> str:
        inside = f"{self.folders[0]}/" if self.folders[0] != "." else ""
        return f"{inside}{{{', '.join((*self.train, *self.test))}}} ({self.note})"

    def look(self, folder: Path) -> tuple[list[Path], list[Path], list[str]]:
        """Return the files of the training and of the test split in a folder, and the names of those that lack."""
        found = {
            name: [path for path in sorted(folder.glob(name)) if path.is_file()] for name in (*self.train, *self.test)
        }
        train, test = ([path for name in names for path in found[name]] for names in (self.train, self.test))
        return train, test, [name for name, files in found.items() if not files]


_TORCHVISION = "pickled batches as torchvision has them"
PARQUET = Layout(
    (".", "data", "plain_text"),
    ("train-*.parquet",),
    ("test-*.parquet",),
    read_parquet,
    "with columns img or image and fine_label or label, as the Hugging Face Hub has them",
)


def _batches(name: str, folders: tuple[str, ...], note: str) -> Layout:
    *train, test = MD5[name]
    return Layout(folders, tuple(train), (test,), read_batches, note)


LAYOUTS: dict[str, tuple[Layout, ...]] = {
    "cifar10": (_batches("cifar10", ("cifar-10-batches-py", "."), _TORCHVISION), PARQUET),
    "cifar100": (_batches("cifar100", ("cifar-100-python", "."), _TORCHVISION), PARQUET),
    "ImageNet16-120": (
        _batches("ImageNet16-120", (".", "ImageNet16"), "the pickled batches of all 1,000 classes of 16x16 ImageNet"),
    ),
}


def read_images(name: str, root: str | os.PathLike[str]) -> tuple[Split, Split]:
    """Read a data set in whichever of its formats a folder holds it.

    Parameters
    ----------
    name : str
        Canonical name, one of `LAYOUTS`.
    root : path
        The folder of the files, or the one around it, or one that has them in a folder of the data set's name.

    Returns
    -------
    train, test : Split

    Raises
    ------
    MissingDataError
        If the files are not there; the message names every place and format that would do.
    SourceFormatError
        If a file is not what it should be.
    """
    facts = dataset(name)
    layout, train_files, test_files = _find(name, Path(root))
    log.info("%s: reading %s", name, train_files[0].parent)
    splits = []
    for files, split, count in ((train_files, "train", facts.train_images), (test_files, "test", facts.test_images)):
        images = layout.read(files, facts)
        _check_split(images, facts, count, files[0].parent, f"{split} split")
        splits.append(images)
    missing = np.setdiff1d(np.arange(facts.classes), splits[0].labels)
    if len(missing):
        problem = f"no image of {len(missing)} of the {facts.classes} classes, the first being {missing[0]}"
        raise SourceFormatError(train_files[0].parent, "train split", f"{problem}: is this another data set?")
    return splits[0], splits[1]


def _find(name: str, root: Path) -> tuple[Layout, list[Path], list[Path]]:
    incomplete = ""
    for base in (root, root / name):
        for layout in LAYOUTS[name]:
            for folder in dict.fromkeys(base / inside for inside in layout.folders):
                train, test, lacking = layout.look(folder)
                if not lacking:
                    return layout, train, test
                if train or test:
                    incomplete = incomplete or f": {folder} lacks {', '.join(lacking)}"
    problem = incomplete if root.is_dir() else ": there is no such folder"
    raise MissingDataError(f"no complete {name} in {root}{problem}", expected_files(name))


def expected_files(name: str) -> str:
    """Return the sentence that says which files of a data set are expected where."""
    alternatives = "; or ".join(map(str, LAYOUTS[name]))
    hub = f"; or root='hub:uoft-cs/{name}' (downloaded once)" if PARQUET in LAYOUTS[name] else ""
    return (
        f"expected, in the folder that root= (--data-root) or {IMAGES_VARIABLE} names or in its folder {name}: "
        f"{alternatives}{hub}"
    )


def _check_split(images: Split, facts: Dataset, count: int, path: Path, where: str) -> None:
    shape = (count, facts.input_channels, facts.image_size, facts.image_size)
    if images.pixels.shape != shape or len(images.labels) != count:
        given = f"pixels of shape {images.pixels.shape} and {len(images.labels)} labels"
        raise SourceFormatError(path, where, f"{given}, expected {shape} and {count}")
    least, most = images.labels.min(), images.labels.max()
    if least < 0 or most >= facts.classes:
        raise SourceFormatError(path, where, f"classes {least}..{most}, expected 0..{facts.classes - 1}")
