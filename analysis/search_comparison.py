"""What search methods find in a table of adversarially trained cells, for how many queries.

Every method searches the published table many times, selecting by clean, FGSM and PGD accuracy; what it found is
judged by every accuracy of the table. Then the two questions that one number hides: how much of the trade-off between
clean and robust accuracy a search uncovers (hypervolume), and what it costs to select on validation images instead of
the test images that are reported, on digits, whose table has both. And what it is worth to stop a training before its
end, on digits, whose table has the curves. Run: ``python analysis/search_comparison.py``. It writes CSVs in long form
and figures, and prints the tables and what follows from them.
"""

from __future__ import annotations

import argparse
import sys
import time

import nasbench_robust as nbr
from nasbench_robust.errors import MissingResultError
from program import Arguments, positive, print_written, results_folder, write_csv
from search_comparison.compute import Effort, as_table, compare, splits
from search_comparison.conclude import print_conclusion
from search_comparison.draw import draw, draw_epochs
from search_comparison.epochs import compare_by_epochs, print_epochs


def main() -> int:
    """Search, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_tables()
    parser.add_argument("--dataset", default="cifar10", help="of the published table (default: cifar10)")
    parser.add_argument(
        "--repeats", type=positive, default=200, help="searches per method and criterion (default: 200)"
    )
    parser.add_argument("--queries", type=positive, nargs="+", default=[150, 500], help="budgets (default: 150 500)")
    parser.add_argument(
        "--epochs", type=positive, default=6000, help="budget of searches that may stop a training (default: 6000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the searches (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    published, digits = nbr.load(args.published), nbr.load(args.digits)
    folder = results_folder(args.out)
    effort = Effort(args.repeats, tuple(sorted(set(args.queries))), args.seed)
    rows = list(compare(published, args.dataset, effort))
    try:
        rows += splits(digits, effort)
    except MissingResultError as error:
        print(f"validation against test is left out: {error}\n")
    results = as_table(rows, [digits, published])
    written = [write_csv(results, folder / "search_comparison.csv", precision=6)]
    written += draw(results, folder / "search_comparison")
    print_conclusion(results, [published, digits], effort.queries)
    try:
        by_epochs = compare_by_epochs(digits, args.repeats, args.epochs, args.seed)
    except MissingResultError as error:
        print(f"\nsearches that may stop a training are left out: {error}")
    else:
        written.append(write_csv(by_epochs, folder / "search_epochs.csv", precision=6))
        written += draw_epochs(by_epochs, folder / "search_epochs")
        print_epochs(by_epochs, digits)
    print_written(written, start)


if __name__ == "__main__":
    sys.exit(main())
