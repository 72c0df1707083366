"""What the programs around the library share: a type of arguments, and one way to end with an error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from .errors import NasbenchRobustError


def positive(text: str) -> int:
    """Read a count: the type of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a positive integer")
    return int(text)


def guarded(program: str, work: Callable[[], int], out: str = "output") -> int:
    """Call `work` and return its exit code; an error becomes one sentence and code 2, Ctrl-C code 130.

    `out` stands in the sentence where the system does not say which file it is about, as on a full disk.
    """
    try:
        return work()
    except NasbenchRobustError as error:
        print(f"{program}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"{program}: {error.filename or out}: {error.strerror or error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2
