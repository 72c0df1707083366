"""What the programs of this folder share: how arguments are read, results written and faults told."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import pandas as pd

from nasbench_robust.cli.command import guarded, positive
from nasbench_robust.files import write_bytes
from nasbench_robust.runs import end_with

__all__ = ["GENERATION", "Arguments", "generate", "positive", "print_written", "results_folder", "write_csv"]

GENERATION = Path(__file__).resolve().parents[1] / "generation"


class Arguments(argparse.ArgumentParser):
    """The arguments of a program; a wrong one ends it as every fault does, with one line and exit code 2."""

    def __init__(self, file: str, description: str) -> None:
        super().__init__(prog=Path(file).name, description=description.split("\n")[0])
        self.add_argument("--out", default="analysis/results", help="folder to write to (default: %(default)s)")

    def error(self, message: str) -> NoReturn:
        """End the program without the usage, which `--help` prints."""
        self.exit(2, f"{self.prog}: {message}; --help lists the options\n")

    def add_tables(self, *, digits: bool = True) -> None:
        """Add the options that name the published table and the digits table."""
        self.add_argument("--published", metavar="TABLE", default="nas-robbench-201", help="default: %(default)s")
        if digits:
            self.add_argument("--digits", metavar="TABLE", help="digits table (default: the release in the package)")

    def run(self, work: Callable[[argparse.Namespace], int | None]) -> int:
        """Read the arguments, do the work and return the exit code."""
        args = self.parse_args()
        return guarded(self.prog, lambda: work(args) or 0, args.out)


def results_folder(name: str) -> Path:
    """Make a folder and find out before the work, not after it, that files can be written there."""
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(b"x")
    return folder


def write_csv(table: pd.DataFrame, path: Path, precision: int) -> Path:
    """Write a table with so many significant digits."""
    write_bytes(table.to_csv(index=False, float_format=f"%.{precision}g").encode(), path)
    return path


def print_written(paths: Sequence[Path], start: float | None = None) -> None:
    """Print which files were written and, with the start by `time.perf_counter`, how long the program took."""
    seconds = "" if start is None else f" in {time.perf_counter() - start:.0f} s"
    print(f"\nwrote {', '.join(map(str, paths))}{seconds}")


def generate(program: str, *options: object) -> int:
    """Call a program of the folder generation and return its exit code."""
    command = [sys.executable, str(GENERATION / program), *map(str, options)]
    return subprocess.run(command, check=False, preexec_fn=partial(end_with, os.getpid())).returncode
