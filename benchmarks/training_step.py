"""One step of adversarial training: the published one with torchattacks' PGD against each of this package's.

All augment a batch in the same way, attack it with PGD-7 with the network in eval mode and take one SGD step on the
adversarial images with the network in train mode. They are timed in turns in one process, and the ratio to the
reference is taken turn by turn, so that a machine that is busy with other work disturbs all of them alike. Run:
``python benchmarks/training_step.py`` (needs torchattacks: ``pip install --no-deps torchattacks==3.5.1``;
``--dataset cifar10`` steps on random pixels of its shape; ``--device cuda`` compares graphs, in IEEE's float32).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from example_cells import CELLS
from machine import add_table_arguments, dataset_name, describe, parse_arguments, publish, wait
from steps import GRAPHS, NATIVE, REFERENCE, make_step, sides_on

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.networks import PATHS
from nasbench_robust.settings import settings_for

# A core that is shared with other work stops the clock on the wall, not its own.
CLOCKS = {True: time.process_time, False: time.perf_counter}  # by whether it is one thread of a CPU
WARM_UP = 5  # turns that are not measured; a graph is captured in the fourth

HEADER = """| cell | step | images/s | ms a step: median (quartiles) | times the reference: median (quartiles) |
|---|---|---|---|---|"""


def measure(cell: Cell, sides: Sequence[str], args: argparse.Namespace) -> dict[str, list[float]]:
    """Return the seconds of every step of every side, timed in turns."""
    turns = args.repeats + WARM_UP
    steps = {side: make_step(side, cell, args.dataset, args.batch_size, turns, args.device) for side in sides}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    clock = CLOCKS[args.device == "cpu" and args.threads == 1]
    for turn in range(turns):
        for side, step in steps.items():
            start = clock()
            step()
            wait(args.device)
            if turn >= WARM_UP:
                seconds[side].append(clock() - start)
    return seconds


def rows(label: str, seconds: dict[str, list[float]], batch_size: int) -> list[str]:
    """Return the lines of the table for one cell."""
    reference = np.array(seconds[REFERENCE])
    lines = []
    for side, times in seconds.items():
        speed = batch_size / np.median(times)
        ratio = "" if side == REFERENCE else spread(reference / np.array(times), "{:.2f}")
        lines.append(f"| {label} | {side} | {speed:.1f} | {spread(1e3 * np.array(times), '{:.1f}')} | {ratio} |")
    return lines


def spread(values: np.ndarray, form: str) -> str:
    """Write the median and the quartiles."""
    low, median, high = (form.format(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
    return f"{median} ({low} to {high})"


def main() -> None:
    """Print a Markdown table for a heavy, a medium and a light cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--dataset", type=dataset_name, default="digits", help="shape of the images and protocol (default: digits)"
    )
    parser.add_argument("--batch-size", type=positive, help="images of a step (default: the protocol's)")
    parser.add_argument("--repeats", type=positive, default=20, help="steps of each (default: 20)")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads (default: 1)")
    parser.add_argument(
        "--sides", nargs="+", choices=(*PATHS, *GRAPHS, NATIVE), help="beside the reference (default: all there are)"
    )
    add_table_arguments(parser)
    args = parse_arguments(parser)
    torch.set_num_threads(args.threads)
    if native.is_available():
        native.use_threads(args.threads)
    args.batch_size = args.batch_size or settings_for(args.dataset).batch_size
    there = sides_on(args.device)
    sides = (REFERENCE, *(args.sides or there[1:]))
    for side in sides:
        if side not in there:
            parser.error(f"--sides {side}: not on {args.device}, expected {', '.join(there[1:])}")
    publish(table(sides, args), args.out)


def table(sides: Sequence[str], args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table."""
    yield (
        f"One PGD-7 training step, {args.dataset}, batches of {args.batch_size}, {args.repeats} steps of each in "
        f"turns, {describe(args.device)}\n"
    )
    yield HEADER
    for label in args.cells:
        seconds = measure(Cell.from_str(CELLS[label]), sides, args)
        yield from rows(label, seconds, args.batch_size)


if __name__ == "__main__":
    main()
