"""``nasbench-robust submit`` as a program of its own: ``python generation/submit.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.generation import SUBMIT

main = program(SUBMIT, "submit.py")

if __name__ == "__main__":
    sys.exit(main())
