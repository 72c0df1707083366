"""How well scores of untrained cells rank cells by the accuracy of trained ones, beside the parameter count.

Takes a table of scores, from ``generation/score_cells.py --table``, and holds every score of kernels, of kernel
regression and of proxies against every test column of the digits table and of the published one. Run: ``python
analysis/ntk_correlation.py SCORES.parquet``. It writes all correlations and a leaderboard as CSV and prints what
follows; from scores of digits it also chooses a mean rank of up to three scores, which ``--combination FILE`` tests on
the scores of another data set. docs/analysis.md says what each column is.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from kernels import combination
from kernels.compute import Effort, compare
from kernels.conclude import print_combination, print_leaderboard
from kernels.leaderboard import leaderboard
from kernels.scores import Data, read_data
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Compare, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_argument("scores", metavar="SCORES", help="table of scores")
    parser.add_tables()
    parser.add_argument("--target", nargs=2, metavar=("DATASET", "METRIC"), help="column of the leaderboard")
    parser.add_argument("--combination", metavar="FILE", help="test this choice of scores, made on digits")
    parser.add_argument("--resamples", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling and of the halves (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    effort = Effort(args.resamples, args.seed)
    data = read_data(args.scores, args.published, args.digits, tuple(args.target) if args.target else None)
    parts = combination.load(args.combination, data) if args.combination else None
    folder = results_folder(args.out)
    results = compare(data, effort)
    board = leaderboard(data, results)
    written = [write_csv(results, folder / f"ntk_correlation_{data.dataset}.csv", precision=4)]
    written.append(write_csv(board, folder / f"ntk_leaderboard_{data.dataset}.csv", precision=4))
    print_leaderboard(data, board)
    if parts is not None or data.dataset == "digits":
        written += combine(data, parts, folder, effort)
    print_written(written, start)


def combine(data: Data, parts: list[combination.Part] | None, folder: Path, effort: Effort) -> list[Path]:
    """Test a combination on all cells; without one, choose it on half of the cells and test it on the other half."""
    written = []
    cells, where = np.ones(len(data.index), bool), f"tested on {len(data.index):,} cells of {data.dataset}"
    if parts is None:
        chosen, cells = combination.halves(data, effort)
        parts = combination.choose(data, data.own_headline, chosen)
        where = f"on {chosen.sum():,} cells, tested on the other {cells.sum():,}"
        path = folder / "ntk_combination.json"
        written.append(combination.save(parts, data.own_headline, int(chosen.sum()), path))
    tested = combination.evaluate(data, parts, cells, effort)
    print_combination(tested, data.own_headline, where)
    return [*written, write_csv(tested, folder / f"ntk_combination_{data.dataset}.csv", precision=4)]


if __name__ == "__main__":
    sys.exit(main())
