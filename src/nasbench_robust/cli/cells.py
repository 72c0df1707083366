"""The command that shows a cell: its drawing, what it is, and what a release measured of it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .command import Command
from .tables import _add_release, _aligned, _load


def _cell_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arch", help="index (0 to 15624) or NAS-Bench-201 string of the cell")
    _add_release(parser)
    parser.add_argument("-d", "--dataset", help="only this data set; default: all of the release")


def _cell(args: argparse.Namespace) -> int:
    from ..cells import Cell, drawing

    cell, bench = Cell.from_text(args.arch), _load(args)
    names = bench.datasets if args.dataset is None else [bench._store.dataset(args.dataset)]
    drawn = drawing.text(cell)
    try:
        drawn.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        drawn = drawing.text(cell, ascii_only=True)
    print(f"{drawing.caption(cell)}\n{cell}\n\n{drawn}\n")
    for name, fact in _facts(cell).items():
        print(f"{name:15} {fact}")
    for name in names:
        skeleton = bench.info.datasets[name].skeleton
        print(f"\n{name}: {cell.parameters(skeleton):,} parameters, {cell.flops(skeleton):,} FLOPs")
        print(_aligned(_ranks(bench, name, cell)))
    return 0


def _facts(cell: Any) -> dict[str, str]:
    """Return what a cell is without any table."""
    import numpy as np

    from ..cells import families, representatives

    same = np.unique(representatives()[families() == families()[cell.index]])
    twins = [index for index in same.tolist() if index != cell.representative]
    return {
        "representative": f"{cell.representative}, of a class of {len(cell.members)}",
        "twins": f"{_few(twins)} (other classes that compute the same function)" if twins else "none",
        "connected": "yes" if cell.connected else "no: at chance whatever is trained",
        "edits": f"{_few([each.index for each in cell.neighbours()])} (24 cells, one edge away)",
    }


def _few(numbers: list[int], most: int = 6) -> str:
    listed = ", ".join(map(str, numbers[:most]))
    return listed if len(numbers) <= most else f"{listed} and {len(numbers) - most} more"


def _ranks(bench: Any, dataset: str, cell: Any) -> dict[str, list[Any]]:
    """Return by metric the accuracy, its spread, and the place of the cell among all classes, equal ones sharing it."""
    import numpy as np

    from ..cells import SIZE, representatives

    trained = representatives() == np.arange(SIZE)
    rows: dict[str, list[Any]] = {name: [] for name in ("metric", "accuracy", "seeds", "sd", "rank", "of")}
    for metric in bench.measured(dataset):
        values = bench.values(dataset, metric.column)
        if np.isnan(values[cell.index]):
            continue
        result = bench.lookup(cell, dataset, metric.column)
        sd = "-" if result.std is None else f"{result.std:.4f}"
        better, known = (values[trained] > result.value).sum(), (~np.isnan(values[trained])).sum()
        for column, value in zip(
            rows, (metric.column, result.value, result.n_seeds, sd, better + 1, known), strict=True
        ):
            rows[column].append(value)
    return rows


COMMANDS = (Command("cell", "draw a cell, and show what a release measured of it, with ranks", _cell_arguments, _cell),)
