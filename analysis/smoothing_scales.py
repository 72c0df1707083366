"""Which scales of the Gaussian process over cells the digits table asks for, beside those of the package.

Run: ``python analysis/smoothing_scales.py``. It reads the digits table alone: no published accuracy enters. For random
samples of families of cells it looks for the scales, and the noise, under which each family's accuracy is most likely
given those of the others, and for those under which all are most likely; the families outside a sample then say how
well both, and the package's, predict. It writes one CSV file; docs/predict.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import sys
import time

import nasbench_robust as nbr
from predictors.scales import FAMILIES, choose, scales_table
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Choose, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_argument("--digits", metavar="TABLE", help="digits table (default: the release in the package)")
    parser.add_argument("--draws", type=positive, default=5, help="samples of families (default: 5)")
    parser.add_argument("--families", type=positive, default=FAMILIES, help="in a sample (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    folder, digits = results_folder(args.out), nbr.load(args.digits)
    chosen = choose(digits, args.draws, args.families, args.seed)
    path = write_csv(chosen, folder / "smoothing_scales.csv", precision=4)
    print("\n".join(scales_table(chosen)))
    print_written([path], start)


if __name__ == "__main__":
    sys.exit(main())
