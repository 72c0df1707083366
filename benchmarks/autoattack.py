"""AutoAttack side by side with torchattacks': same network, images, eps and steps; seconds, ratio, accuracies.

Trains one digits network (C=4, N=1), then runs both in turns. torchattacks' "standard" takes 10 steps of APGD and FAB,
which is the default here; ``--steps 100`` gives both the authors' protocol. Needs torchattacks:
``pip install --no-deps torchattacks==3.5.1``. Run: ``python benchmarks/autoattack.py``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torchattacks

from nasbench_robust.attacks import PARTS, autoattack
from nasbench_robust.cells import Cell
from nasbench_robust.images import load_images
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


def main() -> None:
    """Print seconds and survivors of every run, and the ratio of the medians."""
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
    with torch.no_grad():
        clean = (network(images).argmax(dim=1) == labels).double().mean()
    print(f"cell {args.cell}, {len(labels)} digits, eps {eps}, {args.steps} steps, {args.threads} thread(s)")
    print(f"clean accuracy {clean:.4f}; accuracy after {', '.join(PARTS)}:")
    seconds: dict[str, list[float]] = {"ours": [], "torchattacks": []}
    for seed in range(args.repeats):
        for name, run in (("ours", ours), ("torchattacks", theirs)):
            taken, survivors = run(network, images, labels, eps, args.steps, seed)
            seconds[name].append(taken)
            shown = "  ".join(f"{count / len(labels):.4f}" for count in survivors)
            print(f"{name:13} seed {seed} {taken:7.2f} s   {shown}", flush=True)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"median {medians['ours']:.2f} s against {medians['torchattacks']:.2f} s", end=": ")
    print(f"{medians['torchattacks'] / medians['ours']:.2f} times faster")


if __name__ == "__main__":
    main()
