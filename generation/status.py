"""``nasbench-robust status`` as a program of its own: ``python generation/status.py --help``."""

import sys

from nasbench_robust.cli.collecting import STATUS
from nasbench_robust.cli.command import program

main = program(STATUS, "status.py")

if __name__ == "__main__":
    sys.exit(main())
