"""``python -m nasbench_robust``: the command line where its program is not in the path."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
