"""The look of the figures: colours that colour-blind readers can tell apart, sizes for a printed column, saving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Okabe and Ito, Color Universal Design (2008).
BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"

SETTINGS = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "svg.hashsalt": "nasbench-robust",
}


def new_figure(width: float, height: float, **layout: Any) -> tuple[Any, Any]:
    """Return a figure of so many inches and its axes, drawn without a display."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(SETTINGS)
    return pyplot.subplots(figsize=(width, height), layout="constrained", **layout)


def save_figure(figure: Any, path: Path) -> list[Path]:
    """Write PNG and SVG beside each other, the same bytes for the same figure, and return their paths."""
    from matplotlib import pyplot

    paths = [path.with_suffix(".png"), path.with_suffix(".svg")]
    for name, metadata in zip(paths, ({"Software": None}, {"Date": None}), strict=True):
        figure.savefig(name, metadata=metadata)
    pyplot.close(figure)
    return paths
