"""Plots of a whole release: one column against another, fronts, rankings, operations, noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import statistics
from ..arrays import Floats, Integers
from ..cells import EDGES, OPERATIONS, SIZE, drawing, opcodes, operation_counts
from ..checks import kind
from ..errors import InvalidValueError, MissingResultError, UnknownNameError
from ..table import Benchmark, view_indices
from . import parts, style

Column = str | npt.ArrayLike
_UNITS = ((1e6, "million"), (1e3, "thousand"), (1, ""))


@style.drawn(3.6, 2.9)
def landscape(
    bench: Benchmark,
    x: Column = "clean_acc",
    y: Column = "pgd_acc",
    colour: Column | None = "parameters",
    *,
    dataset: str | None = None,
    cells: str = "connected",
    axes: Any = None,
) -> Any:
    """Draw a dot per cell: one column against another, coloured by a third.

    Parameters
    ----------
    bench : Benchmark
    x, y, colour : str or array_like, shape (15625,)
        A metric as in `Benchmark.query`, ``"parameters"``, ``"flops"``, or an operation (how many edges have it); or
        values of your own by cell index, nan where there is none. `colour` may be None.
    dataset : str, optional
        As in `Benchmark.query`.
    cells : str
        As in `Benchmark.frame`; cells without a path from input to output lie at chance, and are left out by default.
    axes : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    kind(Benchmark)("bench", bench)
    chosen = view_indices(cells)
    named = (x, y) if colour is None else (x, y, colour)
    (xs, x_label), (ys, y_label), *third = columns = [_column(bench, dataset, each, chosen) for each in named]
    _check_known(*columns)
    if not third:
        axes.scatter(xs, ys, s=2.5, color=style.BLUE, linewidths=0, rasterized=True)
    else:
        parts.coloured_dots(axes, xs, ys, *third[0])
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    parts.grid(axes)
    return axes


def _column(bench: Benchmark, dataset: str | None, column: Column, chosen: Integers) -> tuple[Floats, str]:
    """Return the values of a column for some cells, as they are drawn, and what an axis says of them."""
    values, scale, label = _measured(bench, dataset, column, chosen)
    return values * scale, label


def _measured(bench: Benchmark, dataset: str | None, column: Column, chosen: Integers) -> tuple[Floats, float, str]:
    """Return the values of a column, to the last bit, what they are multiplied by to be drawn, and their label."""
    if not isinstance(column, str):
        expected = f"a name, or numbers by cell index, of shape ({SIZE},)"
        try:
            values = np.asarray(column, np.float64)
        except Exception:  # whatever a foreign object raises
            raise InvalidValueError("column", column, expected) from None
        if values.shape != (SIZE,):
            raise InvalidValueError("column", column, f"{expected}; it is {values.shape}")
        return values[chosen], 1, str(getattr(column, "name", None) or "value")
    if column in OPERATIONS:
        return operation_counts(column)[chosen].astype(np.float64), 1, f"edges with {drawing.LABELS[column]}"
    if column in ("parameters", "flops"):
        skeleton = bench.info.datasets[bench._store.dataset(dataset)].skeleton
        convolutions = (operation_counts(name)[chosen] for name in ("nor_conv_1x1", "nor_conv_3x3"))
        values = np.asarray(getattr(skeleton, column)(*convolutions), np.float64)
        unit, word = next(each for each in _UNITS if values.max() >= each[0])
        return values, 1 / unit, f"{'FLOPs' if column == 'flops' else column}{f' ({word})' if word else ''}"
    try:
        name, metric, _ = bench._store.resolve(dataset, column, None, None, None)
    except UnknownNameError as error:
        if error.kind != "metric":
            raise
        known = (*error.choices, "parameters", "flops", *OPERATIONS)
        raise UnknownNameError("column", column, known, error.suggestion) from None
    return bench.values(name, metric.column)[chosen], 100, style.percent(metric.column)


def _check_known(*columns: tuple[Floats, str]) -> None:
    """Raise `MissingResultError` if no cell has a value in all columns: nothing would be drawn."""
    if np.isnan(sum(values for values, _ in columns)).all():
        labels = " and ".join(label for _, label in columns)
        raise MissingResultError(f"no cell of this view has a value of {labels}", hint="nothing can be drawn")


