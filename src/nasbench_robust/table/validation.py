"""What is wrong with a runs table: `validate` returns findings and never raises on bad data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .. import cells
from ..arrays import Booleans, Floats, Integers, Record
from ..errors import NasbenchRobustError, UnreadableError
from ..metrics import ATTACKS, Metric, same_eps
from .arrays import mean_by_index, numpy_column, text_column
from .info import ReleaseInfo
from .opening import open_table
from .schema import may_lack, runs_schema

# An attack is not an exact minimum: on few images a weaker one may win by a little (PGD over FGSM by .0026 in the
# published table). Differences up to this, or up to so many images of a small split, are warnings, larger ones errors.
# One digits network withstands PGD-20 on 7 of 256 images more than FGSM at eps .05, in double precision too.
ORDER_TOLERANCE = 0.003
ORDER_IMAGES = 10
# Published means carry float32 rounding; on a grid of 1/(images x seeds) they are this close, in images.
GRID_TOLERANCE = 0.01
_ROUNDING = 1e-6


@dataclass(frozen=True, repr=False)
class Finding(Record):
    """One thing that `validate` noticed, for one data set and metric, with all cells concerned.

    Attributes
    ----------
    kind : str
        ``schema``, ``unreadable``, ``cell``, ``alias``, ``doubled``, ``missing``, ``failure``, ``range``, ``grid``,
        ``images``, ``order``, ``placeholder`` or ``chance``.
    severity : str
        ``"error"``: the table must not be used as it is. ``"warning"``: it may be right, look.
    message : str
        One sentence.
    dataset, metric : str or None
        Where.
    indices : tuple of int
        The cells concerned.
    """

    kind: str
    severity: str
    message: str
    dataset: str | None = None
    metric: str | None = None
    indices: tuple[int, ...] = ()

    def __str__(self) -> str:
        place = "/".join(part for part in (self.dataset, self.metric) if part)
        shown = ", ".join(map(str, self.indices[:5])) + (", ..." if len(self.indices) > 5 else "")
        listed = f" [{len(self.indices)} cell(s): {shown}]" if self.indices else ""
        return f"{self.severity}: {self.kind}: {place + ': ' if place else ''}{self.message}{listed}"


@dataclass(frozen=True)
class _Rows:
    """The rows of one data set as arrays."""

    info: ReleaseInfo
    dataset: str
    index: Integers
    seed: Integers  # -1 where null
    seeds: Integers
    test_images: Integers
    failed: Booleans
    values: dict[str, Floats]  # by column, NaN where null
    counts: dict[str, Floats]

    def metrics(self) -> Iterator[tuple[Metric, Floats]]:
        for metric in self.info.metrics:
            yield metric, self.values[metric.column]

    def flag(
        self, kind: str, severity: str, message: str, wrong: Booleans, metric: str | None = None
    ) -> Iterator[Finding]:
        """Yield one finding with the cells of the rows that are wrong, none where none is."""
        if wrong.any():
            indices = tuple(np.unique(self.index[wrong]).tolist())
            yield Finding(kind, severity, message, self.dataset, metric, indices)


def validate(source: str | os.PathLike[str] | pa.Table) -> list[Finding]:
    """Check a runs table and return what is wrong with it; an empty list means that nothing was found.

    Checked are: schema, cells and aliases, doubled and missing rows, range, the grid k/N of counts over images, the
    order between attacks (tolerance .003 or 10 images), chance accuracy of disconnected cells, and placeholder values.

    Parameters
    ----------
    source : path or pyarrow.Table
        A runs table, a folder of its shards, or a table in memory. Whatever is wrong with it becomes a finding.

    Raises
    ------
    UnreadableError
        If a file cannot be read now, which says nothing about what it holds.
    """
    try:
        reader = open_table(source)
        info = reader.info()
        table = reader.read()
    except UnreadableError:
        raise
    except NasbenchRobustError as error:
        return [Finding("unreadable", "error", str(error))]
    findings = list(_check_schema(table, info))
    if findings:
        return findings
    findings.extend(_check_nan(table, info))
    for name in info.datasets:
        rows = _rows_of(table, info, name)
        for check in _CHECKS:
            findings.extend(check(rows))
    return findings


def _check_schema(table: pa.Table, info: ReleaseInfo) -> Iterator[Finding]:
    for field in runs_schema(info):
        position = table.schema.get_field_index(field.name)
        if position < 0 and may_lack(field.name, info.format):
            continue
        if position < 0:
            yield Finding("schema", "error", f"no column {field.name!r}")
            continue
        type_ = table.schema.field(position).type
        if pa.types.is_dictionary(type_) and pa.types.is_string(type_.value_type):
            type_ = type_.value_type
        if type_ != field.type:
            yield Finding("schema", "error", f"column {field.name!r} is {type_}, expected {field.type}")
        elif not field.nullable and table.column(position).null_count:
            yield Finding("schema", "error", f"column {field.name!r} has nulls")
    if table.schema.get_field_index("dataset") >= 0:
        strangers = set(map(str, text_column(table.column("dataset")).tolist())) - set(info.datasets)
        if strangers:
            yield Finding(
                "schema", "error", f"data sets that the release does not describe: {sorted(map(str, strangers))}"
            )
    if table.schema.get_field_index("index") >= 0 and pa.types.is_integer(table.schema.field("index").type):
        index, valid = numpy_column(table.column("index"))
        outside = tuple(sorted(set(index[valid & ((index < 0) | (index >= cells.SIZE))].tolist())))
        if outside:
            yield Finding("cell", "error", f"an index outside 0..{cells.SIZE - 1}", indices=outside)


def _check_nan(table: pa.Table, info: ReleaseInfo) -> Iterator[Finding]:
    """Look for NaN among the numbers: a missing accuracy is null."""
    index, _ = numpy_column(table.column("index"))
    for metric in info.metrics:
        value, has_value = numpy_column(table.column(metric.column))
        wrong = has_value & np.isnan(value)
        if wrong.any():
            indices = tuple(np.unique(index[wrong]).tolist())
            yield Finding("range", "error", "NaN stored as an accuracy", None, metric.column, indices)


def _rows_of(table: pa.Table, info: ReleaseInfo, dataset: str) -> _Rows:
    # By NumPy, since filtering a table of Arrow imports pandas.
    kept = text_column(table.column("dataset")) == dataset

    def integers(name: str) -> Integers:
        values, valid = numpy_column(table.column(name))
        return np.where(valid[kept], values[kept].astype(np.int64), -1)

    def floats(name: str) -> Floats:
        values, valid = numpy_column(table.column(name))
        return np.where(valid[kept], values[kept].astype(np.float64), np.nan)

    return _Rows(
        info=info,
        dataset=dataset,
        index=integers("index"),
        seed=integers("seed"),
        seeds=integers("seeds"),
        test_images=integers("test_images"),
        failed=(text_column(table.column("failure")) != None)[kept],  # noqa: E711 (of every row)
        values={metric.column: floats(metric.column) for metric in info.metrics},
        counts={metric.column: floats(metric.count_column) for metric in info.metrics},
    )


def _check_aliases(rows: _Rows) -> Iterator[Finding]:
    wrong = cells.representatives()[rows.index] != rows.index
    yield from rows.flag("alias", "error", "results under an index that is not its class's representative", wrong)


def _check_doubled(rows: _Rows) -> Iterator[Finding]:
    for metric, value in rows.metrics():
        has_value = np.flatnonzero(~np.isnan(value) | rows.failed)
        keys = rows.index[has_value] * (1 << 32) + rows.seed[has_value]
        order = np.argsort(keys, kind="stable")
        again = np.flatnonzero(np.diff(keys[order]) == 0)
        doubled = np.zeros(len(rows.index), bool)
        doubled[has_value[order[np.concatenate([again, again + 1])]]] = True
        index, seeded = rows.index[has_value], rows.seed[has_value] >= 0
        doubled[has_value] |= (_among(index[seeded]) & _among(index[~seeded]))[index]  # a mean beside single seeds
        yield from rows.flag("doubled", "error", "several results for one cell and seed", doubled, metric.column)


def _check_missing(rows: _Rows) -> Iterator[Finding]:
    expected = _among(cells.representatives())
    absent = np.flatnonzero(expected & ~_among(rows.index))
    if len(absent):
        message = f"{len(absent)} of {expected.sum()} representatives have no row"
        yield Finding("missing", "warning", message, rows.dataset, None, tuple(absent.tolist()))
    for metric, value in rows.metrics():
        has_value = ~np.isnan(value)
        if not has_value.any():
            continue  # not measured on this data set at all
        lacking = np.flatnonzero(_among(rows.index[~rows.failed]) & ~_among(rows.index[has_value]))
        if len(lacking):
            indices = tuple(lacking.tolist())
            yield Finding("missing", "warning", "cells without this metric", rows.dataset, metric.column, indices)


def _among(index: npt.NDArray[np.integer[Any]]) -> Booleans:
    """Return which of all cells are among these; `numpy.unique` and its kin take ten times as long."""
    among = np.zeros(cells.SIZE, bool)
    among[index] = True
    return among


def _check_failures(rows: _Rows) -> Iterator[Finding]:
    for metric, value in rows.metrics():
        wrong = rows.failed & ~np.isnan(value)
        yield from rows.flag("failure", "error", "a failed run carries a number", wrong, metric.column)
    yield from rows.flag("failure", "warning", "failed runs", rows.failed)


def _check_images(rows: _Rows) -> Iterator[Finding]:
    expected = rows.info.datasets[rows.dataset].images.get("test", -1)
    wrong = rows.test_images != expected
    yield from rows.flag("images", "error", f"test_images differs from the release's {expected}", wrong)
    wrong = rows.seeds < 1
    yield from rows.flag("images", "error", "seeds is less than 1", wrong)
    wrong = rows.seed < -1
    yield from rows.flag("images", "error", "seed is negative", wrong)
    wrong = (rows.seed >= 0) & (rows.seeds != 1)
    yield from rows.flag("images", "error", "a row of one seed says that it stands for several", wrong)
    for metric, value in rows.metrics():
        measured = ~np.isnan(value)
        if metric.split not in rows.info.datasets[rows.dataset].images:
            message = f"the release does not say how many images the {metric.split} split has"
            yield from rows.flag("images", "error", message, measured, metric.column)


def _check_range(rows: _Rows) -> Iterator[Finding]:
    for metric, value in rows.metrics():
        with np.errstate(invalid="ignore"):
            wrong = np.isinf(value) | (value < 0) | (value > 1)
        if wrong.any():
            worst = value[wrong][np.argmax(np.abs(value[wrong] - 0.5))]
            message = f"an accuracy outside [0, 1], for example {worst}"
            yield from rows.flag("range", "error", message, wrong, metric.column)


def _check_grid(rows: _Rows) -> Iterator[Finding]:
    for metric, value in rows.metrics():
        # Where the size of the split is not stated, nothing is off its grid: that is a finding of its own.
        trials = rows.info.datasets[rows.dataset].images.get(metric.split, np.nan) * rows.seeds
        correct = rows.counts[metric.column]
        with np.errstate(invalid="ignore", over="ignore"):
            wrong = np.abs(value * trials - correct) > GRID_TOLERANCE
        message = "the accuracy is not the count of correct images over images x seeds"
        yield from rows.flag("grid", "error", message, wrong, metric.column)
        orphan = np.isnan(value) & ~np.isnan(correct)
        yield from rows.flag("grid", "error", "a count without an accuracy", orphan, metric.column)
        uncounted = ~np.isnan(value) & np.isnan(correct)
        if not uncounted[~np.isnan(value)].all():
            message = "no count: the accuracy is not on the grid k / (images x seeds)"
            yield from rows.flag("grid", "error", message, uncounted, metric.column)


def _ordered_pairs(metrics: tuple[Metric, ...]) -> Iterator[tuple[Metric, Metric]]:
    """Yield pairs whose first accuracy must be at least the second's."""
    strength = {"clean_acc": 0}
    strength |= {f"{name}_acc": kind.strength for name, kind in ATTACKS.items() if kind.strength is not None}
    for one in metrics:
        for other in metrics:
            if one.split != other.split or one.name not in strength or other.name not in strength:
                continue
            unattacked = one.name == "clean_acc" and other.name != "clean_acc"
            if not unattacked and one.norm != other.norm:
                continue
            smaller = one.name == other.name and (one.eps or 0) < (other.eps or 0)
            weaker = same_eps(one.eps, other.eps) and strength[one.name] < strength[other.name]
            if unattacked or smaller or weaker:
                yield one, other


