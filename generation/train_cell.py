"""``nasbench-robust train`` as a program of its own: ``python generation/train_cell.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.generation import TRAIN

main = program(TRAIN, "train_cell.py")

if __name__ == "__main__":
    sys.exit(main())
