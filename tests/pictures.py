"""Made-up image data sets in the formats of the real ones, for tests."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from nasbench_robust.datasets import DATASETS
from nasbench_robust.images import Split

TRAIN, TEST = 256, 130
KINDS = [
    ("cifar10", "batches"),
    ("cifar10", "parquet"),
    ("cifar100", "batches"),
    ("cifar100", "parquet"),
    ("ImageNet16-120", "batches"),
]


def python2(value: object) -> bytes:
    """Return a value as Python 2 pickled it, in which form the official files are."""
    if isinstance(value, (str, bytes)):
        raw = value.encode() if isinstance(value, str) else value
        return b"T" + struct.pack("<i", len(raw)) + raw
    if isinstance(value, (int, np.integer)):
        return b"J" + struct.pack("<i", int(value))
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(part) for item in value.items() for part in item) + b"u"
    assert isinstance(value, np.ndarray)
    shape = b"(" + b"".join(map(python2, value.shape)) + b"t"
    kind = b"cnumpy\ndtype\n" + python2(value.dtype.str[1:]) + b"K\x00K\x01\x87R"
    kind += b"(K\x03" + python2(value.dtype.str[0]) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    return empty + b"(K\x01" + shape + kind + b"\x89" + python2(value.tobytes()) + b"tb"


def python2_pickle(value: object) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def made_up(name: str) -> tuple[Split, Split]:
    """Return both splits of a small data set in which every class occurs."""
    facts, rng = DATASETS[name], np.random.default_rng(len(name))
    shape = (facts.input_channels, facts.image_size, facts.image_size)
    return tuple(
        Split(rng.integers(0, 256, (count, *shape), np.uint8), np.arange(count) * 7 % facts.classes)
        for count in (TRAIN, TEST)
    )


def write_batches(folder: Path, name: str, splits: tuple[Split, Split]) -> Path:
    """Write pickled batches; of ImageNet16 with images of other classes in between."""
    *train, test = MD5_NAMES[name]
    folder.mkdir(parents=True, exist_ok=True)
    for files, split in ((train, splits[0]), ([test], splits[1])):
        parts = zip(files, *(np.array_split(array, len(files)) for array in split), strict=True)
        for file, pixels, labels in parts:
            rows, given = pixels.reshape(len(pixels), -1), labels.tolist()
            if name == "ImageNet16-120":
                rows = np.repeat(rows, 2, axis=0)
                given = [number for label in given for number in (label + 1, 121 + label)]
            content = {"batch_label": file, "fine_labels" if name == "cifar100" else "labels": given, "data": rows}
            if name == "cifar100":
                content["coarse_labels"] = [label // 5 for label in given]
            (folder / file).write_bytes(python2_pickle(content))
    return folder


MD5_NAMES = {name: (*row.layouts[0].train, *row.layouts[0].test) for name, row in DATASETS.items() if row.layouts}


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return file.getvalue()


def write_parquet(
    folder: Path, name: str, splits: tuple[Split, Split], *, kind: str = "PNG", image: str = "img", shards: int = 1
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    label = "fine_label" if name == "cifar100" else "label"
    for title, split in zip(("train", "test"), splits, strict=True):
        for number, part in enumerate(np.array_split(np.arange(len(split.labels)), shards)):
            images = [{"bytes": encoded(split.pixels[row], kind), "path": None} for row in part]
            columns = {image: images, label: split.labels[part]}
            if name == "cifar100":
                columns["coarse_label"] = split.labels[part] // 5
            pq.write_table(pa.table(columns), folder / f"{title}-{number:05d}-of-{shards:05d}.parquet")
    return folder


FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "ImageNet16-120": "ImageNet16"}


def write(root: Path, name: str, form: str, splits: tuple[Split, Split]) -> Path:
    """Write a data set as the published ones are found."""
    if form == "parquet":
        return write_parquet(root, name, splits, kind="WEBP")
    write_batches(root / FOLDERS[name], name, splits)
    return root
