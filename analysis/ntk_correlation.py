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
from collections.abc import Sequence
from pathlib import Path

import ntk_combination as combination
import numpy as np
import pandas as pd
from ntk_leaderboard import leaderboard, print_leaderboard
from ntk_scores import Data, Target, read_data
from ntk_statistics import Effort, compare

from nasbench_robust.cli.command import guarded

PROGRAM = "ntk_correlation.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, write, print; return the exit code."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split("\n")[0])
    add_tables(parser)
    parser.add_argument("--target", nargs=2, metavar=("DATASET", "METRIC"), help="column of the leaderboard")
    parser.add_argument("--combination", metavar="FILE", help="test this choice of scores, made on digits")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling and of the halves (default: 0)")
    args = parser.parse_args(arguments)
    return guarded(PROGRAM, lambda: run(args))


def add_tables(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say what is read and where results go."""
    parser.add_argument("scores", metavar="SCORES", help="table of scores")
    parser.add_argument("--digits", metavar="TABLE", help="digits table (default: the release in the package)")
    parser.add_argument("--published", metavar="TABLE", default="nas-robbench-201", help="default: nas-robbench-201")
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: analysis/results)")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    start = time.perf_counter()
    effort = Effort(args.resamples, args.seed)
    data = read_data(args.scores, args.published, args.digits, tuple(args.target) if args.target else None)
    parts = combination.load(args.combination, data) if args.combination else None
    results = compare(data, effort)
    board = leaderboard(data, results)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    written = [_write(results, folder / f"ntk_correlation_{data.dataset}.csv")]
    written.append(_write(board, folder / f"ntk_leaderboard_{data.dataset}.csv"))
    print_leaderboard(data, board)
    if parts is not None:
        written += _test(data, parts, folder, effort)
    elif data.dataset == "digits":
        written += _choose(data, folder, effort)
    print(f"\nwrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


def _choose(data: Data, folder: Path, effort: Effort) -> list[Path]:
    """Choose a combination on half of the cells, test it on the other half, write both."""
    target = _headline(data)
    chosen, rest = combination.halves(data, effort.seed)
    parts = combination.choose(data, target, chosen)
    path = folder / "ntk_combination.json"
    combination.save(parts, target, int(chosen.sum()), path)
    tested = combination.evaluate(data, parts, rest, _own(data), effort)
    combination.print_result(tested, target, f"on {chosen.sum():,} cells, tested on the other {rest.sum():,}")
    return [path, _write(tested, folder / "ntk_combination_digits.csv")]


def _test(data: Data, parts: list[combination.Part], folder: Path, effort: Effort) -> list[Path]:
    """Test a combination that was chosen before, on all cells."""
    every = np.ones(len(data.index), bool)
    tested = combination.evaluate(data, parts, every, _own(data), effort)
    combination.print_result(tested, _headline(data), f"tested on {len(every):,} cells of {data.dataset}")
    return [_write(tested, folder / f"ntk_combination_{data.dataset}.csv")]


def _own(data: Data) -> list[Target]:
    return [target for target in data.targets if target[0] == data.dataset]


def _headline(data: Data) -> Target:
    own = _own(data)
    return next((target for target in data.headlines if target in own), own[0])


def _write(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False, float_format="%.4g")
    return path


if __name__ == "__main__":
    sys.exit(main())
