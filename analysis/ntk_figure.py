"""Three numbers of the kernels against accuracies: whether kernels of attacked images rank cells better.

A drawing, from this project's scores, of figure 5 of Wu et al., Robust NAS under adversarial training (ICLR 2024): for
every attack of a table of scores, the rank correlation of the minimum eigenvalue, the Frobenius norm and the condition
number of clean, robust, cross and robust-twice kernels with every accuracy on the same data set, and that of the
parameter count. Run: ``python analysis/ntk_figure.py SCORES.parquet``. Several tables that differ in how batch
normalisation is treated are drawn side by side. It writes the numbers as CSV, the figure as PNG and SVG, and prints
what follows from them.
"""

from __future__ import annotations

import argparse
import sys

from kernels.attacked import of_modes
from kernels.compute import Effort
from kernels.conclude import print_attacked
from kernels.draw import draw
from kernels.scores import read_data
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Draw, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_argument("scores", metavar="SCORES", nargs="+", help="tables of scores, one for each mode")
    parser.add_tables()
    parser.add_argument("--resamples", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    tables = [read_data(path, args.published, args.digits) for path in args.scores]
    folder = results_folder(args.out)
    points = of_modes(tables, Effort(args.resamples, args.seed))
    name = f"ntk_figure_{tables[0].dataset}" + ("_modes" if len(tables) > 1 else "")
    written = [write_csv(points, folder / f"{name}.csv", precision=4), *draw(points, folder / name)]
    for data in tables:
        print_attacked(points, data)
    print_written(written)


if __name__ == "__main__":
    sys.exit(main())
