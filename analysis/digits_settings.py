"""Why the digits settings are what they are: how well variants of them separate the cells, and at what cost.

Cells spread evenly over the published PGD accuracies at 8/255 on cifar10 are trained with every variant in the native
engine. Good settings spread the cells far apart compared with what a seed changes, and rank them as the published
column does, beyond what the parameter count tells already. Run: ``python analysis/digits_settings.py --workers 2``. It
prints a line per variant and writes ``digits_settings.csv`` as it goes.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pandas as pd

from digits_settings import conclude
from digits_settings.compute import read_cells, try_settings, variants
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.runs import end_with
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Train, print, write; return the exit code."""
    names = list(variants())
    parser = Arguments(__file__, __doc__)
    parser.add_tables(digits=False)
    parser.add_argument("--variants", nargs="+", default=names, help=f"default: all of {', '.join(map(repr, names))}")
    parser.add_argument("--cells", type=int, default=80, help="how many (default: 80)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a cell, at least 2 (default: 3)")
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--epochs", type=positive, help=argparse.SUPPRESS)
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    settings = variants()
    for name in args.variants:
        if name not in settings:
            raise UnknownNameError("variant", name, list(settings))
    if args.seeds < 2:
        raise InvalidValueError("--seeds", args.seeds, "at least 2, to tell cells from seeds", "2")
    cells = read_cells(args.published, args.cells)
    path = results_folder(args.out) / "digits_settings.csv"
    conclude.print_head(cells, args.seeds)
    rows = []
    with ProcessPoolExecutor(args.workers, initializer=end_with, initargs=(os.getpid(),)) as pool:
        for name in args.variants:
            tried = settings[name] if args.epochs is None else replace(settings[name], epochs=args.epochs)
            row = {"variant": name, "settings": tried.hash, "seeds": args.seeds}
            rows.append({**row, **try_settings(pool, cells, args.seeds, tried)})
            write_csv(pd.DataFrame(rows), path, precision=5)
            conclude.print_variant(rows[-1])
    conclude.print_conclusion(pd.DataFrame(rows))
    print_written([path])


if __name__ == "__main__":
    sys.exit(main())
