"""``nasbench-robust genotype`` as a program of its own: ``python generation/train_genotype.py --help``."""

import sys

from nasbench_robust.cli.command import program
from nasbench_robust.cli.searching import GENOTYPE

main = program(GENOTYPE, "train_genotype.py")

if __name__ == "__main__":
    sys.exit(main())
