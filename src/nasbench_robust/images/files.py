"""Image data sets on the disk: where their files lie, in which format, and their pixels as arrays. No torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..datasets import Dataset, Layout, dataset
from ..errors import MissingDataError, SourceFormatError
from .formats import read_batches, read_parquet
from .images import ArraySplit

log = logging.getLogger(__name__)

IMAGES_VARIABLE = "NASBENCH_ROBUST_IMAGES"
# How files of a format become a split: from the files of a split, the facts of its data set and its layout.
READERS: dict[str, Callable[[Sequence[Path], Dataset, Layout], ArraySplit]] = {
    "batches": read_batches,
    "parquet": read_parquet,
}


def read_images(name: str, root: str | os.PathLike[str]) -> tuple[ArraySplit, ArraySplit]:
    """Read a data set in whichever of its formats a folder holds it.

    Parameters
    ----------
    name : str
        Canonical name.
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
    row = dataset(name)
    layout, train_files, test_files = _find(name, Path(root))
    log.info("%s: reading %s", name, train_files[0].parent)
    splits = []
    for files, split, count in ((train_files, "train", row.train_images), (test_files, "test", row.test_images)):
        images = READERS[layout.format](files, row, layout)
        _check_split(images, row, count, files[0].parent, f"{split} split")
        splits.append(images)
    missing = np.setdiff1d(np.arange(row.classes), splits[0].labels)
    if len(missing):
        problem = f"no image of {len(missing)} of the {row.classes} classes, the first being {missing[0]}"
        raise SourceFormatError(train_files[0].parent, "train split", f"{problem}: is this another data set?")
    return splits[0], splits[1]


def _find(name: str, root: Path) -> tuple[Layout, list[Path], list[Path]]:
    incomplete = ""
    for base in (root, root / name):
        for layout in dataset(name).layouts:
            for folder in dict.fromkeys(base / inside for inside in layout.folders):
                train, test, lacking = _look(layout, folder)
                if not lacking:
                    return layout, train, test
                if train or test:
                    incomplete = incomplete or f": {folder} lacks {', '.join(lacking)}"
    problem = incomplete if root.is_dir() else ": there is no such folder"
    raise MissingDataError(f"no complete {name} in {root}{problem}", expected_files(name))


def _look(layout: Layout, folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Return the files of the training and of the test split in a folder, and the names of those that lack."""
    by_name = {
        name: [path for path in sorted(folder.glob(name)) if path.is_file()] for name in (*layout.train, *layout.test)
    }
    train, test = ([path for name in names for path in by_name[name]] for names in (layout.train, layout.test))
    return train, test, [name for name, files in by_name.items() if not files]


def expected_files(name: str) -> str:
    """Return the sentence that says which files of a data set are expected where."""
    layouts = dataset(name).layouts
    alternatives = "; or ".join(map(str, layouts))
    on_hub = any(layout.format == "parquet" for layout in layouts)
    hub = f"; or root='hub:uoft-cs/{name}' (downloaded once)" if on_hub else ""
    return (
        f"expected, in the folder that root= (--data-root) or {IMAGES_VARIABLE} names or in its folder {name}: "
        f"{alternatives}{hub}"
    )


def _check_split(images: ArraySplit, row: Dataset, count: int, path: Path, where: str) -> None:
    shape = (count, row.input_channels, row.image_size, row.image_size)
    if images.pixels.shape != shape or len(images.labels) != count:
        held = f"pixels of shape {images.pixels.shape} and {len(images.labels)} labels"
        raise SourceFormatError(path, where, f"{held}, expected {shape} and {count}")
    least, most = images.labels.min(), images.labels.max()
    if least < 0 or most >= row.classes:
        raise SourceFormatError(path, where, f"classes {least}..{most}, expected 0..{row.classes - 1}")
