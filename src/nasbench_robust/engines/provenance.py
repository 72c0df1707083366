"""Where and with what a result was made: processor, memory, versions, revision. No torch."""

from __future__ import annotations

import functools
import platform
import resource
import subprocess
import sys
from pathlib import Path

from ..version import __version__


def versions(engine: str) -> str:
    """Return the versions of this package, of the engine as it describes itself, and of Python."""
    return f"nasbench-robust {__version__}, {engine}, python {platform.python_version()}"


def peak_memory_mib() -> float:
    """Return the peak memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB elsewhere


@functools.cache
def processor() -> str:
    """Return the processor's model where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


@functools.cache
def revision() -> str | None:
    """Return the commit of a source checkout, with ``-dirty`` behind it if files were changed; None if installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
