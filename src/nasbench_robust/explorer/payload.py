"""What a page knows: the space of cells, and of each release its numbers, to the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .. import cells
from ..arrays import Floats, Integers
from ..cells import drawing
from ..errors import InvalidValueError, MissingResultError
from ..metrics import Metric, same_eps
from ..skeletons import FLOPS_RULE
from ..table import Benchmark, charged_by
from ..version import __version__
from .details import add_details
from .packing import Blob, smallest_integers


def payload(benches: Sequence[Benchmark], with_details: bool) -> tuple[dict[str, Any], dict[str, Blob]]:
    """Return what releases are, as plain values, and their arrays.

    Parameters
    ----------
    benches : sequence of Benchmark
        Releases, of different names or versions.
    with_details : bool
        Whether curves and outcomes are taken along, where there are any.

    Returns
    -------
    about : dict
        Descriptions, with the places of the arrays.
    blobs : dict of str to Blob
        ``"table"`` has what is needed at once, ``"details"`` the curves and outcomes.
    """
    benches = _checked(benches)
    blobs = {"table": Blob(), "details": Blob()}
    about = {"version": __version__, "flops_rule": FLOPS_RULE, "space": _space(blobs["table"])}
    releases = [
        _release(bench, name, blobs, with_details) for name, bench in zip(_names(benches), benches, strict=True)
    ]
    return {**about, "releases": releases}, blobs


def _checked(benches: Any) -> list[Benchmark]:
    """Return releases as a list; a lone one, none and names of them are refused."""
    listed = list(benches) if isinstance(benches, Iterable) else []
    if not listed or not all(isinstance(bench, Benchmark) for bench in listed):
        raise InvalidValueError("benches", benches, "a sequence of at least one Benchmark, [load('digits')] say")
    return listed


def _space(blob: Blob) -> dict[str, Any]:
    """Add what is known of cells without training them."""
    own = cells.representatives()
    facts = {
        "opcodes": cells.opcodes() @ 5 ** np.arange(5, -1, -1),
        "representatives": own,
        "families": cells.families() ^ own,  # mostly 0: few classes have twins
    }
    arrays = {name: blob.add(array.astype(np.uint16)) for name, array in facts.items()}
    arrays["smallest"] = blob.add(cells.smallest_members() == np.arange(cells.SIZE))
    picture = {"nodes": drawing.NODES, "labels": drawing.NODE_LABELS, "colours": drawing.COLOURS}
    return {"edges": cells.EDGES, "operations": cells.OPERATIONS, "picture": picture, **arrays}


def _names(benches: Sequence[Benchmark]) -> list[str]:
    """Return what releases are called in the page: with their version where two have one name."""
    names = [bench.name for bench in benches]
    labels = [f"{bench.name}@{bench.version}" if names.count(bench.name) > 1 else bench.name for bench in benches]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise InvalidValueError("benches", twice, "each release once")
    return labels


def _release(bench: Benchmark, name: str, blobs: dict[str, Blob], with_details: bool) -> dict[str, Any]:
    info = bench.info
    measured = [dataset for dataset in info.datasets if bench._store.measured(dataset)]
    if not measured:
        raise MissingResultError(f"{name} has no result to show")
    datasets = [_dataset(bench, dataset, blobs, with_details) for dataset in measured]
    about = {"name": name, "version": bench.version, "title": info.title, "licence": info.licence}
    return {**about, "source": info.source, "citation": bench.cite(), "datasets": datasets}


def _dataset(bench: Benchmark, name: str, blobs: dict[str, Blob], with_details: bool) -> dict[str, Any]:
    store, skeleton, blob = bench._store, bench.info.datasets[name].skeleton, blobs["table"]
    index, seed, seeds = (store.integers(name, column) for column in ("index", "seed", "seeds"))
    order = np.argsort(index, kind="stable")  # seeds of a cell stay in their order, and so do sums over them
    sizes = {
        "parameters": [skeleton.parameters(*counts) for counts in ((0, 0), (1, 0), (0, 1))],
        "flops": [skeleton.flops(*counts) for counts in ((0, 0), (1, 0), (0, 1))],
    }
    measured = store.measured(name)
    details = add_details(blobs["details"], bench, name, measured) if with_details else None
    return {
        "name": name,
        "eps": bench.info.datasets[name].eps,
        "sizes": sizes,
        "index": blob.add(smallest_integers(np.diff(index[order], prepend=0))),
        "seed": blob.add(smallest_integers(seed[order] + 1)),
        "seeds": blob.add(smallest_integers(seeds[order])),
        "metrics": [_metric(blob, bench, name, metric, order, seeds) for metric in measured],
        "seconds": _seconds(blob, bench, name),
        "details": details,
    }


def _metric(
    blob: Blob, bench: Benchmark, dataset: str, metric: Metric, order: Integers, seeds: Integers
) -> dict[str, Any]:
    images, attack = bench._store.images(dataset, metric), metric.attack
    own = bench.info.datasets[dataset].eps
    values, counts = (bench._store.floats(dataset, name)[order] for name in (metric.column, metric.count_column))
    has = ~np.isnan(values)
    return {
        "name": metric.name,
        "column": metric.column,
        "split": metric.split,
        "images": images,
        "default": attack is None or (attack.norm == "Linf" and same_eps(attack.eps, own)),
        "attack": {key: value for key, value in asdict(attack).items() if value is not None} if attack else None,
        "description": metric.description,
        "rows": None if has.all() else blob.add(has),
        **_values(blob, values[has], counts[has], (images * seeds[order])[has]),
    }


def _values(blob: Blob, values: Floats, counts: Floats, images: Integers) -> dict[str, Any]:
    """Add accuracies: as counts where these say everything, else as they are, with the counts where they are known.

    A count is stored with 1 added; 0 stands for none.
    """
    stored = smallest_integers(np.nan_to_num(counts, nan=-1).astype(np.int64) + 1)
    if np.array_equal(counts / images, values):
        return {"counts": blob.add(stored)}
    rounded = np.array_equal(np.rint(values * images), counts)  # then the page finds them itself
    return {"values": blob.add(values)} | ({"rounded": True} if rounded else {"counts": blob.add(stored)})


def _seconds(blob: Blob, bench: Benchmark, dataset: str) -> dict[str, Any] | None:
    """Add what training the representatives cost, mean over seeds, in milliseconds with 1 added; 0 stands for none."""
    column = charged_by(bench, dataset)
    if column is None:
        return None
    representatives = np.unique(cells.representatives())
    mean = bench.values(dataset, column)[representatives]
    stored = np.where(np.isnan(mean), 0, np.rint(mean * 1000) + 1).astype(np.int64)
    return {"name": column, "milliseconds": blob.add(smallest_integers(stored))}
