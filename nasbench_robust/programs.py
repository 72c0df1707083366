"""What the programs around the library share: one way to end with an error."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .errors import NasbenchRobustError

__all__ = ["guarded"]


def guarded(program: str, work: Callable[[], int]) -> int:
    """Call `work` and return its exit code; an error becomes one sentence and code 2, Ctrl-C code 130."""
    try:
        return work()
    except NasbenchRobustError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{program}: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2
