"""Robust differentiable search: every method, several seeds, and what the tables say of the cells found.

Every search is a call of generation/search_supernet.py; its record is kept, so an interrupted comparison goes on. The
cell found, the argmax of the architecture parameters, is looked up in the digits table and in the published CIFAR-10
table, beside random search that may train as many cells as the search's floating-point operations would. Run:
``python analysis/robust_search.py --workers 2``, or with ``--dataset cifar10`` the searches on CIFAR-10, which are
small: half of its images at 16x16 pixels. It writes one row per search, one per epoch, and a figure.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nasbench_robust as nbr
from nasbench_robust.errors import UnknownNameError
from nasbench_robust.images import load_images
from program import Arguments, positive, print_written, results_folder, write_csv
from robust_search import searches
from robust_search.compute import Judge, judged
from robust_search.conclude import print_conclusion
from robust_search.draw import draw


def main() -> int:
    """Make the searches that are missing, judge, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_tables(digits=False)
    parser.add_argument("--dataset", default="digits", help="images to search on: digits (default) or cifar10")
    parser.add_argument(
        "--data-root", metavar="ROOT", help="folder of CIFAR-10 (default: the one that NASBENCH_ROBUST_IMAGES names)"
    )
    parser.add_argument("--records", help="folder of the searches (default: results/, and the name of the results)")
    parser.add_argument("--methods", nargs="+", help=f"default: all of {', '.join(searches.DIGITS.methods)}")
    parser.add_argument("--seeds", type=positive, default=3, help="searches of each (default: 3)")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--summary", action="store_true", help="make no searches, summarise those that are there")
    parser.add_argument("--epochs", type=positive, help=argparse.SUPPRESS)
    return parser.run(run)


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    start = time.perf_counter()
    study = searches.find_study(args.dataset)
    for method in args.methods or ():
        if method not in study.methods:
            raise UnknownNameError("search method", method, study.methods)
    judge = Judge(study, nbr.load(), nbr.load(args.published))
    folder = results_folder(args.out)
    images = load_images(study.dataset, root=args.data_root)
    records = Path(args.records or f"results/{study.name}")
    plan = searches.planned(study, records, args.methods or study.methods, args.seeds, args.epochs)
    if not args.summary and (code := searches.make(plan, args.workers, args.data_root)):
        return code
    results, epochs = judged(plan, judge, images)
    written = [write_csv(results, folder / f"{study.name}.csv", precision=6)]
    written.append(write_csv(epochs, folder / f"{study.name}_epochs.csv", precision=6))
    written += draw(study, results, epochs, folder / study.name)
    print_conclusion(results, judge)
    print_written(written, start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
