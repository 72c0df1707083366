"""The native engine against torchattacks and against our own torch path: whole runs, forward passes.

A run is what a row of the digits table costs without AutoAttack: all epochs of adversarial training, each with the
accuracies of the training curve, then clean, FGSM and PGD-20 accuracy on the test images. Three programs make it in
turns in one process, with one thread: the published training with torchattacks, this package in torch, and the native
engine. Importing and loading are not timed. Forward passes are measured in multiplications a second, as shares of what
the core can do. ``evaluation.py`` compares AutoAttack. Run: ``python benchmarks/native_engine.py`` (needs torchattacks:
``pip install --no-deps torchattacks==3.5.1``).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from example_cells import CELLS
from machine import add_table_arguments, describe, publish
from native_forward import compare_forward
from reference import count_correct, train_reference
from training_step import spread

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.datasets import dataset
from nasbench_robust.engines import Draws
from nasbench_robust.engines.native import NativeTrainer, evaluate
from nasbench_robust.engines.torch import evaluation, make_generator, train
from nasbench_robust.images import ArrayImages, load_arrays, load_images
from nasbench_robust.metrics import Metric
from nasbench_robust.native import build_name
from nasbench_robust.settings import TrainingSettings, settings_for

SIDES = ("torchattacks", "our torch", "native")


@dataclass(frozen=True)
class Timing:
    """Seconds of a run, and how many test images it classified correctly, by metric."""

    training: float
    evaluation: float
    correct: dict[str, int]

    def seconds(self, factor: float) -> float:
        """Return the seconds of a run whose training is so many times longer."""
        return factor * self.training + self.evaluation


def measured(settings: TrainingSettings) -> list[Metric]:
    """Return what all sides measure in the end: everything on test images but AutoAttack."""
    return [metric for metric in settings.metrics if metric.split == "test" and metric.name != "autoattack_acc"]


def run_reference(cell: Cell, settings: TrainingSettings, seed: int) -> Timing:
    """Train and measure with torchattacks."""
    images = load_images(settings.dataset)
    start = time.perf_counter()
    network = train_reference(cell, settings, images, seed)
    trained = time.perf_counter()
    test = images.held_out("test")
    correct = {metric.column: count_correct(network, *test, metric) for metric in measured(settings)}
    return Timing(trained - start, time.perf_counter() - trained, correct)


def run_torch(cell: Cell, settings: TrainingSettings, seed: int) -> Timing:
    """Train and measure with this package in torch."""
    images = load_images(settings.dataset)
    start = time.perf_counter()
    network, _ = train(cell, settings, images, seed)
    trained = time.perf_counter()
    draws = make_generator(seed, "evaluation")
    outcomes = evaluation.evaluate(network, *images.held_out("test"), measured(settings), draws)
    correct = {metric.column: int(outcome.sum()) for metric, outcome in outcomes.items()}
    return Timing(trained - start, time.perf_counter() - trained, correct)


def train_native(cell: Cell, settings: TrainingSettings, images: ArrayImages, seed: int) -> native.NativeNetwork:
    """Train in the native engine."""
    trainer = NativeTrainer(cell, settings, images, seed)
    while not trainer.finished:
        trainer.step()
    return trainer.network


def run_native(cell: Cell, settings: TrainingSettings, seed: int) -> Timing:
    """Train and measure in the native engine."""
    images = load_arrays(settings.dataset)
    start = time.perf_counter()
    network = train_native(cell, settings, images, seed)
    trained = time.perf_counter()
    draws = Draws(seed, "evaluation")
    correct = {metric.column: int(evaluate(network, images, metric, draws).sum()) for metric in measured(settings)}
    return Timing(trained - start, time.perf_counter() - trained, correct)


def compare_runs(labels: Sequence[str], settings: TrainingSettings, epochs: int, repeats: int) -> Iterator[str]:
    """Yield a table of the seconds and accuracies of a run of every side: medians of turns, and their ratios."""
    factor = settings.epochs / epochs
    runs = dict(zip(SIDES, (run_reference, run_torch, run_native), strict=True))
    for run in runs.values():  # what happens only once is not measured
        run(Cell.from_str(CELLS["light"]), replace(settings, epochs=1), 0)
    yield f"One run without AutoAttack, {settings.epochs} epochs of batches of {settings.batch_size}, {repeats} turn(s)"
    if factor != 1:
        yield f"(trained for {epochs} epoch(s) only, whose time counts {factor:g} times; accuracies are of those)"
    yield ""
    names = [metric.column for metric in measured(settings)]
    yield f"| cell | by | s: median (quartiles) | times native: median (quartiles) | {' | '.join(names)} |"
    yield "|---" * (4 + len(names)) + "|"
    images = dataset(settings.dataset).held_out["test"]
    for label in labels:
        cell = Cell.from_str(CELLS[label])
        timings: dict[str, list[Timing]] = {side: [] for side in SIDES}
        for seed in range(repeats):
            for side, run in runs.items():
                timings[side].append(run(cell, replace(settings, epochs=epochs), seed))
        seconds = {side: np.array([each.seconds(factor) for each in timings[side]]) for side in SIDES}
        for side in SIDES:
            ratio = "" if side == "native" else spread(seconds[side] / seconds["native"], "{:.1f}")
            # All sides do the same work, with other draws.
            means = [statistics.mean(each.correct[name] for each in timings[side]) / images for name in names]
            accuracies = " | ".join(f"{mean:.3f}" for mean in means)
            yield f"| {label} | {side} | {spread(seconds[side], '{:.2f}')} | {ratio} | {accuracies} |"


def main() -> None:
    """Print Markdown tables of runs and of forward passes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=positive, default=3, help="turns of runs (default: 3)")
    parser.add_argument("--epochs", type=positive, help="train for fewer epochs and multiply their time (default: all)")
    parser.add_argument("--quick", action="store_const", dest="epochs", const=2, help="the same as --epochs 2")
    parser.add_argument("--skip", nargs="+", choices=["runs", "forward"], default=[], help="parts to leave out")
    add_table_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    publish(tables(args), args.out)


def tables(args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of everything that was asked for."""
    settings = settings_for("digits")
    yield f"Native engine for {build_name()} on digits, {describe('cpu')}\n"
    if "runs" not in args.skip:
        yield from compare_runs(args.cells, settings, args.epochs or settings.epochs, args.repeats)
        yield ""
    if "forward" not in args.skip:
        yield from compare_forward(args.cells, settings, repeats=30 if args.epochs is None else 5)


if __name__ == "__main__":
    main()
