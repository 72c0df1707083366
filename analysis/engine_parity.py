"""Whether two engines train alike: the same cells by both, with the digits settings, and the difference.

Twelve fixed cells that differ in their operations are trained with several seeds by both engines, and measured on the
test images: clean, FGSM and PGD-20. Native and torch draw different numbers from a seed, so runs are compared as
independent samples: the first engine minus the second for every cell (Welch), and the mean of these differences over
cells, with the standard error that the spread between seeds gives it. Run: ``python analysis/engine_parity.py --workers
2``, with ``--engines torch-fast-bf16 torch-fast`` for what bfloat16 does, or with ``--engines native torch-fast
--channels 16`` for what Winograd's convolutions do, which the native engine takes from 16 channels on. Runs are kept
under ``--runs`` and never made twice: stop it and start it again. It writes a CSV and a figure, and prints what
follows.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from engine_parity import runs
from engine_parity.compute import summarise
from engine_parity.conclude import print_conclusion
from engine_parity.draw import draw
from nasbench_robust.engines import ENGINES
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from program import Arguments, positive, print_written, results_folder, write_csv

USUAL = ["native", "torch"]


def main() -> int:
    """Make the runs that are missing, summarise, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_argument("--engines", nargs=2, default=USUAL, metavar="ENGINE", help="default: native torch")
    parser.add_argument("--channels", type=positive, help="of the first stage (default: 4, as the digits settings)")
    parser.add_argument("--runs", default="results/engine_parity", help="folder of the runs (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=positive, nargs="+", default=[8], help="runs of a cell: by both, or by each engine (default: 8)"
    )
    parser.add_argument("--workers", type=positive, default=1, help="processes (default: 1)")
    parser.add_argument("--summary", action="store_true", help="make no runs, summarise those that are there")
    parser.add_argument("--cells", type=int, nargs="+", default=list(runs.CELLS), help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=positive, help=argparse.SUPPRESS)
    return parser.run(run)


def run(args: argparse.Namespace) -> int | None:
    """Do what the arguments say."""
    for engine in args.engines:
        if engine not in ENGINES:
            raise UnknownNameError("engine", engine, list(ENGINES))
    if len(args.seeds) > 2:
        raise InvalidValueError("--seeds", args.seeds, "one number, or one for each of the two engines")
    seeds = dict(zip(args.engines, (args.seeds[0], args.seeds[-1]), strict=True))
    plan = runs.Plan(Path(args.runs), seeds, args.cells, runs.parity_settings(args.epochs, args.channels))
    folder = results_folder(args.out)
    if not args.summary and (code := runs.make_runs(plan, args.workers)):
        return code
    table = summarise(runs.read_runs(plan), args.engines)
    headline = plan.metrics[-1]
    name = "engine_parity" + ("" if args.engines == USUAL else f"_{args.engines[0]}")
    name += f"_{args.channels}_channels" if args.channels else ""
    written = [write_csv(table, folder / f"{name}.csv", precision=5), *draw(table, headline, folder / name)]
    print_conclusion(table, headline)
    print_written(written)
    return None


if __name__ == "__main__":
    sys.exit(main())
