"""Whether rows of the published table come out again: trainings by its protocol beside its numbers and its noise.

Every cell of `analysis/reproduction/release` was trained and attacked by the published protocol. Its accuracies are
held against the published row, in units of what two trainings of one network differ by in the published table itself.
Run: ``python analysis/reproduction.py``. It writes a CSV and a figure, and prints every number.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nasbench_robust as nbr
from program import Arguments, print_written, results_folder, write_csv
from reproduction.compute import compare, pool
from reproduction.conclude import print_comparison
from reproduction.draw import draw

RELEASE = Path(__file__).parent / "reproduction" / "release"


def main() -> int:
    """Compare, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_tables(digits=False)
    parser.add_argument(
        "--runs", metavar="TABLE", default=str(RELEASE), help="the trainings (default: the release beside this file)"
    )
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    folder = results_folder(args.out)
    rows = compare(nbr.load(args.runs), nbr.load(args.published))
    pooled = pool(rows)
    written = [
        write_csv(rows, folder / "reproduction.csv", precision=5),
        write_csv(pooled, folder / "reproduction_pooled.csv", precision=4),
        *draw(rows, folder / "reproduction"),
    ]
    print_comparison(rows, pooled)
    print_written(written, start)


if __name__ == "__main__":
    sys.exit(main())
