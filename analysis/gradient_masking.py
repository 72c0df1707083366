"""Do attacks see what adversarially trained cells do? Accuracy from small to whole radii, by attacks of both kinds.

Digits cells are trained in the native engine and measured under PGD, Square and AutoAttack at 3/255 to 255/255, and by
certified bounds at small radii. Were gradients masked, PGD would leave images right at a radius of 255/255, where any
image can be made of any other, and Square, which asks for no gradient, would break more than attacks by gradients do.
Run: ``python analysis/gradient_masking.py``. It writes ``gradient_masking.csv`` and a figure, and prints what follows.
"""

from __future__ import annotations

import argparse
import sys
import time

from gradient_masking import conclude
from gradient_masking.compute import CELLS, Effort, measure_all
from gradient_masking.draw import draw
from program import Arguments, positive, print_written, results_folder, write_csv


def main() -> int:
    """Train, measure, write, print; return the exit code."""
    parser = Arguments(__file__, __doc__)
    parser.add_argument("--cells", nargs="+", type=int, default=list(CELLS), help="indices (default: seven cells)")
    parser.add_argument("--seed", type=int, default=0, help="of trainings and attacks (default: 0)")
    parser.add_argument("--images", type=positive, default=300, help="test images (default: 300)")
    parser.add_argument("--queries", type=positive, default=500, help="of Square (default: 500)")
    parser.add_argument("--epochs", type=positive, help=argparse.SUPPRESS)
    return parser.run(run)


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    start = time.perf_counter()
    folder = results_folder(args.out)
    table = measure_all(args.cells, Effort(args.seed, args.images, args.queries, args.epochs), conclude.print_cell)
    written = [write_csv(table, folder / "gradient_masking.csv", precision=5)]
    written += draw(table, folder / "gradient_masking")
    conclude.print_conclusion(table)
    print_written(written, start)


if __name__ == "__main__":
    sys.exit(main())
