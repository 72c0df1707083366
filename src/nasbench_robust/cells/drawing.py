"""Pictures of cells: as SVG, on matplotlib's axes, and in letters. One layout and one set of colours for all.

Edges without a signal, those that lie on no path from the input to the output, are grey and dashed; none is dotted.
"""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ..errors import InvalidValueError, MissingPackageError
from ..files import write_output
from .encodings import EDGES


class Cell(Protocol):
    """What is asked of a cell to draw it."""

    @property
    def index(self) -> int: ...  # noqa: D102 (as in `cells.Cell`)
    @property
    def representative(self) -> int: ...  # noqa: D102
    @property
    def connected(self) -> bool: ...  # noqa: D102
    @property
    def operations(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def live_edges(self) -> tuple[tuple[int, int], ...]: ...  # noqa: D102


WIDTH, HEIGHT = 300, 206
NODES = ((34, 162), (150, 26), (150, 102), (266, 162))  # x from the left, y from the top
NODE_LABELS = ("in", "1", "2", "out")
LABELS = {
    "none": "none",
    "skip_connect": "skip",
    "nor_conv_1x1": "conv 1x1",
    "nor_conv_3x3": "conv 3x3",
    "avg_pool_3x3": "pool 3x3",
}
# Okabe and Ito, Color Universal Design (2008): told apart by colour-blind readers, and named beside the edge anyhow.
COLOURS = {
    "none": "#c8c8c8",
    "skip_connect": "#E69F00",
    "nor_conv_1x1": "#009E73",
    "nor_conv_3x3": "#0072B2",
    "avg_pool_3x3": "#D55E00",
}
DEAD = "#8c8c8c"
Point: TypeAlias = tuple[float, float]
ENDINGS = (".svg", ".pdf", ".png")
_RADIUS, _HEAD = 14, 9
_DASHES: dict[str, tuple[str, Any]] = {"live": ("", "-"), "dead": ("5 3", (0, (4, 2))), "none": ("2 4", (0, (1, 2.5)))}
_INK = {"live": "#222222", "dead": "#5a5a5a", "none": "#767676"}
_IN_ASCII = str.maketrans("─·│┊▶◀▲▼├└┘┐", "-.|:><^v++++")


def looks(cell: Cell) -> list[tuple[str, str, str]]:
    """Return for every edge its label, its colour, and whether it is ``live``, ``dead`` or ``none``."""
    found = []
    for edge, operation in zip(EDGES, cell.operations, strict=True):
        state = "none" if operation == "none" else "live" if edge in cell.live_edges else "dead"
        found.append((LABELS[operation], DEAD if state == "dead" else COLOURS[operation], state))
    return found


def caption(cell: Cell) -> str:
    """Return the line under a picture: the cell, who was trained for it, and whether anything passes through."""
    trained = "" if cell.representative == cell.index else f", trained as {cell.representative}"
    return f"cell {cell.index}{trained}{'' if cell.connected else ', not connected'}"


def description(cell: Cell) -> str:
    """Return the picture in words."""
    words = {"dead": " without a signal", "live": "", "none": ""}
    edges = zip(EDGES, looks(cell), strict=True)
    return "; ".join(f"{a} to {b}: {label}{words[state]}" for (a, b), (label, _, state) in edges)


def svg(cell: Cell) -> str:
    """Return a cell as an SVG image with a title and a description for who cannot see it."""
    name = f"cell-{cell.index}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-labelledby="{name}-title {name}-text" font-family="sans-serif" font-size="11">',
        f'<title id="{name}-title">{caption(cell)}</title><desc id="{name}-text">{description(cell)}</desc>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>',
    ]
    labels = []
    for edge, (label, colour, state) in zip(EDGES, looks(cell), strict=True):
        start, base, head = _arrow(*edge)
        dashes = f' stroke-dasharray="{_DASHES[state][0]}"' if state != "live" else ""
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y in (start, base))
        parts.append(f'<path d="M{line}" stroke="{colour}" stroke-width="2.2"{dashes}/>')
        parts.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in head)}Z" fill="{colour}"/>')
        (x, y), width = _middle(*edge), 6.6 * len(label)
        labels.append(f'<rect x="{x - width / 2:.1f}" y="{y - 8:.1f}" width="{width:.1f}" height="15" fill="#ffffff"/>')
        labels.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="{_INK[state]}">{label}</text>')
    for (x, y), label in zip(NODES, NODE_LABELS, strict=True):
        labels.append(f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="#ffffff" stroke="#222222" stroke-width="1.5"/>')
        labels.append(f'<text x="{x}" y="{y + 4}" fill="#222222">{label}</text>')
    foot = f'<text x="{WIDTH / 2:g}" y="{HEIGHT - 8}" fill="#222222">{caption(cell)}</text>'
    return "".join([*parts, '<g text-anchor="middle">', *labels, foot, "</g></svg>"])


def _arrow(source: int, target: int) -> tuple[Point, Point, list[Point]]:
    """Return where an edge begins and ends, between the circles of its nodes, and the corners of its tip."""
    (x1, y1), (x2, y2) = NODES[source], NODES[target]
    length = math.hypot(x2 - x1, y2 - y1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    tip = x2 - (_RADIUS + 1) * dx, y2 - (_RADIUS + 1) * dy
    base, aside = (tip[0] - _HEAD * dx, tip[1] - _HEAD * dy), (_HEAD / 2 * dy, _HEAD / 2 * dx)
    head = [tip, (base[0] - aside[0], base[1] + aside[1]), (base[0] + aside[0], base[1] - aside[1])]
    return (x1 + _RADIUS * dx, y1 + _RADIUS * dy), base, head


def _middle(source: int, target: int) -> Point:
    return (NODES[source][0] + NODES[target][0]) / 2, (NODES[source][1] + NODES[target][1]) / 2


def on_axes(axes: Any, cell: Cell, *, size: float = 7, title: str | None = None) -> Any:
    """Draw a cell into axes of matplotlib, which lose ticks and frame, and return them.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    cell : Cell
    size : float
        Of the letters, in points.
    title : str, optional
        Default: `caption`.
    """
    from matplotlib.patches import Circle, Polygon

    ground = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    centre = {"ha": "center", "va": "center", "fontsize": size}
    for edge, (label, colour, state) in zip(EDGES, looks(cell), strict=True):
        start, base, head = _arrow(*edge)
        axes.plot(*zip(start, base, strict=True), color=colour, linewidth=1.4, linestyle=_DASHES[state][1])
        axes.add_patch(Polygon(head, color=colour, linewidth=0))
        axes.text(*_middle(*edge), label, color=_INK[state], bbox=ground, **centre)
    for (x, y), label in zip(NODES, NODE_LABELS, strict=True):
        axes.add_patch(Circle((x, y), _RADIUS, facecolor="white", edgecolor="#222222", linewidth=0.9, zorder=4))
        axes.text(x, y, label, color="#222222", zorder=5, **centre)
    axes.set(xlim=(10, WIDTH - 10), ylim=(HEIGHT - 20, 6), aspect="equal")
    axes.axis("off")
    axes.set_title(caption(cell) if title is None else title, fontsize=size + 1, loc="center", fontweight="normal")
    return axes


def save(cell: Cell, path: str | os.PathLike[str]) -> None:
    """Write a picture; see `Cell.draw`."""
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        name = os.fspath(path)
        raise InvalidValueError("path", name, f"a name that ends in {', '.join(ENDINGS)}", f"{name}.svg")
    if ending == ".svg":
        write_output(svg(cell).encode(), Path(path))
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPackageError("matplotlib", "plots") from None
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), layout="constrained")
    on_axes(figure.subplots(), cell)
    content = io.BytesIO()
    undated = {"Software": None} if ending == ".png" else {"CreationDate": None}
    figure.savefig(content, format=ending[1:], dpi=300, metadata=undated)
    write_output(content.getvalue(), Path(path))