def _names(metrics: Any, expected: str, number: int | None = None) -> list[Any]:
    """Return names of metrics as a list, of so many; a lone name is none."""
    names = [] if isinstance(metrics, str) or not isinstance(metrics, Iterable) else list(metrics)
    if not names or (number and len(names) != number):
        raise InvalidValueError("metrics", metrics, expected)
    return names


@style.drawn(3.6, 2.9)
def pareto(
    bench: Benchmark,
    metrics: Sequence[str] = ("clean_acc", "pgd_acc"),
    *,
    dataset: str | None = None,
    cells: str = "connected",
    axes: Any = None,
) -> Any:
    """Draw the cells that no other beats in both of two metrics, among all others near them, with their indices.

    Parameters
    ----------
    bench, dataset, cells, axes
        As in `landscape`.
    metrics : sequence of two str
        Names as in `Benchmark.query`.

    Returns
    -------
    matplotlib.axes.Axes
    """
    kind(Benchmark)("bench", bench)
    metrics = _names(metrics, "two metric names, one an axis", 2)
    front = bench.pareto(dataset, metrics, cells)
    chosen = view_indices(cells)
    columns = [_column(bench, dataset, name, chosen) for name in metrics]
    _check_known(*columns)
    best = [100 * front[name].to_numpy() for name in metrics]
    axes.scatter(columns[0][0], columns[1][0], s=4, color=style.GREY, alpha=0.35, linewidths=0, rasterized=True)
    order = np.argsort(best[0])
    axes.step(best[0][order], best[1][order], where="pre", color=style.VERMILION, linewidth=1)
    axes.plot(*best, "o", color=style.VERMILION, markersize=3.5, label="on the front")
    for index, x, y in zip(front["index"], *best, strict=True):
        axes.annotate(str(index), (x, y), (3, 3), textcoords="offset points", fontsize=6)
    for set_limits, values in zip((axes.set_xlim, axes.set_ylim), best, strict=True):
        room = max(3.0, 1.5 * np.ptp(values))
        set_limits(values.min() - room, values.max() + room / 4)
    axes.set_xlabel(columns[0][1])
    axes.set_ylabel(columns[1][1])
    parts.grid(axes)
    return axes


@style.drawn(4.2, 3.6)
def ranks(
    bench: Benchmark,
    metrics: Sequence[str] | None = None,
    *,
    dataset: str | None = None,
    cells: str = "representatives",
    axes: Any = None,
) -> Any:
    """Draw the matrix of Spearman's rank correlations between metrics.

    Parameters
    ----------
    bench, dataset, cells, axes
        As in `landscape`.
    metrics : sequence of str, optional
        Names as in `Benchmark.query`, or ``"parameters"``; by default all that were measured on the test split, and
        the parameters.

    Returns
    -------
    matplotlib.axes.Axes
    """
    kind(Benchmark)("bench", bench)
    name = bench._store.dataset(dataset)
    measured = [metric.column for metric in bench.measured(name) if metric.split == "test"]
    wanted = [*measured, "parameters"] if metrics is None else _names(metrics, "a sequence of metric names")
    chosen = view_indices(cells)
    columns, _, labels = zip(*(_measured(bench, name, each, chosen) for each in wanted), strict=True)
    table = np.array(columns)
    table = table[:, ~np.isnan(table).any(axis=0)]
    size = len(wanted)
    values = np.eye(size)
    for row, column in zip(*np.triu_indices(size, 1), strict=True):
        values[row, column] = values[column, row] = statistics.spearman(table[row], table[column])
    signs = (values < 0).any()
    image = axes.imshow(values, cmap="PuOr_r" if signs else "YlGnBu", vmin=-1 if signs else 0, vmax=1)
    for row, column in np.ndindex(size, size):
        ink = "white" if abs(values[row, column]) > 0.65 else "black"
        axes.text(column, row, f"{values[row, column]:.2f}", ha="center", va="center", fontsize=6.5, color=ink)
    short = [label.replace(" accuracy", "").replace(" at eps", "").partition(" (")[0] for label in labels]
    axes.set_xticks(range(size), short, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), short)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = axes.figure.colorbar(image, ax=axes, pad=0.02, aspect=30, shrink=0.8)
    bar.set_label(rf"Spearman's $\rho$, {table.shape[1]:,} cells")
    bar.outline.set_visible(False)
    return axes


