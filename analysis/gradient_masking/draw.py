"""The figure: accuracy by radius, a panel per cell."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd

import figures
from nasbench_robust.plots import parts, style

LINES = {
    "pgd": ("PGD-20", style.BLUE, "-"),
    "square": ("Square", style.ORANGE, "o"),
    "autoattack": ("AutoAttack", style.VERMILION, "--"),
    "certified": ("certified", style.GREEN, "-."),
}


def draw(table: pd.DataFrame, path: Path) -> list[Path]:
    """Draw the panels; return the files."""
    cells = table["cell"].unique()
    columns = min(4, len(cells))
    rows = math.ceil(len(cells) / columns)
    figure, grid = figures.new_figure(
        6.9, 0.6 + 1.5 * rows, ncols=columns, nrows=rows, sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[len(cells) :]:
        axes.set_visible(False)
    for axes, cell in zip(grid.flat, cells, strict=False):
        mine = table[table["cell"] == cell]
        for measured, (label, colour, line) in LINES.items():
            part = mine[mine["measured"] == measured]
            axes.plot(part["eps"], 100 * part["accuracy"], line, color=colour, label=label, linewidth=1.2, markersize=3)
        axes.set_xscale("log")
        axes.set_title(f"{cell}\n{mine['label'].iloc[0]}", fontsize=7.5)
        parts.grid(axes)
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy (%)")
    for axes in grid.flat[max(0, len(cells) - columns) : len(cells)]:
        axes.set_xlabel("eps")
        axes.tick_params(labelbottom=True)
    parts.legend(figure, [grid.flat[0]], loc="outside lower center", ncols=len(LINES))
    return figures.save_figure(figure, path)
