"""Evaluation side by side with torchattacks': same network, images, eps and steps; seconds, ratios, accuracies.

Trains one digits network (C=4, N=1), then measures its clean and PGD-20 accuracy and runs AutoAttack, in turns by
torchattacks, by this package on the network as it is written, and by this package on the folded network. torchattacks'
"standard" takes 10 steps of APGD and FAB, which is the default here; ``--steps 100`` gives all the authors' protocol.
Needs torchattacks: ``pip install --no-deps torchattacks==3.5.1``. Run: ``python benchmarks/autoattack.py``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torchattacks
from reference import count_correct

from nasbench_robust import provenance
from nasbench_robust.attacks import PARTS, autoattack
from nasbench_robust.cells import Cell
from nasbench_robust.evaluation import evaluate
from nasbench_robust.fast import FoldedNetwork
from nasbench_robust.images import load_images
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.metrics import autoattack as autoattack_settings
from nasbench_robust.settings import settings_for
from nasbench_robust.training import train

Outcome = tuple[float, list[int]]  # seconds; survivors after each part


def ours(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float, steps: int, seed: int
) -> Outcome:
    """Run this package's AutoAttack."""
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    result = autoattack(network, images, labels, autoattack_settings(eps, steps=steps), generator)
    seconds = time.perf_counter() - start
    return seconds, [int(result.survivors[part].sum()) for part in PARTS]


def theirs(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: float,
    steps: int,
    seed: int,
    queries: int = 5000,
) -> Outcome:
    """Run torchattacks' AutoAttack on all images as one batch, its best case, and note what each part is given."""
    attack = torchattacks.AutoAttack(network, eps=eps, version="standard", n_classes=10, seed=seed)
    given: list[int] = []

    def noting(part: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(chosen: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
            given.append(len(known))
            return part(chosen, known)

        return call

    parts = attack._autoattack.attacks
    for part in parts[:3]:
        part.steps = steps
    parts[3].n_queries = queries
    attack._autoattack.attacks = [noting(part) for part in parts]
    start = time.perf_counter()
    adversarial = attack(images, labels)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        survivors = int((network(adversarial).argmax(dim=1) == labels).sum())
    return seconds, [*given[1:], survivors]


def correct(
    side: str, network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float, seed: int
) -> Outcome:
    """Count the images that are right, as they are and under PGD-20."""
    metrics = Metric("clean_acc"), Metric.of(pgd(eps))
    start = time.perf_counter()
    if side == "torchattacks":
        counts = [count_correct(network, images, labels, metric) for metric in metrics]
    else:
        found = evaluate(network, images, labels, metrics, torch.Generator().manual_seed(seed))
        counts = [int(found[metric].sum()) for metric in metrics]
    return time.perf_counter() - start, counts


def compare(title: str, runs: dict[str, Callable[[int], Outcome]], repeats: int, images: int) -> None:
    """Print seconds and accuracies of every run, in turns, and how the medians compare with torchattacks'."""
    print(title)
    seconds: dict[str, list[float]] = {side: [] for side in runs}
    for seed in range(repeats):
        for side, run in runs.items():
            taken, counts = run(seed)
            seconds[side].append(taken)
            shown = "  ".join(f"{count / images:.4f}" for count in counts)
            print(f"{side:13} seed {seed} {taken:8.3f} s   {shown}", flush=True)
    medians = {side: statistics.median(times) for side, times in seconds.items()}
    for side, median in medians.items():
        print(f"{side:13} median {median:8.3f} s   {medians['torchattacks'] / median:.2f} times as fast")


def main() -> None:
    """Print seconds and outcomes of every run, and the ratios of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", type=int, default=9930, help="index of the cell (default: 9930)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of adversarial training (default: 20)")
    parser.add_argument("--images", type=int, default=517, help="test images (default: all 517)")
    parser.add_argument("--steps", type=int, default=10, help="of APGD and FAB (default: 10)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, with seeds 0, 1, ... (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data, settings = load_images("digits"), replace(settings_for("digits"), epochs=args.epochs)
    network, _ = train(Cell.from_index(args.cell), settings, data, seed=0)
    images, labels = data.test_images[: args.images], data.test_labels[: args.images]
    eps = settings.attack.eps
    print(f"cell {args.cell}, {len(labels)} digits, eps {eps}, {args.threads} thread(s), {provenance.processor()}")
    sides = {"plain": network, "fast": FoldedNetwork(network), "torchattacks": network}

    def attack(side: str, seed: int) -> Outcome:
        run = theirs if side == "torchattacks" else ours
        return run(sides[side], images, labels, eps, args.steps, seed)

    def count(side: str, seed: int) -> Outcome:
        return correct(side, sides[side], images, labels, eps, seed)

    for title, run in (
        ("accuracy clean and under PGD-20", count),
        (f"AutoAttack, {args.steps} steps: accuracy after {', '.join(PARTS)}", attack),
    ):
        compare(title, {side: partial(run, side) for side in sides}, args.repeats, len(labels))


if __name__ == "__main__":
    main()
