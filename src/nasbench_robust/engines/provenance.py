"""Where and with what a result was made: processor, memory, versions, revision. No torch."""

from __future__ import annotations

import contextlib
import functools
import gc
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..version import __version__


def versions(engine: str) -> str:
    """Return the versions of this package, of the engine as it describes itself, and of Python."""
    return f"nasbench-robust {__version__}, {engine}, python {platform.python_version()}"


def maker(versions: str) -> str:
    """Return the part of `versions` that decides a run's numbers: all but Python."""
    return versions.partition(", python ")[0]


def forget_peak_memory(images: Any) -> None:
    """Begin a run: peaks are those from here on, of the process where the system lets it, and of the images' GPU."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: VmHWM is what is in memory now
    device = getattr(images.test.pixels, "device", None)
    if getattr(device, "type", None) == "cuda":
        import torch

        gc.collect()  # a run before this one may be held by a circle of references
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mib() -> float:
    """Return the peak memory of this process since `forget_peak_memory`, or since its start elsewhere, in MiB."""
    with contextlib.suppress(OSError):
        peaks = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if peaks:
            return int(peaks[0]) / 2**10
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
def gpu_driver() -> str:
    """Return the version of NVIDIA's driver, where the system tells it: ``"driver 580.65.06"``."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        text = ""
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return f"driver {found[0] if found else 'unknown'}"


@functools.cache
def revision() -> str | None:
    """Return the commit of a source checkout, with ``-dirty`` behind it if files were changed; None if installed."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
