"""Evaluation side by side: torchattacks, this package in torch, its native engine; same networks, images and attacks.

Adversarially trains a digits network (C=4, N=1) of each cell. Then all sides take turns to measure it: its accuracy on
the images as they are and under PGD-20, and as they are and after each part of AutoAttack. torchattacks is given all
images as one batch, its best case. Its "standard" takes 10 steps of APGD and FAB, which is the default here;
``--steps 100`` gives all the authors' protocol. Every path measures in float32, so there is no line for bfloat16. Needs
torchattacks: ``pip install --no-deps torchattacks==3.5.1``. Run: ``python benchmarks/evaluation.py``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torchattacks
from example_cells import CELLS
from machine import add_table_arguments, describe, publish
from reference import count_correct
from steps import as_arrays
from training_step import spread

from nasbench_robust import metrics, native
from nasbench_robust.attacks import autoattack
from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.datasets import dataset
from nasbench_robust.engines import Draws
from nasbench_robust.engines.native import measure
from nasbench_robust.engines.torch import evaluate, train
from nasbench_robust.images import Images, load_images
from nasbench_robust.metrics import NORMS, PARTS, Attack, Metric
from nasbench_robust.networks.fast import FoldedNetwork
from nasbench_robust.settings import TrainingSettings, settings_for

REFERENCE = "torchattacks"
L2_RADIUS = 0.5
HEADER = """| cell | measured | by | s: median (quartiles) | times torchattacks: median (quartiles) | accuracies |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Task:
    """What a side measures, and on which images."""

    title: str
    attack: Attack
    data: Images

    @property
    def held_out(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels."""
        return self.data.held_out("test")

    @property
    def metrics(self) -> tuple[Metric, Metric]:
        """Accuracy as the images are, and under the attack."""
        return Metric("clean_acc"), Metric.of(self.attack)


Count = Callable[
    [Task, int], list[int]
]  # of images that are right: clean, then under attack or after each of its parts


def by_torchattacks(network: torch.nn.Module) -> Count:
    """Return how torchattacks measures a network."""

    def count(task: Task, seed: int) -> list[int]:
        torch.manual_seed(seed)
        clean, attacked = task.metrics
        right = count_correct(network, *task.held_out, clean)
        if task.attack.name == "autoattack":
            return [right, *autoattack_by_torchattacks(network, task, seed)]
        return [right, count_correct(network, *task.held_out, attacked)]

    return count


def autoattack_by_torchattacks(network: torch.nn.Module, task: Task, seed: int) -> list[int]:
    """Run torchattacks' AutoAttack; return how many images are left after each part."""
    attack = torchattacks.AutoAttack(
        network, eps=task.attack.eps, version="standard", n_classes=10, seed=seed, norm=task.attack.norm
    )
    given: list[int] = []

    def noting(part: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(chosen: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
            given.append(len(known))
            return part(chosen, known)

        return call

    parts = attack._autoattack.attacks
    for part in parts[:3]:
        part.steps = task.attack.steps
    parts[3].n_queries = task.attack.queries
    attack._autoattack.attacks = [noting(part) for part in parts]
    images, labels = task.held_out
    adversarial = attack(images, labels)
    with torch.no_grad():
        left = int((network(adversarial).argmax(dim=1) == labels).sum())
    return [*given[1:], left]


def by_torch(network: torch.nn.Module) -> Count:
    """Return how this package measures a network in torch."""

    def count(task: Task, seed: int) -> list[int]:
        draws = torch.Generator().manual_seed(seed)
        if task.attack.name == "autoattack":
            result = autoattack(network, *task.held_out, task.attack, draws)
            return [int(result.survivors[part].sum()) for part in ("clean", *PARTS)]
        outcomes = evaluate(network, *task.held_out, task.metrics, draws)
        return [int(outcomes[metric].sum()) for metric in task.metrics]

    return count


def by_native_engine(network: torch.nn.Module, cell: Cell, settings: TrainingSettings) -> Count:
    """Return how the native engine measures the same network."""
    facts = dataset(settings.dataset)
    same = native.NativeNetwork(cell, settings.skeleton, mean=facts.mean, std=facts.std)
    same.parameters[:] = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    same.statistics[:] = torch.cat([values for norm in norms for values in (norm.running_mean, norm.running_var)])
    same.fold()

    def count(task: Task, seed: int) -> list[int]:
        arrays, counts = as_arrays(task.data), []
        for metric in task.metrics:
            parts = list(measure(same, arrays, metric, Draws(seed, "evaluation")))
            counts += np.concatenate(parts, axis=1).sum(axis=1).tolist()
        return counts

    return count


def sides_of(
    network: torch.nn.Module, cell: Cell, settings: TrainingSettings, *, with_native: bool
) -> dict[str, Count]:
    """Return all ways to measure a trained network."""
    sides = {
        REFERENCE: by_torchattacks(network),
        "plain": by_torch(network),
        "fast": by_torch(FoldedNetwork(network)),
    }
    return {**sides, "native": by_native_engine(network, cell, settings)} if with_native else sides


def rows(label: str, sides: dict[str, Count], task: Task, repeats: int) -> Iterator[str]:
    """Measure in turns, one seed a turn, and yield the lines of the table."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    counts: dict[str, list[list[int]]] = {side: [] for side in sides}
    for seed in range(repeats):
        for side, count in sides.items():
            start = time.perf_counter()
            counts[side].append(count(task, seed))
            seconds[side].append(time.perf_counter() - start)
    reference = np.array(seconds[REFERENCE])
    for side, taken in seconds.items():
        ratio = "" if side == REFERENCE else spread(reference / np.array(taken), "{:.2f}")
        accuracies = np.mean(counts[side], axis=0) / len(task.held_out)
        shown = " ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        yield f"| {label} | {task.title} | {side} | {spread(np.array(taken), '{:.3f}')} | {ratio} | {shown} |"


def main() -> None:
    """Print a Markdown table for a heavy, a medium and a light cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=positive, default=20, help="epochs of adversarial training (default: 20)")
    parser.add_argument("--images", type=positive, default=517, help="test images (default: all 517)")
    parser.add_argument("--norm", choices=NORMS, default="Linf", help="of the ball (default: Linf)")
    parser.add_argument("--steps", type=positive, default=10, help="of APGD and FAB (default: 10)")
    parser.add_argument("--queries", type=positive, default=5000, help="of Square (default: 5000)")
    parser.add_argument("--repeats", type=positive, default=3, help="turns, with seeds 0, 1, ... (default: 3)")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads (default: 1)")
    add_table_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    publish(table(args), args.out)


def table(args: argparse.Namespace) -> Iterator[str]:
    """Train the networks, measure them and yield the lines of the table."""
    data, settings = load_images("digits"), replace(settings_for("digits"), epochs=args.epochs)
    few = replace(data, test=data.test[: args.images])
    eps = settings.attack.eps if args.norm == "Linf" else L2_RADIUS
    thorough = replace(metrics.autoattack(eps, steps=args.steps, norm=args.norm), queries=args.queries)
    tasks = [Task("PGD-20", metrics.pgd(eps, norm=args.norm), few), Task("AutoAttack", thorough, few)]
    yield (
        f"Evaluation of adversarially trained networks, {len(few.test.labels)} digits, {args.norm} eps {eps}, "
        f"AutoAttack with {args.steps} steps and {args.queries} queries, {args.repeats} turns, {describe('cpu')}\n"
    )
    yield HEADER
    for label in args.cells:
        cell = Cell.from_str(CELLS[label])
        network, _ = train(cell, settings, data, seed=0, path="fast")
        sides = sides_of(network, cell, settings, with_native=native.is_available() and args.norm == "Linf")
        for task in tasks:
            yield from rows(label, sides, task, args.repeats)


if __name__ == "__main__":
    main()
