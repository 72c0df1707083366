"""The formats in which image data sets are published, read into arrays: pickled batches and Parquet. No torch."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..arrays import Integers
from ..datasets import Dataset, Layout
from ..errors import MissingDataError, MissingPackageError, SourceFormatError
from ..files import checksum
from .decoded import decoded_once
from .images import ArraySplit, Split
from .pickles import load_pickle


def read_batches(files: Sequence[Path], row: Dataset, layout: Layout) -> ArraySplit:
    """Read pickled batches: dictionaries with ``data``, a row of planes per image, and labels.

    Parameters
    ----------
    files : sequence of Path
        All batches of a split, in order.
    row : Dataset
        Of ImageNet16 only its first classes are kept, batch by batch: the others would fill a gigabyte.
    layout : Layout
        Its checksums are those of the official files.

    Raises
    ------
    SourceFormatError
        If a file has not the MD5 of the official one, or not the content.
    MissingDataError
        If a file cannot be read.
    """
    wanted = "fine_labels" if row.name == "cifar100" else "labels"
    batches = []
    for path in files:
        _check_md5(path, layout.md5.get(path.name))
        content = load_pickle(path)
        if absent := [key for key in ("data", wanted) if key not in content]:
            raise SourceFormatError(path, "", f"no {absent[0]!r} among its keys {', '.join(map(repr, content))}")
        batches.append(_batch(content["data"], content[wanted], row, path))
    return Split(np.concatenate([batch.pixels for batch in batches]), np.concatenate([b.labels for b in batches]))


def _batch(data: Any, given_labels: Any, row: Dataset, path: Path) -> ArraySplit:
    """Return the images of a batch, whose rows hold the red plane, then the green and the blue one."""
    width = row.input_channels * row.image_size**2
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != width:
        held = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise SourceFormatError(path, "data", f"{held}, expected uint8 of shape (n, {width})")
    try:
        labels = np.asarray(given_labels)
    except ValueError:
        labels = np.empty(0)
    if labels.shape != data.shape[:1] or labels.dtype.kind not in "iu":
        held = f"{labels.dtype} of shape {labels.shape}"
        raise SourceFormatError(path, "labels", f"{held}, expected integers of shape ({len(data)},)")
    labels = labels.astype(np.int64)
    if row.name == "ImageNet16-120":  # the first 120 of 1,000 classes, counted from 1
        kept = labels <= row.classes
        data, labels = data[kept], labels[kept] - 1
    return Split(data.reshape(-1, row.input_channels, row.image_size, row.image_size), labels)


def _check_md5(path: Path, expected: str | None) -> None:
    if expected is None:
        return
    try:
        digest = checksum(path, "md5")
    except OSError as error:
        raise MissingDataError(f"cannot read {path} ({error.strerror})", "check the path") from None
    if digest != expected:
        problem = f"its MD5 is {digest}, that of the official file is {expected}"
        raise SourceFormatError(path, "", f"{problem}: fetch it again")


def read_parquet(files: Sequence[Path], row: Dataset, layout: Layout) -> ArraySplit:  # noqa: ARG001
    """Read encoded images from Parquet files as the Hugging Face Hub has them; those that were decoded before are kept.

    Parameters
    ----------
    files : sequence of Path
        All shards of a split, in order. Columns: ``img`` or ``image``, PNG or WEBP bytes or a struct with them as
        ``bytes``; ``fine_label`` or ``label``, classes from 0.
    row : Dataset
    layout : Layout

    Raises
    ------
    SourceFormatError
        If a shard is missing, or a file is not what it should be.
    MissingPackageError
        If pillow is not installed.
    """
    _check_shards(files)
    return decoded_once(files, row, lambda: _decoded(files, row))


def _decoded(files: Sequence[Path], row: Dataset) -> ArraySplit:
    """Return what Parquet files hold, as `read_parquet` does."""
    pixels, labels = [], []
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                image, label = _columns(file.schema_arrow, path)
                done = 0
                for batch in file.iter_batches(batch_size=1000, columns=[image, label]):
                    pixels.append(_decode(batch.column(image), row, path, done))
                    labels.append(_labels(batch.column(label), path))
                    done += len(batch)
        except (pa.ArrowException, OSError) as error:
            raise SourceFormatError(path, "", f"not a readable Parquet file ({str(error).splitlines()[0]})") from None
    if not pixels:
        raise SourceFormatError(files[0], "", "it holds no images")
    return Split(np.ascontiguousarray(np.concatenate(pixels).transpose(0, 3, 1, 2)), np.concatenate(labels))


def _check_shards(files: Sequence[Path]) -> None:
    """Find out from ``-of-00002`` in a name whether there are as many files as there should be."""
    stated = {int(match[1]) for file in files if (match := re.search(r"-of-(\d+)\.parquet$", file.name))}
    if stated and stated != {len(files)}:
        split = files[0].name.partition("-")[0]
        problem = f"{len(files)} file(s) {split}-*.parquet, expected {max(stated)} by their names"
        raise SourceFormatError(files[0].parent, "", problem)


def _columns(schema: pa.Schema, path: Path) -> tuple[str, str]:
    """Return the names of the columns of images and of labels."""
    chosen = []
    for choices in (("img", "image"), ("fine_label", "label")):
        names = [name for name in choices if name in schema.names]
        if not names:
            expected = " or ".join(map(repr, choices))
            raise SourceFormatError(path, "", f"columns {', '.join(schema.names)}, expected {expected} among them")
        chosen.append(names[0])
    image, label = chosen
    kind = schema.field(image).type
    held = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else kind
    if not (pa.types.is_binary(held) or pa.types.is_large_binary(held)):
        raise SourceFormatError(path, f"column {image!r}", f"{kind}, expected binary or struct<bytes: binary, ...>")
    if not pa.types.is_integer(schema.field(label).type):
        raise SourceFormatError(path, f"column {label!r}", f"{schema.field(label).type}, expected integers")
    return image, label


def _labels(column: pa.Array, path: Path) -> Integers:
    if column.null_count:
        raise SourceFormatError(path, "labels", f"{column.null_count} of them are missing")
    labels: Integers = column.to_numpy(zero_copy_only=False).astype(np.int64)
    return labels


def _decode(column: pa.Array, row: Dataset, path: Path, first_row: int) -> npt.NDArray[np.uint8]:
    """Return the pixels of encoded images, channels last."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingPackageError("pillow", "train") from None
    encoded = column.field("bytes") if pa.types.is_struct(column.type) else column
    pixels = np.empty((len(column), row.image_size, row.image_size, row.input_channels), np.uint8)
    for number, content in enumerate(encoded.to_pylist()):
        where = f"row {first_row + number}"
        if content is None:
            raise SourceFormatError(path, where, "holds no image, at most the path of one")
        try:
            # These two can be lossless; an image in any other format is not the published one.
            image = Image.open(io.BytesIO(content), formats=("PNG", "WEBP"))
            if image.mode != "RGB" or image.size != pixels.shape[1:3]:
                problem = f"{image.mode} image of {image.size} pixels, expected RGB of {pixels.shape[1:3]}"
                raise SourceFormatError(path, where, problem)
            pixels[number] = np.asarray(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # all that pillow raises
            if isinstance(error, SourceFormatError):
                raise
            raise SourceFormatError(path, where, f"not a readable PNG or WEBP image ({error})") from None
    return pixels