def text(cell: Cell, *, ascii_only: bool = False) -> str:
    """Return a cell drawn in letters, six lines; edges without a signal are dots."""
    seen = looks(cell)
    width = 18

    def wire(edge: int, length: int = width) -> str:
        label, _, state = seen[edge]
        return f" {label} ".center(length, "─" if state == "live" else "·")

    def upright(edge: int) -> str:
        return "│" if seen[edge][2] == "live" else "┊"

    gap = " " * (width + 1)
    down, left = upright(2), "│" if "live" in (seen[1][2], seen[3][2]) else "┊"
    lines = [
        f"0{wire(0)}▶1{wire(4)}▶3◀{'─' if seen[3][2] == 'live' else '·'}┐",
        f"{left}{gap}{down}{gap}▲ {upright(3)}",
        f"{left}{seen[2][0].center(2 * width + 3)}{upright(5)} {upright(3)}",
        f"{left}{gap}▼{gap}{upright(5)} {upright(3)}",
        f"├{wire(1)}▶2{wire(5)}{'─' if seen[5][2] == 'live' else '·'}┘ {upright(3)}",
        f"└{wire(3, 2 * width + 5)}┘",
    ]
    drawn = "\n".join(lines)
    return drawn.translate(_IN_ASCII) if ascii_only else drawn
