"""Curves and outcomes of every run, in a page: a stream a run, so that the page reads only those it shows."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np

from ..arrays import Booleans, Floats
from ..datasets import dataset as dataset_row
from ..errors import MissingResultError
from ..images import load_arrays
from ..metrics import Metric, same_eps
from ..table import Benchmark
from .packing import PRECISION, Blob, Numbers, encode_streams, frequencies, smallest_integers

_LEVELS = 8  # into how many parts runs are sorted by accuracy, to foretell which images they fail on
_SHARES = 2**8  # shares of correct runs are stored in a byte
_CURVES = ("clean_acc", "pgd_acc", "train_acc")
_ON_IMAGES = "digits"  # the data set whose images are part of the package


def add_details(blob: Blob, bench: Benchmark, dataset: str, measured: list[Metric]) -> dict[str, Any] | None:
    """Add what is known of every run beside its accuracies, exactly.

    Parameters
    ----------
    blob : Blob
        To which the arrays are added.
    bench, dataset
        Whose runs.
    measured : list of Metric
        What the data set has results of. Outcomes are those on the test images, by the metrics at its own budget.

    Returns
    -------
    dict or None
        Where the arrays are; None where no run has curves. Runs that ended early, or lack outcomes that others have,
        are left out.
    """
    try:
        curves = bench._details.curves(dataset)
    except MissingResultError:
        return None
    info = bench.info.datasets[dataset]
    tables = _outcomes(bench, dataset, [m for m in measured if same_eps(m.eps or info.eps, info.eps)])
    values = np.stack([curves.values[name] for name in _CURVES])
    runs = list(zip(curves.index.tolist(), curves.seed.tolist(), strict=True))
    has_outcomes = np.array([all(run in table.row for table in tables.values()) for run in runs])
    is_whole = has_outcomes & ~np.isnan(values).any(axis=(0, 2))
    if not is_whole.any():
        return None
    about: dict[str, Any] = {"index": blob.add(smallest_integers(curves.index[is_whole])), "outcomes": [], "curves": []}
    about |= {"seed": blob.add(smallest_integers(curves.seed[is_whole])), "split": curves.split}
    starts: list[Numbers] = []
    sizes: list[Numbers] = []
    before = None
    for column, table in tables.items():
        correct = table.correct([table.row[run] for run, each in zip(runs, is_whole, strict=True) if each])
        about["outcomes"].append({"metric": column, **_add_outcomes(blob, correct, before, starts, sizes)})
        before = correct
    images = {"train_acc": dataset_row(dataset).train_images}
    for name, of_runs in zip(_CURVES, values[:, is_whole], strict=True):
        number = images.get(name, info.images.get(curves.split, 0))
        correct = of_runs * number
        if number and np.abs(correct - np.rint(correct)).max() < 1e-6:  # else they are no counts, and are left out
            about["curves"].append({"name": name, "images": number, **_add_curves(blob, correct, starts, sizes)})
    if not starts:
        return None
    if about["outcomes"]:
        about["images"] = _add_images(blob)
    words, lengths = encode_streams(starts, sizes)
    return {**about, "words": blob.add(words), "lengths": blob.add(smallest_integers(lengths))}


def _outcomes(bench: Benchmark, dataset: str, measured: list[Metric]) -> dict[str, Any]:
    """Return the outcomes on the test images by column, where the package has the images that they are about."""
    tables = {}
    for metric in measured if dataset == _ON_IMAGES else ():
        with suppress(MissingResultError):
            if metric.split == "test":
                tables[metric.column] = bench._details.outcomes(dataset, metric.column)
    return tables


def _add_outcomes(
    blob: Blob, correct: Booleans, before: Booleans | None, starts: list[Numbers], sizes: list[Numbers]
) -> dict[str, Any]:
    """Add the outcomes of one metric: of every image, foretold by the run's accuracy and by the metric `before`."""
    count = correct.sum(axis=1)
    bounds = np.unique(np.quantile(count, np.arange(1, _LEVELS) / _LEVELS).astype(np.int64))
    level = np.searchsorted(bounds, count, side="right")
    past = np.zeros_like(correct) if before is None else before
    cases = (2 * level[:, None] + past).astype(np.uint8).T.copy()  # of every image in a row: what is known beforehand
    shares = np.empty((correct.shape[1], 2 * _LEVELS), np.uint8)
    for image, (case, is_right) in enumerate(zip(cases, correct.T.copy(), strict=True)):
        number, right = (np.bincount(each, minlength=2 * _LEVELS) for each in (case, case[is_right]))
        shares[image] = np.clip(np.rint(right * _SHARES / np.maximum(number, 1)), 1, _SHARES - 1)
        share = shares[image].astype(np.uint16)[case] * np.uint16(2**PRECISION // _SHARES)
        starts.append(np.where(is_right, np.uint16(0), share))
        sizes.append(np.where(is_right, share, np.uint16(2**PRECISION) - share))
    return {"bounds": bounds.tolist(), "levels": _LEVELS, "shares": blob.add(shares)}


def _add_curves(blob: Blob, correct: Floats, starts: list[Numbers], sizes: list[Numbers]) -> dict[str, Any]:
    """Add one column of curves, as changes of the number of correct images from epoch to epoch."""
    changes = np.diff(np.rint(correct).astype(np.int64), axis=1, prepend=0)
    least = changes.min(axis=0)
    tables = [frequencies(np.bincount(column)) for column in (changes - least).T]
    places = np.cumsum([0, *map(len, tables)])
    for column, table in zip((changes - least).T, tables, strict=True):
        starts.append((np.cumsum(table) - table)[column].astype(np.uint16))
        sizes.append(table[column].astype(np.uint16))
    symbols = [int(after - first) for first, after in pairwise(places.tolist())]
    return {"least": least.tolist(), "symbols": symbols, "sizes": blob.add(np.concatenate(tables).astype(np.uint16))}


def _add_images(blob: Blob) -> dict[str, Any]:
    """Add the test images of digits, which have 17 grey levels, and their classes."""
    test = load_arrays(_ON_IMAGES).test
    grey = np.rint(np.asarray(test.pixels) * 16).astype(np.uint8)
    return {
        "side": grey.shape[-1],
        "grey": blob.add(grey),
        "labels": blob.add(np.asarray(test.labels).astype(np.uint8)),
    }
