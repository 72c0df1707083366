"""Parts of plots: every function draws into the axes that it is given, and knows no table and no study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats
from . import style


def grid(axes: Any, axis: str = "both") -> None:
    """Draw a light grid behind everything else."""
    axes.grid(axis=axis, color=style.LIGHT, linewidth=0.5)
    axes.set_axisbelow(True)


def side_by_side(count: int, gap: float) -> Floats:
    """Return the places of so many markers around 0."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * gap, np.float64)


def categories(axes: Any, names: Sequence[str], **text: Any) -> None:
    """Label the x axis with names at 0, 1, ..., without tick marks, and draw the line at y = 0."""
    axes.set_xticks(range(len(names)), names, **text)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.axhline(0, color="black", linewidth=0.6, zorder=0)
    grid(axes, "y")


def intervals(axes: Any, places: npt.ArrayLike, value: Floats, low: Floats, high: Floats, **look: Any) -> None:
    """Draw values and their bounds upright; `look` are further arguments of matplotlib's errorbar."""
    bounds = np.maximum([value - low, high - value], 0)
    axes.errorbar(places, value, bounds, **{"markersize": 4, "capsize": 2, "elinewidth": 1, **look})


def forest(axes: Any, names: Sequence[str], value: Floats, low: Floats, high: Floats, **look: Any) -> None:
    """Draw values and their bounds sideways, one line under the other, beside a line at 0."""
    places = np.arange(len(names))
    axes.errorbar(value, places, xerr=[value - low, high - value], markersize=4, capsize=2, elinewidth=1, **look)
    axes.axvline(0, color="black", linewidth=0.6, zorder=0)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    grid(axes, "x")


def symmetric(axes: Any) -> None:
    """Make the x axis reach as far to the left of 0 as to the right."""
    farthest = 1.05 * max(map(abs, axes.get_xlim()))
    axes.set_xlim(-farthest, farthest)


def curve(
    axes: Any, x: Any, y: Any, line: str, colour: str, *, band: tuple[Any, Any] | None = None, **look: Any
) -> None:
    """Draw a curve and, around it, the band between two others."""
    axes.plot(x, y, line, color=colour, linewidth=1.3, **look)
    if band is not None:
        axes.fill_between(x, *band, color=colour, alpha=0.13, linewidth=0)


def logarithmic(axes: Any, least: float, most: float) -> None:
    """Make the x axis logarithmic, from least to most, with ticks at round numbers."""
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    axes.set_xticks([number for number in (1, 3, 10, 30, 100, 300, 1000) if least <= number <= most])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


def coloured_dots(axes: Any, x: Floats, y: Floats, colour: Floats, label: str) -> None:
    """Draw a dot per cell, coloured by a third column, whose scale is a bar beside the axes."""
    order = np.random.default_rng(0).permutation(len(x))  # no group of cells on top of the others
    dots = axes.scatter(x[order], y[order], c=colour[order], s=2.5, cmap="viridis", linewidths=0, rasterized=True)
    bar = axes.figure.colorbar(dots, ax=axes, pad=0.02, aspect=30)
    bar.set_label(label)
    bar.outline.set_visible(False)


def level(axes: Any, y: float, label: str) -> None:
    """Draw a dashed line across the axes, with a label at its left end."""
    axes.axhline(y, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3}
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    axes.annotate(label, (0, y), (2, 2.5), fontsize=7, color=style.GREY, bbox=ground, **place)


def legend(figure: Any, parts: Sequence[Any], last: str | None = None, **options: Any) -> None:
    """Make one legend of those of several axes, each label once, the one that is `last` at the end."""
    handles: dict[str, Any] = {}
    for axes in parts:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = sorted(handles, key=lambda label: label == last)
    figure.legend([handles[label] for label in labels], labels, handlelength=1.8, **options)
