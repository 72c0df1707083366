"""``nasbench-robust collect`` as a program of its own: ``python generation/collect.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.generation import COLLECT

main = program(COLLECT, "collect.py")

if __name__ == "__main__":
    sys.exit(main())
