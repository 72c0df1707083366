"""The figures and tables of the paper of NAS-RobBench-201, drawn anew from its published files.

After Wu, Liu, Simon-Gabriel, Chrysos and Cevher, "Robust NAS under adversarial training: benchmark, theory, and
beyond", ICLR 2024: box plots (figure 2), distributions, rankings and rank correlations (figure 3), best cells (figure
4), rank correlations with standard training (table 1), searches (table 2). Figure 5 is `ntk_figure.py`'s.
Run: ``python analysis/benchmark_figures.py``. It writes ``benchmark_*.csv`` and figures, and prints what the paper says
beside what comes out here.
"""

from __future__ import annotations

import argparse
import sys
import time

import nasbench_robust as nbr
from benchmark_figures import compute, conclude, draw, searches
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Compute, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_tables(digits=False)
    parser.add_argument("--standard", metavar="TABLE", default="standard-training", help="default: %(default)s")
    parser.add_argument("--repeats", type=positive, default=200, help="searches by a method (default: 200)")
    parser.add_argument("--queries", type=positive, default=150, help="of a search (default: 150)")
    parser.add_argument("--seed", type=int, default=0, help="of the searches (default: 0)")
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    folder = results_folder(args.out)
    published, standard = nbr.load(args.published), nbr.load(args.standard)
    accuracies = compute.read(published)
    tables = {
        "boxes": compute.boxes(accuracies),
        "rank_matrix": compute.rank_matrix(accuracies),
        "standard": compute.against_standard(accuracies, compute.read(standard)),
        "best_cells": compute.best_cells(accuracies),
        "operations": compute.operations(accuracies),
        "pareto": compute.pareto(accuracies),
        "searches": searches.found(published, searches.Effort(args.repeats, args.queries, args.seed)),
    }
    tables["against_paper"] = conclude.against_paper(accuracies, tables)
    written = [write_csv(table, folder / f"benchmark_{name}.csv", precision=5) for name, table in tables.items()]
    written += draw.boxes(accuracies, folder / "benchmark_boxes")
    written += draw.rankings(accuracies, folder / "benchmark_rankings")
    written += draw.rank_matrix(accuracies, tables["rank_matrix"], folder / "benchmark_rank_matrix")
    written += draw.best_cells(published, tables, folder / "benchmark_best_cells")
    conclude.print_conclusion(tables)
    print_written(written, start)


if __name__ == "__main__":
    sys.exit(main())
