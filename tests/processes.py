"""Programs that tests start: none outlives its test, also where the test fails."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 180.0  # seconds that a test waits for anything; what works takes a few of them, however busy the machine is


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Start a program, and kill it if the block ends before it does: `Popen` by itself would wait for ever."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run_python(program: str | Path, *arguments: str, **options: Any) -> str:
    """Run code or a file in a fresh process and return what it printed; it fails with what that said of an error."""
    command = [sys.executable, *([str(program)] if isinstance(program, Path) else ["-c", program]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout
