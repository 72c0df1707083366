"""``nasbench-robust collect`` as a program of its own: ``python generation/collect.py --help``."""

import sys

from nasbench_robust.cli.collecting import COLLECT
from nasbench_robust.cli.command import program

main = program(COLLECT, "collect.py")

if __name__ == "__main__":
    sys.exit(main())
