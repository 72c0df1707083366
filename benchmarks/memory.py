"""Peak memory of a step of adversarial training, by each of the programs of `training_step`, a process for each.

What a process needs before its first step (Python, torch, weights and images) is subtracted. Linux only. Run:
``python benchmarks/memory.py`` (needs torchattacks: ``pip install --no-deps torchattacks==3.5.1``).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from example_cells import CELLS
from machine import add_table_arguments, dataset_name, publish
from steps import REFERENCE, make_step, sides_on

from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.engines import provenance

STEPS = 2  # the second finds momentum and gradients in memory


def peak_mib(side: str, label: str, dataset: str, batch_size: int) -> float:
    """Return how much a new process needs beyond what it needed before its first step."""
    command = [sys.executable, __file__, "--dataset", dataset, "--batch-size", str(batch_size), "--one", side, label]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_here(side: str, label: str, dataset: str, batch_size: int) -> float:
    """Take steps in this process and return by how much its peak grew."""
    torch.set_num_threads(1)
    step = make_step(side, Cell.from_str(CELLS[label]), dataset, batch_size, STEPS)
    # The peak that getrusage knows is never below that of the process that started this one.
    Path("/proc/self/clear_refs").write_text("5")  # the peak is from now on that of what comes
    before = status_mib("VmRSS")
    for _ in range(STEPS):
        step()
    return status_mib("VmHWM") - before


def status_mib(name: str) -> float:
    """Return a size that the system knows about this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(size) / 2**10


def main() -> None:
    """Print a Markdown table for a heavy, a medium and a light cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--dataset", type=dataset_name, default="cifar10", help="shape of the images and protocol (default: cifar10)"
    )
    parser.add_argument("--batch-size", type=positive, default=32, help="images of a step (default: 32)")
    sides = sides_on("cpu")[1:]
    parser.add_argument("--sides", nargs="+", choices=sides, default=sides, help="beside the reference")
    add_table_arguments(parser)
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "CELL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(measure_here(*args.one, args.dataset, args.batch_size))
        return
    publish(table([REFERENCE, *args.sides], args), args.out)


def table(sides: list[str], args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table."""
    yield (
        f"Peak memory of a PGD-7 training step in MiB, {args.dataset}, batches of {args.batch_size}, "
        f"{provenance.processor()}, 1 thread, torch {torch.__version__}\n"
    )
    yield f"| cell | {' | '.join(sides)} |"
    yield "|---" * (len(sides) + 1) + "|"
    for label in args.cells:
        peaks = [peak_mib(side, label, args.dataset, args.batch_size) for side in sides]
        yield f"| {label} | {' | '.join(f'{peak:.0f}' for peak in peaks)} |"


if __name__ == "__main__":
    main()
