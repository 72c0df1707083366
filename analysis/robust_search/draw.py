"""The figure: collapse curves, what the cells are made of, the sweeps and ARNAS's weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import figures
from nasbench_robust.plots import parts, style
from robust_search.conclude import KEYS
from robust_search.searches import Study

LOOKS = {
    ("darts", 0.0, 1): ("DARTS", style.GREY, "-"),
    ("darts", 0.0, 2): ("DARTS, second order", style.GREY, "--"),
    ("gdas", 0.0, 1): ("GDAS", style.PURPLE, "-"),
    ("rnas-like-v1", 1.0, 1): ("RNAS-like, V1", style.BLUE, "-"),
    ("dsrna-like-jacobian", 0.01, 1): ("DSRNA-like, Jacobian", style.ORANGE, "-"),
    ("dsrna-like-certified", 0.01, 1): ("DSRNA-like, certified", style.VERMILION, "-"),
    ("arnas-s", 0.1, 2): ("ARNAS-S", style.GREEN, "-"),
}
SWEEPS = {
    "rnas-like-v1": ("RNAS-like, V1 (\N{GREEK SMALL LETTER LAMDA})", style.BLUE),
    "dsrna-like-jacobian": ("DSRNA-like, Jacobian (\N{GREEK SMALL LETTER GAMMA})", style.ORANGE),
    "dsrna-like-certified": ("DSRNA-like, certified (\N{GREEK SMALL LETTER GAMMA})", style.VERMILION),
}


def draw(study: Study, results: pd.DataFrame, curves: pd.DataFrame, path: Path) -> list[Path]:
    """Draw the four panels; return the files."""
    figure, axes = figures.new_figure(6.9, 5.4, nrows=2, ncols=2)
    _collapse(axes[0, 0], study.pgd, results, curves)
    _emptiness(axes[0, 1], curves)
    _sweeps(axes[1, 0], study.pgd, results)
    _shares(axes[1, 1], curves)
    parts.legend(figure, [axes[0, 0]], loc="outside upper center", ncols=4, columnspacing=1.4)
    return figures.save_figure(figure, path)


def _collapse(axes: Any, pgd: str, results: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Draw the mean over seeds of the PGD accuracy of the argmax cell, epoch by epoch."""
    for label, colour, line, rows in _shown(curves):
        mean = rows.groupby("epoch")[pgd].mean()
        parts.curve(axes, mean.index, 100 * mean, line, colour, label=label)
    low, high = 100 * results["random search"].min(), 100 * results["random search"].max()
    axes.axhspan(low, high, color=style.GREY, alpha=0.25, linewidth=2, label="random search at equal cost")
    axes.set_title("a   What the argmax cell is worth")
    axes.set_ylabel("its PGD accuracy in the table (%)")
    _epoch_axis(axes)


def _emptiness(axes: Any, curves: pd.DataFrame) -> None:
    """Draw the mean over seeds of the number of edges without an operation that is trained."""
    for _, colour, line, rows in _shown(curves):
        empty = (rows["skip_connect"] + rows["none"]).groupby(rows["epoch"]).mean()
        parts.curve(axes, empty.index, empty, line, colour)
    axes.set_title("b   Collapse")
    axes.set_ylabel("edges with skip or none, of 6")
    axes.set_ylim(-0.2, 6.2)
    _epoch_axis(axes)


def _shown(curves: pd.DataFrame) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Return label, colour, line and rows of the methods that are drawn and that were searched."""
    groups = dict(iter(curves.groupby(KEYS)))
    return [(*look, groups[key]) for key, look in LOOKS.items() if key in groups]


def _epoch_axis(axes: Any) -> None:
    axes.set_xlabel("epoch of the search")
    parts.grid(axes)


def _sweeps(axes: Any, pgd: str, results: pd.DataFrame) -> None:
    """Draw PGD accuracy of the cells found against the weight of the second term: every seed, and the mean."""
    baseline = results[(results["method"] == "darts") & (results["order"] == 1)][pgd] if pgd in results else []
    for method, (label, colour) in SWEEPS.items():
        rows = results[(results["method"] == method) & (results["strength"] > 0)]
        if not len(rows) or pgd not in rows:
            continue
        axes.plot(rows["strength"], 100 * rows[pgd], "o", color=colour, markersize=3, alpha=0.5)
        mean = rows.groupby("strength")[pgd].mean()
        parts.curve(axes, mean.index, 100 * mean, "-", colour, label=label)
    if len(baseline):
        axes.axhline(100 * baseline.mean(), color=style.GREY, linewidth=1.3, label="DARTS, first order")
    axes.set_xscale("log")
    axes.set_title("c   Weight of the second term")
    axes.set_xlabel("\N{GREEK SMALL LETTER LAMDA} or \N{GREEK SMALL LETTER GAMMA}")
    axes.set_ylabel("PGD accuracy of the cell found (%)")
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.4))
    parts.grid(axes)


def _shares(axes: Any, curves: pd.DataFrame) -> None:
    """Draw the natural gradient's share of ARNAS's direction."""
    axes.set_title("d   The two gradients of ARNAS-S")
    rows = curves[curves["method"] == "arnas-s"]
    for (strength, order), part in rows.groupby(["strength", "order"]):
        share = part.groupby("epoch")["natural_share"].mean()
        line, colour = "-" if order == 2 else "--", style.GREEN if strength < 1 else style.BLUE
        parts.curve(axes, share.index, share, line, colour, label=f"factor {strength:g}, order {order}")
    axes.set_ylabel("share of the clean gradient, t")
    axes.set_ylim(-0.02, 1.02)
    if len(rows):
        axes.legend(loc="center right")
    _epoch_axis(axes)
