"""How far a cell's robustness on digits tells its robustness on the published data sets.

Every test column of the digits table is held against every column of the published table, over all cells that both
have, over the top half and over the top tenth by the published column, beside what a digits training has to beat: the
parameter count, which costs nothing. Accuracies are means over the seeds that a table has; validation columns are not
used. Run: ``python analysis/digits_vs_published.py``. It writes a CSV in long form and a figure, and prints what
follows from the numbers; docs/analysis.md says what each statistic is.
"""

from __future__ import annotations

import argparse
import sys
import time

from digits_vs_published.compute import Effort, compare
from digits_vs_published.conclude import print_conclusion
from digits_vs_published.draw import draw
from program import Arguments, positive, print_written, results_folder, write_csv
from tables import read_tables


def main() -> int:
    """Compare, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_tables()
    parser.add_argument(
        "--resamples", type=positive, default=1000, help="bootstrap resamples for Spearman (default: 1000)"
    )
    parser.add_argument("--kendall-resamples", type=positive, default=100, help="for Kendall (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    tables = read_tables(args.digits, args.published)
    folder = results_folder(args.out)
    results = compare(tables, Effort(args.resamples, args.kendall_resamples, args.seed))
    written = [write_csv(results, folder / "digits_vs_published.csv", precision=5)]
    written += draw(tables, results, folder / "digits_vs_published")
    print_conclusion(tables, results)
    print_written(written, start)


if __name__ == "__main__":
    sys.exit(main())
