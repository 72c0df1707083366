"""The figure: the differences of the cells, and the mean difference of every metric."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import figures
from engine_parity.compute import POWER
from nasbench_robust.plots import parts, style


def draw(table: pd.DataFrame, headline: str, path: Path) -> list[Path]:
    """Draw both panels, the headline being the metric of the cells; return the files."""
    single = table[(table["metric"] == headline) & (table["cell"] != "all")]
    together = table[table["cell"] == "all"]
    figure, (left, right) = figures.new_figure(6.9, 0.9 + 0.17 * max(len(single), 6), ncols=2, width_ratios=(1.1, 1))
    _differences(left, single, (single["label"] + "  " + single["cell"]).tolist(), style.BLUE, "o")
    _differences(right, together, together["metric"].tolist(), style.VERMILION, "D")
    for place, detectable in enumerate(together["detectable"]):
        label = f"seen with a probability of {POWER:.0%}" if place == 0 else None
        ends = [-100 * detectable, 100 * detectable]
        right.plot(ends, [place, place], "|", color=style.GREY, markersize=9, label=label)
    first, second = table.iloc[0][["first", "second"]]
    figure.supxlabel(f"{first} minus {second}, points of accuracy; 95 % intervals", fontsize=8)
    figure.legend(loc="outside upper right", handlelength=1)
    for axes in (left, right):
        parts.symmetric(axes)
    left.set_title(f"a   Cells, {headline}")
    right.set_title(f"b   {together.iloc[0]['label'].capitalize()}")
    return figures.save_figure(figure, path)


def _differences(axes: Any, rows: pd.DataFrame, names: list[str], colour: str, marker: str) -> None:
    value, low, high = (100 * rows[column].to_numpy() for column in ("difference", "low", "high"))
    parts.forest(axes, names, value, low, high, fmt=marker, color=colour)
