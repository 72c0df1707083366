"""The neural tangent kernel of one cell: ours against torch.func and against a backward pass per sample.

All compute the kernel of the sum of the logits of 64 images, with batch normalisation by running statistics, in fp32 on
one core, for the network of CIFAR-10 (16 channels, 5 cells a stage). The loop is how TE-NAS (Chen et al., ICLR 2021)
computes its kernel: one backward pass through the batch for every image, rows kept, then their products. Every
measurement is made in a process of its own, in turns: seconds are the fastest of --repeats, memory is what the process
needed at its peak beyond what it held before. Run: ``python benchmarks/ntk.py``; about four minutes on an idle core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from example_cells import CELLS
from torch.func import functional_call, grad, vmap

from nasbench_robust.cells import Cell
from nasbench_robust.native import is_available
from nasbench_robust.networks import Network, network_for
from nasbench_robust.ntk import ntk
from nasbench_robust.settings import settings_for

TARGETS = {"heavy": 1.2, "medium": 1.4, "light": 2.0}  # times torch.func, at least
LOOP_TARGET, MEMORY_TARGET = 20.0, 0.5


def by_loop(network: Network, images: torch.Tensor) -> torch.Tensor:
    """Return the kernel from one backward pass through the batch per image."""
    logits, parameters = network(images), list(network.parameters())
    rows = []
    for row in range(len(images)):
        network.zero_grad()
        logits[row].backward(torch.ones_like(logits[row]), retain_graph=True)
        rows.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
    stacked = torch.stack(rows)
    return stacked @ stacked.T


def by_torch_func(network: Network, images: torch.Tensor) -> torch.Tensor:
    """Return the kernel from torch.func's per-sample gradients."""
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    buffers = dict(network.named_buffers())

    def scalar(values: dict[str, torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        return functional_call(network, (values, buffers), (image[None],)).sum()

    with torch.no_grad():
        found = vmap(grad(scalar), in_dims=(None, 0))(weights, images)
        rows = (gradient.flatten(1) for gradient in found.values())
        return sum((row @ row.T for row in rows), start=torch.zeros(len(images), len(images)))


def ours(engine: str, precision: str = "fp32") -> Callable[[Network, torch.Tensor], torch.Tensor]:
    """Return this package's kernel by one of its engines."""
    return lambda network, images: ntk(
        network, images, output="sum", bn="eval", engine=engine, precision=precision, budget_mib=4096
    )


METHODS = {
    "loop": by_loop,
    "torch.func": by_torch_func,
    "ours, torch": ours("torch"),
    "ours, torch, mixed": ours("torch", "mixed"),
    "ours, native": ours("native"),
}


def measure(method: str, cell: str, images: int, kept: str) -> None:
    """Print seconds and MiB of one kernel, and keep it; run in a process of its own."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    settings = settings_for("cifar10")
    network = network_for(Cell.from_str(CELLS[cell]), settings.skeleton, "cifar10", generator).eval()
    shape = settings.skeleton
    batch = torch.rand(images, shape.input_channels, shape.image_size, shape.image_size, generator=generator)
    METHODS[method](network, batch[:1])  # what is loaded and compiled once is not the kernel's
    before = resident_mib()
    start = time.perf_counter()
    kernel = METHODS[method](network, batch)
    seconds = time.perf_counter() - start
    np.save(kept, kernel.double().numpy())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    Path(kept).with_suffix(".json").write_text(json.dumps({"seconds": seconds, "mib": max(0.0, peak - before)}))


def resident_mib() -> float:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def in_turns(cell: str, methods: list[str], images: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Return the fastest seconds, the memory and the kernel of every method; the slow loop is measured once."""
    context = multiprocessing.get_context("spawn")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats):
            for number, method in enumerate(methods):
                if method == "loop" and turn:
                    continue
                kept = f"{folder}/{number}.npy"
                process = context.Process(target=measure, args=(method, cell, images, kept))
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(f"ntk.py: measuring {method} ended with code {process.exitcode}")
                now = json.loads(Path(kept).with_suffix(".json").read_text()) | {"kernel": np.load(kept)}
                if method not in found or now["seconds"] < found[method]["seconds"]:
                    found[method] = now
    return found


def report(cell: str, found: dict[str, dict[str, Any]], fastest: str) -> None:
    """Print a line for every method, and whether the fastest of ours holds the targets."""
    reference = found["torch.func"]
    print(f"\n{cell}\n{'':20} {'seconds':>8} {'x torch.func':>13} {'MiB':>7} {'x memory':>9} {'difference':>11}")
    for method, row in found.items():
        speed, memory = reference["seconds"] / row["seconds"], row["mib"] / reference["mib"]
        apart = np.abs(row["kernel"] - reference["kernel"]).max() / np.abs(reference["kernel"]).max()
        print(f"{method:20} {row['seconds']:8.3f} {speed:13.2f} {row['mib']:7.0f} {memory:9.2f} {apart:11.1e}")
    best = found[fastest]
    checks = [
        ("times torch.func", reference["seconds"] / best["seconds"], TARGETS[cell], True),
        ("of its memory", best["mib"] / reference["mib"], MEMORY_TARGET, False),
    ]
    if "loop" in found:
        checks.insert(1, ("times the loop", found["loop"]["seconds"] / best["seconds"], LOOP_TARGET, True))
    for what, value, target, above in checks:
        holds = value >= target if above else value <= target
        bound = "at least" if above else "at most"
        print(f"  {fastest}: {value:.2f} {what} ({bound} {target:g}: {'holds' if holds else 'does not hold'})")


def main() -> None:
    """Print seconds, memory and ratios for a heavy, a medium and a light cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=64, help="(default: 64)")
    parser.add_argument("--repeats", type=int, default=3, help="turns (default: 3)")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--no-loop", action="store_true", help="leave out the loop, which takes most of the time")
    args = parser.parse_args()
    methods = [name for name in METHODS if not (name == "loop" and args.no_loop)]
    if not is_available():
        methods.remove("ours, native")
    print(f"{args.images} images, one thread, fp32, batch normalisation by running statistics")
    for cell in args.cells:
        report(cell, in_turns(cell, methods, args.images, args.repeats), methods[-1])


if __name__ == "__main__":
    main()
