"""``nasbench-robust run`` as a program of its own: ``python generation/run_local.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.generation import RUN

main = program(RUN, "run_local.py")

if __name__ == "__main__":
    sys.exit(main())