@style.drawn(4.6, 2.7)
def operations(
    bench: Benchmark, metric: str = "pgd_acc", *, dataset: str | None = None, cells: str = "all", axes: Any = None
) -> Any:
    """Draw what an operation on an edge is worth: the median accuracy of the cells that have it there, and quartiles.

    Parameters
    ----------
    bench, dataset, axes
        As in `landscape`.
    metric : str
        As in `Benchmark.query`.
    cells : str
        As in `Benchmark.frame`; among all 15,625 cells every operation stands as often on every edge.

    Returns
    -------
    matplotlib.axes.Axes
    """
    kind(Benchmark)("bench", bench)
    chosen = view_indices(cells)
    values, label = _column(bench, dataset, metric, chosen)
    _check_known((values, label))
    known = ~np.isnan(values)
    codes, values = opcodes()[chosen][known], values[known]
    markers = dict(zip(OPERATIONS, "xo^sD", strict=True))
    for offset, code in zip(parts.side_by_side(len(OPERATIONS), 0.16), range(len(OPERATIONS)), strict=True):
        operation = OPERATIONS[code]
        groups = [values[codes[:, edge] == code] for edge in range(len(EDGES))]
        quartiles = np.array([_quartiles(group) for group in groups]).T
        look: Any = {
            "color": style.GREY if operation == "none" else drawing.COLOURS[operation],
            "fmt": markers[operation],
        }
        parts.intervals(axes, np.arange(len(EDGES)) + offset, *quartiles, label=drawing.LABELS[operation], **look)
    low, high = axes.get_ylim()
    parts.categories(axes, [rf"{source}$\to${target}" for source, target in EDGES])
    axes.set_ylim(low, high)
    axes.set_xlabel("edge")
    axes.set_ylabel(f"{label}\nmedian and quartiles")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(OPERATIONS), columnspacing=1.2, handlelength=1)
    return axes


def _quartiles(values: Floats) -> Floats:
    """Return the median and the quartiles, nan where there is no value, so that nothing is drawn there."""
    return np.quantile(values, (0.5, 0.25, 0.75)) if len(values) else np.full(3, np.nan)


@style.drawn(3.6, 2.9)
def noise(
    bench: Benchmark, metric: str = "pgd_acc", *, dataset: str | None = None, cells: str = "connected", axes: Any = None
) -> Any:
    """Draw how much the runs of a cell differ: the standard deviation over seeds against their mean, cell by cell.

    The line is the pooled standard deviation (root of the mean variance) of twenty equal groups of cells. The note says
    the pooled one of a single run and the reliability of the means, see `statistics.reliability`.

    Parameters
    ----------
    bench, dataset, axes
        As in `landscape`.
    metric : str
        As in `Benchmark.query`.
    cells : str
        As in `Benchmark.frame`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingResultError
        If the release does not give single seeds.
    """
    kind(Benchmark)("bench", bench)
    name, measured, _ = bench._store.resolve(dataset, metric, None, None, None)
    seeds = bench.measured(name)[measured]
    if len(seeds) < 2:
        what = f"{bench.name} gives no two seeds of {measured.column} on {name}"
        raise MissingResultError(what, hint="noise is drawn from the differences between seeds")
    chosen = view_indices(cells)
    runs = 100 * np.array([bench.values(name, measured.column, seed=seed)[chosen] for seed in seeds]).T
    runs = runs[~np.isnan(runs).any(axis=1)]
    _check_known((runs, f"all seeds of {measured.column}"))
    mean, sd = runs.mean(axis=1), runs.std(axis=1, ddof=1)
    axes.scatter(mean, sd, s=2.5, color=style.BLUE, alpha=0.35, linewidths=0, rasterized=True)
    groups = np.array_split(np.argsort(mean), min(20, len(mean)))
    middles = [mean[group].mean() for group in groups]
    axes.plot(middles, [np.sqrt((sd[group] ** 2).mean()) for group in groups], color=style.VERMILION, linewidth=1.3)
    pooled = statistics.seed_noise(runs)
    whole = statistics.reliability(pooled.sd, mean)
    single = pooled.sd * np.sqrt(len(seeds))
    note = f"one run: sd {single:.2f} points\nmean of {len(seeds)}: reliability {whole:.3f}"
    axes.annotate(note, (1, 1), (-2, -2), "axes fraction", "offset points", ha="right", va="top", fontsize=7)
    axes.set_xlabel(style.percent(measured.column))
    axes.set_ylabel(f"sd over {len(seeds)} seeds (points)")
    axes.set_ylim(0, 1.15 * sd.max())  # room for the note
    parts.grid(axes)
    return axes
