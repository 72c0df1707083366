"""How well cells are ranked without labels, with a few of them, and with many.

Structure, every score of untrained cells, rules that were fixed before they were tried, digits smoothed by structure,
and few labels, against PGD accuracy on CIFAR-10, CIFAR-100, ImageNet16-120 and digits. Run: ``python
analysis/predictors.py``. It writes two CSV files, and prints the best lines and whether what was aimed at holds;
docs/predict.md says what the columns mean.
"""

from __future__ import annotations

import argparse
import sys
import time

import pandas as pd

import nasbench_robust as nbr
from predictors.compute import HELD_OUT, Effort, boards, leaderboard
from predictors.conclude import print_conclusion
from predictors.labels import learning_curves
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Compare, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_tables()
    scores = "folder of tables of scores (default: %(default)s)"
    parser.add_argument("--scores", metavar="FOLDER", default="analysis/scores", help=scores)
    parser.add_argument("--resamples", type=positive, default=200, help="bootstrap resamples (default: 200)")
    parser.add_argument("--repeats", type=positive, default=5, help="draws of few labels (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    published, digits = nbr.load(args.published), nbr.load(args.digits)
    folder, effort = results_folder(args.out), Effort(args.resamples, args.repeats, args.seed)
    rows, curves = [], []
    for board in boards(published, digits, args.scores):
        rows.append(leaderboard(board, effort))
        if board.dataset != HELD_OUT:
            curves.append(learning_curves(board, digits, effort))
    results = pd.concat(rows), pd.concat(curves)
    names = "predictors_leaderboard.csv", "predictors_curves.csv"
    written = [write_csv(table, folder / name, precision=5) for table, name in zip(results, names, strict=True)]
    print_conclusion(*results)
    print_written(written, start)


if __name__ == "__main__":
    sys.exit(main())
