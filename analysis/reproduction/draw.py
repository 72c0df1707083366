"""The figure: differences to the published rows, beside what two trainings of one network differ by."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

import figures
from nasbench_robust.plots import parts, style


def draw(rows: pd.DataFrame, path: Path) -> list[Path]:
    """Draw a panel per metric; return the files."""
    metrics = list(dict.fromkeys(rows["metric"]))
    height = 1.1 + 0.34 * rows["index"].nunique()
    figure, axes = figures.new_figure(6.9, height, ncols=3, nrows=-(-len(metrics) // 3), sharey=True, squeeze=False)
    for panel, metric in zip(axes.flat, metrics, strict=False):
        group = rows[rows["metric"] == metric]
        values, reach = 100 * group["difference"].to_numpy(), 196 * group["noise"].to_numpy()
        parts.forest(
            panel,
            [f"cell {cell}" for cell in group["index"]],
            values,
            values - reach,
            values + reach,
            fmt="o",
            color=style.BLUE,
        )
        parts.symmetric(panel)
        panel.set_title(style.metric_label(metric))
    for panel in axes[-1]:
        panel.set_xlabel("ours minus published (points)")
    return figures.save_figure(figure, path)
