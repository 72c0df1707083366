"""ARNAS's placement on the benchmark's cell: a cell for stages 1 and 2 and another for stage 3, beside each alone.

A search of two cells, by ARNAS's strategy, once per seed; then adversarial training, by the benchmark's own protocol,
of the pair that was found, of the pair the other way round, and of either cell in all stages, all at widths C, 2C and
2C. The difference of the pair and its controls is what the placement is worth. Run:
``python analysis/arnas_two_cells.py --workers 2``. It writes one row per trained network, and prints the means.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from arnas_two_cells.compute import Plan, make
from arnas_two_cells.conclude import print_conclusion
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Search, train, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_argument("--runs", default="results/arnas_two_cells", help="folder of the runs (default: %(default)s)")
    parser.add_argument("--seeds", type=positive, default=3, help="searches, and trainings of a network (default: 3)")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--epochs", type=positive, help=argparse.SUPPRESS)
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    folder = results_folder(args.out)
    rows = make(Plan(Path(args.runs), args.seeds, args.epochs), args.workers)
    path = write_csv(rows, folder / "arnas_two_cells.csv", precision=6)
    print_conclusion(rows)
    print_written([path])


if __name__ == "__main__":
    sys.exit(main())
