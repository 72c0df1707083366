"""Certified and first-order bounds of supernets: what they cost, how they grow with depth, what their gradient wants.

1. Seconds of one call with its gradient in the architecture, for the supernet of digits (16 channels, 1 cell a stage)
   on 64 images, in fp32 on one core, and as a multiple of the same for the cross entropy. The fastest of --repeats.
2. Radius of a logit's interval at 8/255, by cells a stage, for the supernet of CIFAR-10, beside the size of a logit.
3. Gradients of the logarithms of the radius and of the mean Jacobian norm in the architecture parameters, summed over
   the edges: minimising them prefers the operation with the smaller number.

Weights are those of the initialisation, all operations have equal weight, images are uniform noise. Statistics of batch
normalisation are the initial ones (0 and 1) or those of the images. Run: ``python benchmarks/bounds.py``; about half a
minute on an idle core.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from nasbench_robust.cells import OPERATIONS
from nasbench_robust.networks import Supernet, supernet_for
from nasbench_robust.search.bounds import (
    certified_margins,
    image_box,
    interval_bounds,
    jacobian_norms,
    jacobian_robustness,
    linearised_radius,
    log_radius,
)
from nasbench_robust.skeletons import Skeleton

EPS = 8 / 255
STATISTICS = ("initial", "images")
Objective = Callable[[], torch.Tensor]


def seeded(seed: int) -> torch.Generator:
    """Return a generator."""
    return torch.Generator().manual_seed(seed)


def fresh(name: str, cells_per_stage: int, statistics: str) -> Supernet:
    """Return an untrained supernet with equal weights of the operations, in eval mode."""
    skeleton = Skeleton.for_dataset(name, cells_per_stage=cells_per_stage)
    supernet = supernet_for(skeleton, name, seeded(0))
    torch.nn.init.zeros_(supernet.alpha)
    if statistics == "images":
        for module in supernet.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # the next batch's statistics, and nothing else
        with torch.no_grad():
            supernet(random_images(supernet, 64))
    return supernet.eval()


def random_images(supernet: Supernet, count: int) -> torch.Tensor:
    """Return uniform noise of the right shape."""
    side = supernet.skeleton.image_size
    return torch.rand(count, supernet.skeleton.input_channels, side, side, generator=seeded(1))


def objectives(supernet: Supernet, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Objective]:
    """Return everything that is timed; each is differentiable in the architecture."""

    def forward(batch: torch.Tensor) -> torch.Tensor:
        return supernet(batch, supernet.mixture())

    return {
        "cross entropy": lambda: F.cross_entropy(forward(images), labels),
        "log_radius": lambda: log_radius(supernet, images, EPS),
        "certified_margins": lambda: certified_margins(supernet, images, labels, EPS).amin(dim=1).mean(),
        "jacobian_robustness, 1 logit": lambda: jacobian_robustness(forward, images, EPS, draws=1, generator=seeded(2)),
        "jacobian_robustness, 2 logits": lambda: jacobian_robustness(
            forward, images, EPS, draws=2, generator=seeded(2)
        ),
        "jacobian_robustness, all logits": lambda: jacobian_robustness(forward, images, EPS),
        "linearised_radius, 1 rival": lambda: linearised_radius(
            forward, images, labels, rivals=1, create_graph=True
        ).mean(),
        "linearised_radius, all rivals": lambda: linearised_radius(forward, images, labels, create_graph=True).mean(),
    }


def seconds(objective: Objective, alpha: torch.Tensor, repeats: int) -> float:
    """Return the fastest of some calls with their gradients."""
    found = []
    for _ in range(repeats + 1):  # the first warms up
        start = time.perf_counter()
        torch.autograd.grad(objective(), alpha)
        found.append(time.perf_counter() - start)
    return min(found[1:])


def report_costs(repeats: int) -> None:
    """Print the costs of a call."""
    supernet = fresh("digits", 1, "images")
    images, labels = random_images(supernet, 64), torch.randint(10, (64,), generator=seeded(3))
    print("one call with its gradient in alpha, supernet of digits, 64 images")
    base = 0.0
    for name, objective in objectives(supernet, images, labels).items():
        taken = seconds(objective, supernet.alpha, repeats)
        base = base or taken
        print(f"  {name:<32} {1000 * taken:8.1f} ms  {taken / base:6.1f} x")


@torch.no_grad()
def report_radius(depths: list[int]) -> None:
    """Print how the interval of a logit grows with the number of cells."""
    print("\nradius of a logit's interval at 8/255, untrained supernet of CIFAR-10, 4 images")
    print(
        f"  {'statistics':<12} {'cells a stage':<14} {'mean radius':>12} {'mean log radius':>16} {'mean |logit|':>13}"
    )
    for statistics, depth in itertools.product(STATISTICS, depths):
        supernet = fresh("cifar10", depth, statistics)
        images = random_images(supernet, 4)
        logarithm, size = log_radius(supernet, images, EPS), supernet(images).abs().mean()
        box = image_box(images.double(), EPS)
        radius = interval_bounds(supernet.double(), box.lower, box.upper).radius.mean()  # beyond single precision
        print(f"  {statistics:<12} {depth:<14} {radius:12.3g} {logarithm:16.2f} {size:13.3f}")


def report_direction() -> None:
    """Print which operations the gradients prefer."""
    print("\ngradient in alpha, summed over the edges, untrained supernet of CIFAR-10, 1 cell a stage, 8 images")
    print(f"  {'statistics':<12} {'logarithm of':<20}" + "".join(f"{name:>14}" for name in OPERATIONS))
    for statistics in STATISTICS:
        supernet = fresh("cifar10", 1, statistics)
        images = random_images(supernet, 8)
        measures = {
            "radius": log_radius(supernet, images, EPS),
            "mean Jacobian norm": jacobian_norms(supernet, images, create_graph=True).mean().log(),
        }
        for name, value in measures.items():
            (gradient,) = torch.autograd.grad(value, supernet.alpha)
            wanted = "".join(f"{each:14.3f}" for each in gradient[0].sum(dim=0).tolist())
            print(f"  {statistics:<12} {name:<20}{wanted}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 3, 5], help="cells a stage")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report_costs(arguments.repeats)
    report_radius(arguments.depths)
    report_direction()


if __name__ == "__main__":
    main()
