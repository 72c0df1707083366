"""The drawing of ntk_figure.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import style

LOOK = {  # label, colour, marker
    "clean": ("clean", style.GREY, "o"),
    "robust": ("robust", style.BLUE, "s"),
    "cross": ("cross", style.ORANGE, "D"),
    "robust_twice": ("robust twice", style.VERMILION, "^"),
}
_MANY = 0.1  # share of cells without a value from which a marker is hollow
_WORDS = {"clean_acc": "clean", "fgsm_acc": "FGSM", "pgd_acc": "PGD", "autoattack_acc": "AutoAttack"}
_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def draw(points: pd.DataFrame, path: Path) -> list[Path]:
    """Draw a panel for every attack and scalar; return the files."""
    attacks, scalars = (list(dict.fromkeys(points[name])) for name in ("attack", "scalar"))
    width = max(4.6, 0.9 + 2.45 * len(attacks))
    options = {"sharex": True, "sharey": "row", "squeeze": False}
    figure, axes = style.new_figure(width, 1.2 + 2.0 * len(scalars), nrows=len(scalars), ncols=len(attacks), **options)
    for row, scalar in enumerate(scalars):
        for column, attack in enumerate(attacks):
            part = points[(points["attack"] == attack) & (points["scalar"] == scalar)]
            _panel(axes[row, column], part)
            letter = "abcdefghijklmnopqrstuvwxyz"[row * len(attacks) + column]
            axes[row, column].set_title(f"{letter}   {_words(attack)} kernels")
        axes[row, 0].set_ylabel(f"{scalar[0].upper()}{scalar[1:]}\n" + r"Spearman's $\rho$, 95 % interval")
    _label(figure, axes, points)
    return style.save_figure(figure, path)


def _panel(axes: Any, part: pd.DataFrame) -> None:
    metrics = list(dict.fromkeys(part["metric"]))
    kernels = [name for name in LOOK if name in set(part["kernel"])]
    offsets = (np.arange(len(kernels)) - (len(kernels) - 1) / 2) * 0.19
    for offset, kernel in zip(offsets, kernels, strict=True):
        _points(axes, part[part["kernel"] == kernel], np.arange(len(metrics)) + offset, LOOK[kernel])
    line = part.drop_duplicates("metric")["parameters"]
    axes.hlines(line, np.arange(len(line)) - 0.46, np.arange(len(line)) + 0.46, color="black", linewidth=1.3, zorder=3)
    axes.axhline(0, color="black", linewidth=0.6, zorder=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    for place in np.arange(len(metrics) - 1) + 0.5:
        axes.axvline(place, color="#eeeeee", linewidth=0.5, zorder=-1)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.5, len(metrics) - 0.5)
    axes.set_xticks(
        range(len(metrics)), [_words(name) for name in metrics], rotation=45, ha="right", rotation_mode="anchor"
    )
    axes.tick_params(axis="x", length=0)


def _points(axes: Any, rows: pd.DataFrame, places: Any, look: tuple[str, str, str]) -> None:
    _, colour, marker = look
    value = rows["spearman"].to_numpy()
    bounds = np.maximum([value - rows["low"].to_numpy(), rows["high"].to_numpy() - value], 0)
    many = rows["failed"].iloc[0] > _MANY * rows["cells"].iloc[0]
    axes.errorbar(places, value, bounds, fmt="none", ecolor=colour, elinewidth=0.9)
    face = "white" if many else colour
    axes.plot(places, value, marker, color=colour, markerfacecolor=face, markersize=3.6, markeredgewidth=0.9)


def _label(figure: Any, axes: Any, points: pd.DataFrame) -> None:
    from matplotlib.lines import Line2D

    kernels = [name for name in LOOK if name in set(points["kernel"])]
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=0.9, label=f"{label} kernel")
        for label, colour, marker in (LOOK[name] for name in kernels)
    ]
    handles.append(Line2D([], [], color="black", linewidth=1.3, label="parameter count"))
    dataset, count = points["dataset"].iloc[0], points["cells"].iloc[0]
    if (points["failed"] > _MANY * points["cells"]).any():
        hollow = f"hollow: over {100 * _MANY:.0f} % of the cells without a value"
        handles.append(Line2D([], [], color="none", markeredgecolor="black", marker="o", markersize=4, label=hollow))
    columns = len(handles) if len(handles) * 1.55 < figure.get_figwidth() else 3
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=1.6, columnspacing=1.4)
    below = f"accuracy of {count:,} cells after adversarial training on {_SETS.get(dataset, dataset)}"
    if "cross" in kernels and "minimum eigenvalue" in set(points["scalar"]):
        below += "\ncross kernels: smallest singular value in place of the minimum eigenvalue"
    figure.supxlabel(below, size=8)
    figure.align_ylabels(axes[:, 0])


def _words(name: str) -> str:
    """Return ``PGD 8/255`` for a metric or an attack."""
    kind, _, eps = name.partition("@")
    word = _WORDS.get(kind) or _WORDS.get(f"{kind}_acc", kind)
    return f"{word} {eps}".strip()
