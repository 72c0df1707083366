"""The figure of the three numbers: a panel for every scalar, attack and mode, the parameter count as a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import figures
from nasbench_robust.plots import parts, style

LOOKS = {  # label, colour, marker
    "clean": ("clean", style.GREY, "o"),
    "robust": ("robust", style.BLUE, "s"),
    "cross": ("cross", style.ORANGE, "D"),
    "robust_twice": ("robust twice", style.VERMILION, "^"),
}
MODES = {"batch_coupled": "coupled BN", "batch_frozen": "frozen BN", "eval": "eval mode"}
_MANY = 0.1  # share of cells without a value from which a marker is hollow


def draw(points: pd.DataFrame, path: Path) -> list[Path]:
    """Draw all panels; return the files."""
    scalars, modes = (list(dict.fromkeys(points[name])) for name in ("scalar", "bn"))
    places = list(points.groupby(["bn", "attack"], sort=False).groups)
    width = max(4.6, 0.9 + 2.45 * len(places))
    options = {"sharex": True, "sharey": "row", "squeeze": False}
    figure, axes = figures.new_figure(width, 1.2 + 2.0 * len(scalars), nrows=len(scalars), ncols=len(places), **options)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for row, scalar in zip(axes, scalars, strict=True):
        for panel, (bn, attack) in zip(row, places, strict=True):
            _panel(panel, points[(points[["bn", "attack", "scalar"]] == [bn, attack, scalar]).all(axis=1)])
            title = f"{next(letters)}   {style.metric_label(attack)} kernels"
            panel.set_title(title + (f", {MODES[bn]}" if len(modes) > 1 else ""))
        row[0].set_ylabel(f"{scalar[0].upper()}{scalar[1:]}\n" + r"Spearman's $\rho$, 95 % interval")
    figure.align_ylabels(axes[:, 0])
    _legend(figure, points)
    _below(figure, points)
    return figures.save_figure(figure, path)


def _panel(axes: Any, points: pd.DataFrame) -> None:
    metrics = list(dict.fromkeys(points["metric"]))
    kernels = [name for name in LOOKS if name in set(points["kernel"])]
    for offset, kernel in zip(parts.side_by_side(len(kernels), 0.19), kernels, strict=True):
        _, colour, marker = LOOKS[kernel]
        rows = points[points["kernel"] == kernel]
        columns = (rows[name].to_numpy() for name in ("spearman", "low", "high"))
        look: dict[str, Any] = {"markersize": 3.6, "markeredgewidth": 0.9, "elinewidth": 0.9, "capsize": 0}
        look["markerfacecolor"] = "white" if _hollow(rows.iloc[:1]) else colour
        parts.intervals(axes, np.arange(len(metrics)) + offset, *columns, fmt=marker, color=colour, **look)
    line = points.drop_duplicates("metric")["parameters"]
    axes.hlines(line, np.arange(len(line)) - 0.46, np.arange(len(line)) + 0.46, color="black", linewidth=1.3, zorder=3)
    for place in np.arange(len(metrics) - 1) + 0.5:
        axes.axvline(place, color="#eeeeee", linewidth=0.5, zorder=-1)
    labels = [style.metric_label(name) for name in metrics]
    parts.categories(axes, labels, rotation=45, ha="right", rotation_mode="anchor")


def _hollow(points: pd.DataFrame) -> bool:
    return bool((points["failed"] > _MANY * points["cells"]).any())


def _legend(figure: Any, points: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=0.9, label=f"{label} kernel")
        for kernel, (label, colour, marker) in LOOKS.items()
        if kernel in set(points["kernel"])
    ]
    handles.append(Line2D([], [], color="black", linewidth=1.3, label="parameter count"))
    if _hollow(points):
        hollow = f"hollow: over {100 * _MANY:.0f} % of the cells without a value"
        handles.append(Line2D([], [], color="none", markeredgecolor="black", marker="o", markersize=4, label=hollow))
    columns = len(handles) if len(handles) * 1.55 < figure.get_figwidth() else 3
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=1.6, columnspacing=1.4)


def _below(figure: Any, points: pd.DataFrame) -> None:
    """Say under the panels whose accuracy it is."""
    dataset, count = points["dataset"].iloc[0], points["cells"].iloc[0]
    seeds = " / ".join(str(part["seeds_used"].iloc[0]) for _, part in points.groupby("bn", sort=False))
    text = f"accuracy of {count:,} cells after adversarial training on {style.dataset_label(dataset)}"
    text += f"\ninitial seeds: {seeds}; small condition numbers rank first"
    if "cross" in set(points["kernel"]) and "minimum eigenvalue" in set(points["scalar"]):
        text += "\ncross kernels: smallest singular value in place of the minimum eigenvalue"
    figure.supxlabel(text, size=8)
