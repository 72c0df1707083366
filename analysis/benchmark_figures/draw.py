"""The figures: box plots, distributions and rankings, best cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import figures
import nasbench_robust as nbr
from benchmark_figures.compute import CLEAN, ROBUST, SUBSETS, Accuracies, only
from nasbench_robust import plots
from nasbench_robust import statistics as st
from nasbench_robust.cells import OPERATIONS, Cell, drawing
from nasbench_robust.datasets import dataset
from nasbench_robust.plots import parts, style

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE, style.GREY)


def boxes(accuracies: Accuracies, path: Path) -> list[Path]:
    """Draw the box plots of all columns (figure 2); return the files."""
    figure, panels = figures.new_figure(6.9, 2.5, ncols=len(accuracies))
    for axes, (name, frame) in zip(np.atleast_1d(panels), accuracies.items(), strict=True):
        look = {"color": "black", "linewidth": 0.7}
        drawn = axes.boxplot(
            [100 * frame[metric] for metric in frame],
            widths=0.6,
            patch_artist=True,
            flierprops={"marker": ".", "markersize": 1.5, "markeredgecolor": style.GREY, "rasterized": True},
            medianprops=look,
            whiskerprops=look,
            capprops=look,
        )
        for box, colour in zip(drawn["boxes"], COLOURS, strict=False):
            box.set(facecolor=colour, alpha=0.55, linewidth=0.7)
        axes.axhline(100 / dataset(name).classes, color="red", linewidth=0.9, label="guessing")
        axes.set_xticks(
            range(1, frame.shape[1] + 1), map(style.metric_label, frame), rotation=45, ha="right", fontsize=7
        )
        axes.set_ylim(bottom=0)
        axes.set_title(style.dataset_label(name))
        parts.grid(axes, "y")
    np.atleast_1d(panels)[0].set_ylabel("accuracy (%)")
    np.atleast_1d(panels)[0].legend(loc="upper right", handlelength=1.2)
    return figures.save_figure(figure, path)


def rankings(accuracies: Accuracies, path: Path) -> list[Path]:
    """Draw distributions, and ranks by data set (figures 3a and 3b); return the files."""
    figure, grid = figures.new_figure(6.9, 4.6, nrows=2, ncols=3)
    for axes, (name, frame) in zip(grid[0], accuracies.items(), strict=False):
        for metric, colour in zip(frame, COLOURS, strict=False):
            counts, edges = np.histogram(100 * frame[metric], bins=60, density=True)
            axes.stairs(counts, edges, color=colour, label=style.metric_label(metric), linewidth=0.9)
        axes.set_yticks([])
        axes.set_xlabel("accuracy (%)")
        axes.set_title(f"a   {style.dataset_label(name)}")
    grid[0][0].set_ylabel("share of cells")
    _ranks(grid[1], accuracies)
    parts.legend(figure, [grid[0][0]], loc="outside lower center", ncols=6, columnspacing=1.2)
    return figures.save_figure(figure, path)


def rank_matrix(accuracies: Accuracies, matrix: pd.DataFrame, path: Path) -> list[Path]:
    """Draw the rank correlations of all columns, in subsets (figure 3c); return the files."""
    figure, panels = figures.new_figure(6.9, 2.7, ncols=len(SUBSETS))
    for axes, subset in zip(panels, SUBSETS, strict=True):
        rows = only(matrix, subset=subset)
        drawn = _matrix(axes, accuracies, rows)
        axes.set_title(f"{subset}: {rows['cells'].iloc[0]:,} cells")
    bar = figure.colorbar(drawn, ax=panels, shrink=0.75, pad=0.02, aspect=25)
    bar.set_label("Spearman's rank correlation")
    bar.outline.set_visible(False)
    figure.supylabel("the column whose best cells are taken", fontsize=8)
    return figures.save_figure(figure, path)


def _ranks(panels: Any, accuracies: Accuracies) -> None:
    """Draw the rank by PGD accuracy on other data sets, and by clean accuracy, against that on the first."""
    names = list(accuracies)
    ranks = {name: _places(accuracies[name][ROBUST]) for name in names}
    first = ranks[names[0]]
    series = [
        *((f"PGD, {style.dataset_label(name)}", ranks[name]) for name in names[1:]),
        ("clean", _places(accuracies[names[0]][CLEAN])),
    ]
    for axes, (label, other) in zip(panels, series, strict=False):
        axes.plot(first, other, ".", markersize=0.7, color=style.BLUE, rasterized=True)
        axes.plot([1, len(first)], [1, len(first)], color="black", linewidth=0.6)
        axes.set_xlabel(f"rank, PGD, {style.dataset_label(names[0])}")
        axes.set_ylabel(f"rank, {label}")
        axes.set_title(f"b   Spearman {st.spearman(first, other):.3f}")


def _places(values: pd.Series) -> pd.Series:
    """Return ranks, 1 for the best."""
    return values.rank(ascending=False)


def _matrix(axes: Any, accuracies: Accuracies, rows: pd.DataFrame) -> Any:
    """Draw the matrix of one subset, which the column of the line chooses; return the image."""
    labels = [(name, metric) for name, frame in accuracies.items() for metric in frame]
    table = rows.set_index(["dataset", "metric", "other_dataset", "other_metric"])["spearman"]
    values = np.array([[table[(*one, *other)] for other in labels] for one in labels])
    drawn = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
    count = len(labels) // len(accuracies)
    words = [style.metric_label(metric) for _, metric in labels]
    if axes.get_subplotspec().is_first_col():
        axes.set_yticks(range(len(labels)), words, fontsize=4.5)
    else:
        axes.set_yticks([])
    middles = [count * number + (count - 1) / 2 for number in range(len(accuracies))]
    axes.set_xticks(middles, map(style.dataset_label, accuracies), fontsize=6, rotation=20, ha="right")
    axes.tick_params(length=0, pad=2)
    for border in range(1, len(accuracies)):
        axes.axhline(count * border - 0.5, color="white", linewidth=1)
        axes.axvline(count * border - 0.5, color="white", linewidth=1)
    axes.spines[:].set_visible(False)
    return drawn


def best_cells(published: nbr.Benchmark, tables: dict[str, pd.DataFrame], path: Path) -> list[Path]:
    """Draw the best cells, the operations of the best by edge, and clean against PGD accuracy (figure 4)."""
    look = {"nrows": 3, "ncols": len(published.datasets), "height_ratios": (1, 1.1, 1.3), "squeeze": False}
    figure, grid = figures.new_figure(6.9, 6.4, **look)
    for column, name in enumerate(published.datasets):
        best = int(only(tables["best_cells"], dataset=name, best_by=ROBUST)["cell"].iloc[0])
        drawing.on_axes(grid[0][column], Cell.from_index(best), size=6, title="")
        grid[0][column].set_title(f"a   {style.dataset_label(name)}: {best}")
        _operations(grid[1][column], only(tables["operations"], dataset=name, best_by=ROBUST))
        grid[1][column].set_title("b")
        _front(grid[2][column], published, name, 100 * only(tables["pareto"], dataset=name)[[CLEAN, ROBUST]])
    grid[1][0].set_ylabel("of the best 1 % by PGD (%)")
    parts.legend(figure, [grid[1][0]], loc="outside lower center", ncols=len(OPERATIONS))
    return figures.save_figure(figure, path)


def _operations(axes: Any, rows: pd.DataFrame) -> None:
    """Draw a stacked bar per edge: which operation how many of the best cells have there."""
    edges = list(dict.fromkeys(rows["edge"]))
    below = np.zeros(len(edges))
    for operation, colour in drawing.COLOURS.items():
        counts = only(rows, operation=operation).set_index("edge").loc[edges]
        share = 100 * counts["count"].to_numpy() / counts["of"].to_numpy()
        axes.bar(edges, share, bottom=below, color=colour, label=drawing.LABELS[operation], width=0.8)
        below += share
    axes.set_ylim(0, 100)
    axes.tick_params(axis="x", length=0, labelsize=6.5)
    axes.set_xlabel("edge")


def _front(axes: Any, published: nbr.Benchmark, name: str, front: pd.DataFrame) -> None:
    """Draw clean against PGD accuracy, as near as the labels of the front allow."""
    plots.pareto(published, (CLEAN, ROBUST), dataset=name, axes=axes)
    for set_limits, metric in ((axes.set_xlim, CLEAN), (axes.set_ylim, ROBUST)):
        if room := np.ptp(front[metric]):
            set_limits(front[metric].min() - 1.2 * room, front[metric].max() + 0.7 * room)
    axes.set_title("c")
    if not axes.get_subplotspec().is_first_col():
        axes.set_ylabel("")
