"""``nasbench-robust search`` as a program of its own: ``python generation/search_supernet.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.searching import SEARCH

main = program(SEARCH, "search_supernet.py")

if __name__ == "__main__":
    sys.exit(main())
