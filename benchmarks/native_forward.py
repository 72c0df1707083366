"""Forward passes of the native engine in multiplications a second; a part of native_engine.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from example_cells import CELLS

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.datasets import dataset
from nasbench_robust.engines import Draws
from nasbench_robust.engines.native import initial_weights
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.native import build_name
from nasbench_robust.native.library import BUILD_VARIABLE, library, peak
from nasbench_robust.settings import TrainingSettings
from nasbench_robust.skeletons import Skeleton

WIDTHS = (4, 8, 16)
IMAGES = 512  # of a forward pass: full registers in every build
WINDOW = 0.005  # seconds that a rate is measured for: so short that some windows are undisturbed


def multiplications(size: int, kernel: int, stride: int = 1) -> int:
    """Return those of a convolution between two channels on an image of this side, without those with padding."""
    outputs = size // stride
    if kernel == 1:
        return outputs**2
    # Along each direction 3 for every output, less what lies outside: on both sides, with stride 2 on one side.
    return (3 * outputs - (2 if stride == 1 else 1)) ** 2


def executed_multiplications(cell: Cell, skeleton: Skeleton) -> int:
    """Return how many multiplications of convolutions and of the linear layer the engine executes for one image.

    `Cell.flops` counts those with padding too, which the engine leaves out. For cells all of whose nodes reach the
    output: on other ones the engine leaves out more.
    """
    cells, stages = skeleton.cells_per_stage, list(zip(skeleton.widths, skeleton.sizes, strict=True))
    kernels = {1: cell.count("nor_conv_1x1"), 3: cell.count("nor_conv_3x3")}
    total = skeleton.input_channels * skeleton.channels * multiplications(skeleton.image_size, 3)
    for width, size in stages:
        edges = sum(number * multiplications(size, kernel) for kernel, number in kernels.items())
        total += cells * width**2 * edges
    for width, size in stages[1:]:  # the block that leads to this stage
        halving, same, shortcut = multiplications(2 * size, 3, 2), multiplications(size, 3), size**2
        total += width // 2 * width * (halving + shortcut) + width**2 * same
    return total + skeleton.widths[-1] * skeleton.classes


def use_build(name: str) -> bool:
    """Let the engine use a build from now on; return whether it can be used here."""
    os.environ[BUILD_VARIABLE] = name
    build_name.cache_clear()
    library.cache_clear()
    try:
        return build_name() == name
    except InvalidValueError:
        return False


def forward_pass(label: str, skeleton: Skeleton) -> Callable[[], object]:
    """Return the forward pass of a new network on random images, in the build in use."""
    cell, facts = Cell.from_str(CELLS[label]), dataset("digits")
    network = native.NativeNetwork(cell, skeleton, mean=facts.mean, std=facts.std)
    network.parameters[:], network.statistics[:] = initial_weights(cell, skeleton, Draws(0, "weights"))
    network.fold()
    shape = (IMAGES, skeleton.input_channels, skeleton.image_size, skeleton.image_size)
    images = Draws(0, "training").uniform(0, 1, shape)
    return lambda: network.logits(images)


def rate(function: Callable[[], object]) -> float:
    """Return how often a function can be called in a second."""
    calls, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < WINDOW:
        function()
        calls += 1
    return calls / passed


def measure_forward(
    labels: Sequence[str], skeletons: Sequence[Skeleton], repeats: int
) -> tuple[dict[str, float], dict[tuple[str, str, int], float]]:
    """Return the peak of every build, and the rate of every network by build, cell and width: the best of all turns.

    Both in 10^9 multiplications with addition a second; a network's are those that it really executes. The peak is
    measured before every network, on a machine in the same state.
    """
    peaks: dict[str, float] = {}
    rates: dict[tuple[str, str, int], float] = {}
    passes = {}
    for build in [name for name in reversed(native.BUILDS) if use_build(name)]:
        use_build(build)
        for label in labels:
            for skeleton in skeletons:
                work = IMAGES * executed_multiplications(Cell.from_str(CELLS[label]), skeleton) / 1e9
                passes[build, label, skeleton.channels] = work, forward_pass(label, skeleton)
    for _ in range(repeats):
        for key, (work, function) in passes.items():
            use_build(key[0])
            peaks[key[0]] = max(peaks.get(key[0], 0.0), peak(WINDOW))
            rates[key] = max(rates.get(key, 0.0), work * rate(function))
    return peaks, rates


def compare_forward(labels: Sequence[str], settings: TrainingSettings, repeats: int) -> Iterator[str]:
    """Yield a table of the rates of forward passes and of their shares of the core's peak."""
    skeletons = [replace(settings.skeleton, channels=width) for width in WIDTHS]
    chosen = os.environ.get(BUILD_VARIABLE)
    peaks, rates = measure_forward(labels, skeletons, repeats)
    restore(chosen)
    core = max(peaks.values())
    yield (
        f"Forward passes, N={settings.skeleton.cells_per_stage}: 10^9 multiplications with addition a second, and the "
        f"share of the core's fp32 peak of {core:.1f}; best of {repeats} turns."
    )
    yield "Only multiplications that are executed count; those with padding are not. Pooling, ReLU, sums and loading"
    yield "take time and count nothing."
    yield ""
    yield (
        f"| build | its peak | cell | FLOPs executed at C={settings.skeleton.channels} | "
        + " | ".join(f"C={width}" for width in WIDTHS)
        + " |"
    )
    yield "|---" * (4 + len(WIDTHS)) + "|"
    for build, highest in peaks.items():
        for label in labels:
            cell = Cell.from_str(CELLS[label])
            share = executed_multiplications(cell, settings.skeleton) / cell.flops(settings.skeleton)
            values = [rates[build, label, width] for width in WIDTHS]
            shown = " | ".join(f"{value:.1f} ({value / core:.0%})" for value in values)
            yield f"| {build} | {highest:.1f} | {label} | {share:.0%} | {shown} |"


def restore(build: str | None) -> None:
    """Let the engine use the build that the user named, or the fastest one."""
    if build is not None:
        use_build(build)
        return
    os.environ.pop(BUILD_VARIABLE, None)
    build_name.cache_clear()
    library.cache_clear()