def _check_order(rows: _Rows) -> Iterator[Finding]:
    means = {}
    for metric, value in rows.metrics():
        has_value = np.isfinite(value)
        means[metric] = mean_by_index(rows.index[has_value], value[has_value])[0]
    images = rows.info.datasets[rows.dataset].images
    for upper, lower in _ordered_pairs(rows.info.metrics):
        tolerance = max(ORDER_TOLERANCE, ORDER_IMAGES / images.get(lower.split, np.inf) + _ROUNDING)
        excess = means[lower] - means[upper]
        pair = f"{lower.column} > {upper.column}"
        half = means[lower] == 0.5
        # Where a source does not give the settings of its attacks, the order between them is not certain.
        certain = all(metric.attack is None or metric.attack.steps for metric in (upper, lower))
        for kind, severity, wrong in (
            ("placeholder", "error", half & (excess > tolerance)),
            ("order", "error" if certain else "warning", ~half & (excess > tolerance)),
            ("order", "warning", (excess > _ROUNDING) & (excess <= tolerance)),
        ):
            if wrong.any():
                what = "exactly 0.5, above a weaker attack: a placeholder" if kind == "placeholder" else pair
                message = f"{what}, by up to {excess[wrong].max():.4f}"
                indices = tuple(np.flatnonzero(wrong).tolist())
                yield Finding(kind, severity, message, rows.dataset, lower.column, indices)


def _check_chance(rows: _Rows) -> Iterator[Finding]:
    info = rows.info.datasets[rows.dataset]
    chance = 1 / info.skeleton.classes
    for metric, value in rows.metrics():
        if metric.attack is not None or metric.name != "clean_acc":
            continue
        # A network that ignores its input answers with one class. Test splits are nearly balanced, not exactly.
        far = ~cells.connected()[rows.index] & (np.abs(value - chance) > 0.25 * chance)
        message = f"a disconnected cell is not at chance, {chance:.4f}"
        yield from rows.flag("chance", "error", message, far, metric.column)
        at = cells.connected()[rows.index] & (np.abs(value - chance) < _ROUNDING)
        yield from rows.flag("chance", "warning", f"a connected cell at exact chance, {chance:.4f}", at, metric.column)


_CHECKS: tuple[Callable[[_Rows], Iterator[Finding]], ...] = (
    _check_aliases,
    _check_doubled,
    _check_missing,
    _check_failures,
    _check_images,
    _check_range,
    _check_grid,
    _check_order,
    _check_chance,
)
