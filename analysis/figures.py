"""Figures of programs: made without a display, saved as PNG and SVG, in the style of `nasbench_robust.plots`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from nasbench_robust.files import write_bytes
from nasbench_robust.plots import style


def new_figure(width: float, height: float, **layout: Any) -> tuple[Any, Any]:
    """Return a figure of so many inches and its axes, drawn without a display."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update(style.SETTINGS)
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
