"""Robust differentiable search on digits: every method, several seeds, and what the tables say of the cells found.

Every search is a call of generation/search_supernet.py; its record is kept, so an interrupted comparison goes on. The
cell found, the argmax of the architecture parameters, is looked up in the digits table and in the published CIFAR-10
table, beside random search that may train as many cells as the search's floating-point operations would. Run:
``python analysis/robust_search.py --workers 2``. It writes one row per search, one per epoch, and a figure.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nasbench_robust as nbr
from nasbench_robust.errors import UnknownNameError
from program import Arguments, positive, print_written, results_folder, write_csv
from robust_search import searches
from robust_search.compute import Judge, judged
from robust_search.conclude import print_conclusion
from robust_search.draw import draw


def main() -> int:
    """Make the searches that are missing, judge, write, print; return the exit code."""
    methods = list(searches.METHODS)
    parser = Arguments(__file__, __doc__)
    parser.add_tables(digits=False)
    parser.add_argument(
        "--records", default="results/robust_search", help="folder of the searches (default: %(default)s)"
    )
    parser.add_argument("--methods", nargs="+", default=methods, help=f"default: all of {', '.join(methods)}")
    parser.add_argument("--seeds", type=positive, default=3, help="searches of each (default: 3)")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--summary", action="store_true", help="make no searches, summarise those that are there")
    parser.add_argument("--epochs", type=positive, help=argparse.SUPPRESS)
    return parser.run(run)


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    start = time.perf_counter()
    for method in args.methods:
        if method not in searches.METHODS:
            raise UnknownNameError("search method", method, searches.METHODS)
    judge = Judge(nbr.load(), nbr.load(args.published))
    folder = results_folder(args.out)
    plan = searches.planned(Path(args.records), args.methods, args.seeds, args.epochs)
    if not args.summary and (code := searches.make(plan, args.workers)):
        return code
    results, epochs = judged(plan, judge)
    written = [write_csv(results, folder / "robust_search.csv", precision=6)]
    written.append(write_csv(epochs, folder / "robust_search_epochs.csv", precision=6))
    written += draw(results, epochs, folder / "robust_search")
    print_conclusion(results, judge.digits)
    print_written(written, start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
