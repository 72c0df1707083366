"""``nasbench-robust score`` as a program of its own: ``python generation/score_cells.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.scoring import SCORE

main = program(SCORE, "score_cells.py")

if __name__ == "__main__":
    sys.exit(main())
