"""Plots of what goes on: training by epoch, searches by query; and cells side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Floats, Integers
from ..cells import Cell, drawing
from ..errors import InvalidValueError, MissingPackageError
from ..table import Benchmark
from . import parts, style

if TYPE_CHECKING:
    from ..search import Repeats

_LABELS = {
    "train_loss": "training loss (cross entropy)",
    "train_acc": "accuracy on attacked training images (%)",
    "clean_acc": "clean accuracy (%)",
    "pgd_acc": "PGD accuracy (%)",
    "learning_rate": "learning rate",
}


def _looks() -> Iterable[tuple[str, str]]:
    return ((colour, line) for line, colour in product(style.LINES, style.CYCLE))


@style.drawn(3.6, 2.7)
def curves(
    bench: Benchmark,
    archs: Iterable[Cell | int | str],
    column: str = "pgd_acc",
    *,
    dataset: str | None = None,
    axes: Any = None,
) -> Any:
    """Draw how training cells went: the mean over seeds, in the band from the lowest to the highest of them.

    Parameters
    ----------
    bench : Benchmark
    archs : iterable
        Cells, indices or strings; up to 21 can be told apart.
    column : str
        A column of `Benchmark.curve`.
    dataset : str, optional
        As in `Benchmark.query`.
    axes : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    MissingResultError
        If the release has no curves.
    """
    scale = 100 if column.endswith("_acc") else 1
    bench.curve_values(dataset, column)  # or says that there are none, or no such column
    for arch, (colour, line) in zip(archs, _looks(), strict=False):
        cell = Cell.of(arch)
        frame = bench.curves([cell], dataset)
        by_epoch = scale * frame.groupby("epoch")[column].agg(["mean", "min", "max"])
        band = by_epoch["min"], by_epoch["max"]
        parts.curve(axes, by_epoch.index, by_epoch["mean"], line, colour, band=band, label=f"cell {cell.index}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(_LABELS[column] + (f"\non {frame.attrs['split']} images" if column[:5] != "train" else ""))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    parts.grid(axes)
    return axes


@style.drawn(3.6, 2.7)
def trajectories(searches: Mapping[str, Repeats], column: str = "regret", *, axes: Any = None) -> Any:
    """Draw what searches found against queries, or epochs: the mean over repeats, in the band of the middle 80 %.

    Parameters
    ----------
    searches : dict of str to Repeats
        Repeated searches of one problem, by the name in the legend; up to 21 can be told apart.
    column : str
        A column of `search.Trajectory.frame`: ``"regret"``, ``"best"``, or an accuracy of the incumbent.
    axes : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    if not isinstance(searches, Mapping) or not searches:
        raise InvalidValueError("searches", searches, "Repeats by name, {'random search': repeats}")
    drawn = {name: _by_spent(repeats, column) for name, repeats in searches.items()}
    longest = max(int(spent[-1]) for spent, _ in drawn.values())
    problem = next(iter(searches.values())).trajectories[0].problem
    first = min(10 if problem.curve is None else 100, max(1, longest // 10))  # all methods draw at random before
    shown = np.empty(0)
    for (name, (spent, values)), (colour, line) in zip(drawn.items(), _looks(), strict=False):
        low, high = np.quantile(values, (0.1, 0.9), axis=0)
        parts.curve(axes, spent, values.mean(axis=0), line, colour, band=(low, high), label=name)
        shown = np.append(shown, [low[spent >= first], high[spent >= first]])
    parts.logarithmic(axes, first, longest)
    room = 0.05 * np.ptp(shown)
    axes.set_ylim(shown.min() - room, shown.max() + room)
    below = "the best cell" if problem.objectives == 1 else "the hypervolume of all cells"
    what = style.percent(problem.columns[0]).removesuffix(" (%)") if problem.objectives == 1 else "hypervolume"
    axes.set_xlabel("queries" if problem.curve is None else "epochs of training spent")
    axes.set_ylabel(f"{what}\nbelow {below} (points)" if column == "regret" else style.percent(column))
    axes.legend()
    parts.grid(axes)
    return axes


def _by_spent(repeats: Repeats, column: str) -> tuple[Integers, Floats]:
    """Return what was spent, in queries or, where those are counted, epochs, and a column then, shape (repeats, n)."""
    values = 100 * repeats.curves(column)
    if any(one.epoch is None for one in repeats.trajectories):
        return np.arange(1, values.shape[1] + 1), values
    epochs = [one.epochs for one in repeats.trajectories]
    spent = np.arange(max(each[0] for each in epochs), max(each[-1] for each in epochs) + 1)
    places = [np.searchsorted(each, spent, side="right") - 1 for each in epochs]
    return spent, np.take_along_axis(values, np.array(places), axis=1)


def cells(archs: Iterable[Cell | int | str], *, columns: int = 4, axes: Any = None) -> Any:
    """Draw cells side by side.

    Parameters
    ----------
    archs : iterable
        Cells, indices or strings.
    columns : int
        Cells in a row of the figure that is made where there are no axes.
    axes : array of matplotlib.axes.Axes, optional
        At least as many as there are cells; those left over are emptied.

    Returns
    -------
    ndarray of matplotlib.axes.Axes
    """
    drawn = [Cell.of(arch) for arch in archs]
    if not drawn:
        raise InvalidValueError("archs", drawn, "at least one cell")
    try:
        from matplotlib import pyplot
    except ImportError:
        raise MissingPackageError("matplotlib", "plots") from None
    with style.context():
        if axes is None:
            across = min(columns, len(drawn))
            down = -(-len(drawn) // across)
            size: Any = {"figsize": (1.9 * across, 1.35 * down), "layout": "constrained"}
            _, axes = pyplot.subplots(down, across, squeeze=False, **size)
        places = np.atleast_1d(axes)
        if places.size < len(drawn):
            raise InvalidValueError("axes", places.size, f"at least {len(drawn)}, one a cell")
        for place in places.flat:
            place.axis("off")
        for place, cell in zip(places.flat, drawn, strict=False):
            drawing.on_axes(place, cell, size=5.5)
    return places
