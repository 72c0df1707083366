"""The conclusion and the figure of engine_parity.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import style

LEVEL, POWER = 0.95, 0.8  # of the intervals; of the difference that is called detectable


def print_conclusion(table: pd.DataFrame, headline: str) -> None:
    """Print the difference of every metric, and whether the engines can be told apart."""
    of_all = table[table["cell"] == "all"]
    first = of_all.iloc[0]
    numbers = " and ".join(f"{first[f'{side}_runs']} {first[side]}" for side in ("first", "second"))
    print(f"{first['label']}; {numbers} runs; test split")
    print(f"{_subtraction(table)} in points of accuracy, 95 % intervals; sd within cells; ratio of variances")
    for row in of_all.to_dict("records"):
        points = {name: 100 * row[name] for name in ("first_mean", "second_mean", "difference", "low", "high")}
        means = "{first_mean:6.2f} - {second_mean:6.2f} = {difference:+6.2f} [{low:+.2f}, {high:+.2f}]".format(**points)
        deviations = f"{100 * row['first_sd']:.2f} and {100 * row['second_sd']:.2f}"
        ratio = f"{row['variance_ratio']:.2f} [{row['variance_low']:.2f}, {row['variance_high']:.2f}]"
        print(f"  {row['metric']:14} {means}   sd {deviations}   ratio {ratio}")
    print()
    for sentence in sentences(table, headline):
        print(f"- {sentence}")


def _subtraction(table: pd.DataFrame) -> str:
    return f"{table['first'].iloc[0]} minus {table['second'].iloc[0]}"


def sentences(table: pd.DataFrame, headline: str) -> list[str]:
    """Return what follows from the numbers."""
    of_all = table[table["cell"] == "all"].set_index("metric")
    off = of_all[(of_all["low"] > 0) | (of_all["high"] < 0)]
    contains = "contains 0 for every metric: no difference between the engines was found."
    if len(off):
        contains = f"does not contain 0 for {', '.join(off.index)}: the engines differ there."
    seen = ", ".join(f"{name} {100 * row['detectable']:.2f}" for name, row in of_all.iterrows())
    uneven = of_all[(of_all["variance_low"] > 1) | (of_all["variance_high"] < 1)]
    spread = "1 lies in the interval of every ratio of variances: seeds spread alike."
    if len(uneven):
        spread = f"1 lies outside the interval of the ratio of variances for {', '.join(uneven.index)}."
    single = table[(table["metric"] == headline) & (table["cell"] != "all")]
    inside = int(((single["low"] <= 0) & (single["high"] >= 0)).sum())
    widest = 100 * max(-single["low"].min(), single["high"].max())
    return [
        f"The interval of the mean difference {contains}",
        f"A true mean difference of so many points would have been seen with a probability of {POWER:.0%}: {seen}.",
        f"Cell by cell in {headline}, {inside} of {len(single)} intervals contain 0; of intervals on no difference, "
        f"{1 - LEVEL:.0%} do not. The farthest bound is at {widest:.1f} points.",
        spread + " Intervals are each on its own, none corrected for their number.",
    ]


def draw(table: pd.DataFrame, headline: str, path: Path) -> list[Path]:
    """Draw the differences of the cells, and the mean difference of every metric; return the files."""
    single = table[(table["metric"] == headline) & (table["cell"] != "all")]
    together = table[table["cell"] == "all"]
    figure, (left, right) = style.new_figure(6.9, 0.9 + 0.17 * max(len(single), 6), ncols=2, width_ratios=(1.1, 1))
    _forest(left, single, (single["label"] + "  " + single["cell"]).tolist(), style.BLUE, "o")
    _forest(right, together, together["metric"].tolist(), style.VERMILION, "D")
    for place, seen in enumerate(together["detectable"]):
        label = f"seen with a probability of {POWER:.0%}" if place == 0 else None
        ends = [-100 * seen, 100 * seen]
        right.plot(ends, [place, place], "|", color=style.GREY, markersize=9, label=label)
    figure.supxlabel(f"{_subtraction(table)}, points of accuracy; 95 % intervals", fontsize=8)
    figure.legend(loc="outside upper right", handlelength=1)
    for axes in (left, right):
        farthest = 1.05 * max(map(abs, axes.get_xlim()))
        axes.set_xlim(-farthest, farthest)
    left.set_title(f"a   Cells, {headline}")
    right.set_title(f"b   {together.iloc[0]['label'].capitalize()}")
    return style.save_figure(figure, path)


def _forest(axes: Any, rows: pd.DataFrame, names: list[str], colour: str, marker: str) -> None:
    value, low, high = (100 * rows[column].to_numpy() for column in ("difference", "low", "high"))
    places = np.arange(len(rows))
    errors = [value - low, high - value]
    axes.errorbar(value, places, xerr=errors, fmt=marker, color=colour, markersize=4, capsize=2, elinewidth=1)
    axes.axvline(0, color="black", linewidth=0.6, zorder=0)
    axes.set_yticks(places, names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
