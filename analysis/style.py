"""The look of figures: colours that colour-blind readers can tell apart, sizes for a printed column, words, saving."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from nasbench_robust.files import write_bytes

# Okabe and Ito, Color Universal Design (2008).
BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
LIGHT = "#dddddd"  # grids

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
_METRICS = {"clean": "clean", "fgsm": "FGSM", "pgd": "PGD", "autoattack": "AutoAttack"}
_DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def metric_words(name: str) -> tuple[str, str]:
    """Return the word and the eps of a metric or an attack, ``("PGD", "8/255")``; either may be empty."""
    kind, _, eps = name.partition("@")
    return _METRICS.get(kind.removesuffix("_acc"), kind), eps


def metric_label(name: str) -> str:
    """Return ``PGD 8/255`` for a metric or an attack."""
    return " ".join(metric_words(name)).strip()


def dataset_label(name: str) -> str:
    """Return a data set's name as it is written in a text."""
    return _DATASETS.get(name, name)


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
        content = io.BytesIO()
        figure.savefig(content, format=name.suffix[1:], metadata=metadata)
        write_bytes(content.getvalue(), name)
    pyplot.close(figure)
    return paths
