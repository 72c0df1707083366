"""The figure: regret, missed hypervolume and the price of a held-out split, against queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import figures
from nasbench_robust.plots import parts, style
from nasbench_robust.search import SEARCHERS
from search_comparison.compute import NSGA2

COLOURS = {
    "random search": style.GREY,
    "REINFORCE": style.PURPLE,
    "regularised evolution": style.BLUE,
    "local search": style.VERMILION,
    "predictor-guided": style.GREEN,
    NSGA2: style.ORANGE,
}
SPLIT_METHODS = ("random search", "regularised evolution")
SPLIT_LINES = {"test": "--", "validation": "-"}


def draw(results: pd.DataFrame, path: Path) -> list[Path]:
    """Draw two panels, and a third where a table has a validation split; return the files."""
    with_splits = (results["split"] == "validation").any()
    figure, axes = figures.new_figure(6.9, 3.1, ncols=3 if with_splits else 2)
    on_test = results[results["split"] == "test"]
    regret = on_test[(on_test["judged by"] == "regret") & (on_test["selected by"] == "pgd_acc")]
    _curves(axes[0], regret, ["random search", "regularised evolution"])
    axes[0].set_title("a   Selecting by PGD")
    axes[0].set_ylabel("PGD accuracy below the best cell (points)")
    axes[0].set_ylim(0, 3)
    _curves(axes[1], on_test[on_test["judged by"] == "hypervolume missed"], ["random search", NSGA2])
    axes[1].set_title("b   Clean against PGD")
    axes[1].set_ylabel("hypervolume missed (%)")
    axes[1].set_ylim(0, 12)
    if with_splits:
        _splits(axes[2], results)
    parts.legend(figure, axes, loc="outside lower center", ncols=4, columnspacing=1.4)
    return figures.save_figure(figure, path)


def draw_epochs(results: pd.DataFrame, path: Path) -> list[Path]:
    """Draw the regret on test images against the epochs that were spent; return the files."""
    figure, axes = figures.new_figure(4.4, 3.1)
    colours = {**COLOURS, "local search, first improvement": style.VERMILION}
    colours |= {"Hyperband": style.ORANGE, "ASHA": style.GREEN, "curve extrapolation": style.PURPLE}
    for method, rows in results.groupby("method", sort=False):
        line = "--" if method in SEARCHERS else "-"
        band = (100 * rows["low"], 100 * rows["high"]) if method in ("random search", "Hyperband") else None
        parts.curve(axes, rows["epochs"], 100 * rows["mean"], line, colours[method], band=band, label=method)
    axes.set_xscale("log")
    shown = results[results["epochs"] >= min(100, results["epochs"].max() / 2)]  # before, all draw at random
    axes.set_xlim(shown["epochs"].min(), shown["epochs"].max())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylim(0, 105 * shown["high"].max())
    axes.set_xlabel("epochs of training spent")
    axes.set_ylabel("PGD accuracy on test images\nbelow the best cell (points)")
    parts.grid(axes)
    parts.legend(figure, [axes], loc="outside lower center", ncols=3, columnspacing=1.4)
    return figures.save_figure(figure, path)


def _curves(axes: Any, results: pd.DataFrame, banded: Sequence[str]) -> None:
    """Draw the mean over repeats of every method, with the band of the middle 80 % for some."""
    for method, colour in COLOURS.items():
        rows = results[results["method"] == method].sort_values("queries")
        _curve(axes, rows, "-", colour, banded=method in banded, label=method)
    _query_axis(axes, int(results["queries"].max()))


def _curve(axes: Any, rows: pd.DataFrame, line: str, colour: str, *, banded: bool, **look: Any) -> None:
    band = (100 * rows["low"], 100 * rows["high"]) if banded else None
    parts.curve(axes, rows["queries"], 100 * rows["mean"], line, colour, band=band, **look)


def _splits(axes: Any, results: pd.DataFrame) -> None:
    """Draw what selections on validation and on test images are worth on test images."""
    table = results.loc[results["split"] == "validation", "table"].iloc[0]
    rows = results[(results["table"] == table) & results["judged by"].str.startswith("pgd_acc")]
    for method in SPLIT_METHODS:
        for split, line in SPLIT_LINES.items():
            part = rows[(rows["method"] == method) & (rows["split"] == split)].sort_values("queries")
            part = part[part["queries"] >= min(10, part["queries"].max() / 10)]  # the axis fits what is shown
            _curve(axes, part, line, COLOURS[method], banded=split == "validation")
    for split, line in SPLIT_LINES.items():
        axes.plot([], [], line, color="black", linewidth=1.3, label=f"c: selected on {split}")
    seeds = int(rows["seeds"].max())
    axes.set_title(f"c   Digits, {'one seed' if seeds == 1 else f'{seeds} seeds'}")
    axes.set_ylabel("PGD accuracy on test images (%)")
    _query_axis(axes, int(rows["queries"].max()))


def _query_axis(axes: Any, most: int) -> None:
    parts.logarithmic(axes, min(10, most / 10), most)  # before the first tenth, all methods draw at random
    axes.set_xlabel("queries")
    parts.grid(axes)
