"""The figure: the scatter of the headline, and its rank correlations over all cells, the top half and the top tenth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import figures
from digits_vs_published.compute import Headline
from nasbench_robust import cells
from nasbench_robust import statistics as st
from nasbench_robust.plots import parts, style
from tables import Tables

NOISE = "what noise allows digits"


def draw(tables: Tables, results: pd.DataFrame, path: Path) -> list[Path]:
    """Draw both panels; return the files."""
    headline = Headline(tables, results)
    figure, (left, right) = figures.new_figure(6.9, 3.2, ncols=2, width_ratios=(1.1, 1))
    _scatter(left, tables, headline)
    _correlations(right, headline)
    count = len(right.get_legend_handles_labels()[1])
    parts.legend(figure, [right], NOISE, loc="outside lower center", ncols=count, columnspacing=1.6)
    return figures.save_figure(figure, path)


def _scatter(axes: Any, tables: Tables, headline: Headline) -> None:
    shown = cells.connected()[tables.index]
    x, y = 100 * tables.digits[headline.digits], 100 * tables.targets[headline.target]
    parts.coloured_dots(axes, x[shown], y[shown], tables.baselines["parameters"][shown] / 1e6, "parameters (million)")
    for fraction, label in ((0.1, "top tenth"), (0.5, "top half")):
        parts.level(axes, y[st.top_fraction(y, fraction)].min(), label)
    if not shown.all():
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.16 * (high - low), high)  # room for the note below the dots
        note = f"{(~shown).sum()} cells without a path\nfrom input to output\nlie at chance, not shown"
        axes.annotate(note, (0, 0), (3, 3), "axes fraction", "offset points", fontsize=7, color=style.GREY)
    axes.set_xlabel(f"digits, {_accuracy(headline.digits)} (%)")
    axes.set_ylabel(f"{style.dataset_label(headline.target[0])}, {_accuracy(headline.target[1])} (%)")
    axes.set_title(f"a   {len(x):,} cells")


def _correlations(axes: Any, headline: Headline) -> None:
    series = [
        (headline.digits, f"digits {style.metric_words(headline.digits)[0]}", style.BLUE, "o"),
        ("parameters", "parameters or FLOPs" if headline.one_baseline else "parameters", style.VERMILION, "s"),
        (headline.both, "mean rank of both", style.GREEN, "D"),
    ]
    if not headline.one_baseline:
        series.insert(2, ("flops", "FLOPs", style.ORANGE, "^"))
    for offset, (predictor, label, colour, marker) in zip(parts.side_by_side(len(series), 0.2), series, strict=True):
        intervals = [headline.interval(subset, predictor, "spearman") for subset in headline.subsets]
        columns = np.array([(interval.value, interval.low, interval.high) for interval in intervals]).T
        places = np.arange(len(intervals)) + offset
        parts.intervals(axes, places, *columns, fmt=marker, color=colour, label=label)
    for place, subset in enumerate(headline.subsets):
        top = headline.value(subset, headline.digits, "ceiling")
        if not math.isnan(top):
            look = {"color": style.GREY, "linewidth": 1, "label": NOISE if place == 0 else None}
            axes.plot([place - 0.32, place + 0.32], [top, top], ":", **look)
    axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
    parts.categories(axes, [f"{subset}\n{headline.cells(subset):,}" for subset in headline.subsets])
    axes.set_xlabel("cells, by the published column")
    axes.set_ylabel(r"Spearman's $\rho$, 95 % interval")
    dataset, metric = headline.target
    axes.set_title(f"b   Rank correlation with {style.dataset_label(dataset)} {style.metric_words(metric)[0]}")


def _accuracy(metric: str) -> str:
    word, eps = style.metric_words(metric)
    return f"{word} accuracy" + (f" at eps {eps}" if eps else "")
