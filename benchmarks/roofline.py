"""Where the time of a training step goes: operations, bytes and launches by each path, against the machine's ceilings.

Every operation that torch runs in a PGD-7 step is counted: its multiplications and additions (convolutions and products
of matrices), the bytes of the tensors that it reads and writes, and that it was launched at all; views count nothing.
The ceilings are measured here: for arithmetic the faster of a product of large matrices and of a wide convolution, for
memory a copy of a large array; on a GPU float32 is IEEE's in both, as in training. What a step would take at either
ceiling, next to what it takes, says what limits it and what the floor is. Bytes are those of a machine without caches,
so on a CPU, whose caches hold small tensors, the memory floor can lie above the time. The native engine launches
nothing that could be counted: its row has the operations of the path that needs the fewest, without the products with
the zeros of the padding, which it leaves out, and the ceiling that it measures itself. They are those of direct
convolutions: by minimal filtering it needs fewer from 16 channels on, and its share can be more than the whole. Run:
``python benchmarks/roofline.py``; ``--device cuda`` where there is one. ``--out FILE`` keeps the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from example_cells import CELLS
from machine import add_table_arguments, dataset_name, describe, parse_arguments, publish, wait
from native_forward import executed_multiplications
from pixels import random_images
from steps import NATIVE, make_step, sides_on

from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.engines.torch import Trainer
from nasbench_robust.images import pinned_float32
from nasbench_robust.native.library import peak
from nasbench_robust.networks import PATHS, OperationCounter
from nasbench_robust.settings import settings_for

WARM_UP = 2
HEADER = """| cell | path | GFLOP | GB | launches | ms at peak | ms at memory speed | ms | share of the peak |
|---|---|---|---|---|---|---|---|---|"""


@dataclass
class Ceilings:
    """What the device can do: 10^9 operations and 10^9 bytes a second."""

    arithmetic: float
    memory: float


def seconds_of(work: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median time of a call, after calls that are not measured: of a CPU's one core, not on the wall."""
    times, clock = [], time.perf_counter if device == "cuda" else time.process_time
    for turn in range(repeats + WARM_UP):
        start = clock()
        work()
        wait(device)
        if turn >= WARM_UP:
            times.append(clock() - start)
    return float(np.median(times))


@pinned_float32()
def ceilings(device: str, dtype: torch.dtype) -> Ceilings:
    """Measure products of matrices and convolutions in a type, and copies."""
    side, channels = (8192, 512) if device == "cuda" else (1024, 128)
    left, right = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    shapes = (16, channels, 16, 16), (channels, channels, 3, 3)
    images, kernels = (
        torch.rand(shape, device=device).to(dtype, memory_format=torch.channels_last) for shape in shapes
    )

    def convolve() -> torch.Tensor:
        return F.conv2d(images, kernels, padding=1)

    with OperationCounter() as counter:
        convolve()
    arithmetic = max(
        2 * side**3 / seconds_of(lambda: left @ right, device, 5),
        counter.flops / seconds_of(convolve, device, 5),
    )
    source = torch.rand(2**26, device=device)
    target = torch.empty_like(source)
    copied = seconds_of(lambda: target.copy_(source), device, 5)
    return Ceilings(arithmetic / 1e9, 2 * source.nbytes / copied / 1e9)


def count(label: str, path: str, args: argparse.Namespace) -> tuple[OperationCounter, float]:
    """Count a step of one cell by one path, and return its median time too."""
    settings = replace(settings_for(args.dataset), batch_size=args.batch_size)
    images = random_images(settings, args.repeats + WARM_UP + 3, args.device)  # no epoch ends
    trainer = Trainer(Cell.from_str(CELLS[label]), settings, images, seed=0, path=path)
    trainer.step()
    with OperationCounter() as counter:
        trainer.step()
    return counter, seconds_of(trainer.step, args.device, args.repeats)


def time_native(label: str, args: argparse.Namespace) -> float:
    """Return the median time of a step of one cell by the native engine."""
    steps = args.repeats + WARM_UP + 1
    step = make_step(NATIVE, Cell.from_str(CELLS[label]), args.dataset, args.batch_size, steps)
    return seconds_of(step, "cpu", args.repeats)


def row(label: str, path: str, counter: OperationCounter, seconds: float, found: Ceilings) -> str:
    """Return the row of the table for what was counted and timed."""
    flops, moved = counter.flops / 1e9, counter.bytes / 1e9
    computing, moving = 1e3 * flops / found.arithmetic, 1e3 * moved / found.memory
    counted = [f"{moved:.2f}", str(counter.launches)]
    floors = [f"{computing:.1f}", f"{moving:.1f}"]
    if path == NATIVE:
        counted, floors = ["", ""], [floors[0], ""]
    fields = [label, path, f"{flops:.1f}", *counted, *floors, f"{1e3 * seconds:.1f}"]
    return f"| {' | '.join(fields)} | {computing / (1e3 * seconds):.0%} |"


def lines_of(label: str, args: argparse.Namespace, single: Ceilings, half: Ceilings) -> Iterator[str]:
    """Yield the rows of one cell."""
    counters = {}
    for path in PATHS:
        counters[path], seconds = count(label, path, args)
        yield row(label, path, counters[path], seconds, half if path == "fast-bf16" else single)
    if NATIVE in sides_on(args.device):
        cell, skeleton = Cell.from_str(CELLS[label]), settings_for(args.dataset).skeleton
        fewest = min(counters.values(), key=lambda counter: counter.flops)
        fewest.flops = round(fewest.flops * executed_multiplications(cell, skeleton) / cell.flops(skeleton))
        own = Ceilings(2 * peak(), single.memory)
        yield row(label, NATIVE, fewest, time_native(label, args), own)


def main() -> None:
    """Print the ceilings and a row for every cell and path."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--dataset", type=dataset_name, default="cifar10", help="shape of the images and protocol (default: cifar10)"
    )
    parser.add_argument("--batch-size", type=positive, default=32, help="images of a step (default: 32)")
    parser.add_argument("--repeats", type=positive, default=5, help="timed steps (default: 5)")
    add_table_arguments(parser)
    args = parse_arguments(parser)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    publish(table(args), args.out)


def table(args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table."""
    found = {dtype: ceilings(args.device, dtype) for dtype in (torch.float32, torch.bfloat16)}
    single, half = found[torch.float32], found[torch.bfloat16]
    yield (
        f"One PGD-7 training step, {args.dataset}, batches of {args.batch_size}; {describe(args.device)}: "
        f"{single.arithmetic:.0f} GFLOP/s in float32 and {half.arithmetic:.0f} in bfloat16, {single.memory:.1f} GB/s\n"
    )
    yield HEADER
    for label in args.cells:
        yield from lines_of(label, args, single, half)


if __name__ == "__main__":
    main()
