"""The native engine at CIFAR's shape: rounding errors beside torch's, a training step on several threads, AutoAttack.

Errors are distances from the same step in float64, on random images: the root of the mean square, as a share of the
root of the mean square of what float64 gives, and the share of pixels in which the gradient that an attack follows has
another sign. Gradients jump where rounding moves the input of a ReLU across 0, more so in deep networks, which hides
the errors of sums: a second line has all inputs of ReLUs above 0. Times of several threads are those of the clock on
the wall, so they need a machine without other work. Run: ``python benchmarks/native_large.py``.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from example_cells import CELLS
from machine import add_table_arguments, describe, publish

from nasbench_robust.attacks import autoattack
from nasbench_robust.cells import Cell
from nasbench_robust.cli.command import positive
from nasbench_robust.datasets import dataset
from nasbench_robust.metrics import autoattack as autoattack_of
from nasbench_robust.native import NativeNetwork, build_name, use_threads
from nasbench_robust.networks import Network, network_for
from nasbench_robust.settings import settings_for

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
SETTINGS = settings_for("cifar10")
ABOVE_ZERO = 10.0  # a shift of batch normalisation with which nothing is below 0


@dataclass(frozen=True)
class Step:
    """What a step in train mode makes of a network."""

    gradient: Floats
    statistics: Floats
    logits: Floats  # in eval mode afterwards
    slopes: Floats  # the gradient of the cross entropy with respect to the images, in eval mode afterwards


def flat(tensors: Iterator[torch.Tensor]) -> Floats:
    """Return tensors as one array."""
    found: Floats = torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy()
    return found


def statistics_of(network: Network) -> Iterator[torch.Tensor]:
    """Yield running means and variances."""
    return (buffer for name, buffer in network.named_buffers() if "running" in name)


def native_twin(network: Network, cell: Cell) -> NativeNetwork:
    """Return the same network in the native engine."""
    facts = dataset(SETTINGS.dataset)
    native = NativeNetwork(cell, SETTINGS.skeleton, mean=facts.mean, std=facts.std)
    native.parameters[:] = flat(network.parameters())
    native.statistics[:] = flat(statistics_of(network))
    native.fold()
    return native


def torch_step(network: Network, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Take the step in the network's own precision."""
    images = images.to(network.classifier.weight.dtype, copy=True)
    torch.autograd.backward(F.cross_entropy(network.train()(images), labels))
    gradient = flat(parameter.grad for parameter in network.parameters() if parameter.grad is not None)
    images.requires_grad_()
    logits = network.eval()(images)
    (slopes,) = torch.autograd.grad(F.cross_entropy(logits, labels), images)
    return Step(gradient, flat(statistics_of(network)), logits.detach().numpy(), slopes.numpy())


def native_step(native: NativeNetwork, images: Floats, labels: npt.NDArray[np.int64]) -> Step:
    """Take the step in the native engine."""
    pixels = images.astype(np.float32)
    native.differentiate(pixels, labels)
    native.fold()
    logits = native.logits(pixels)
    slopes = np.exp(logits - logits.max(axis=1, keepdims=True))
    slopes = slopes / slopes.sum(axis=1, keepdims=True) - np.eye(logits.shape[1], dtype=np.float32)[labels]
    gradient = native.logits_and_gradient(pixels, slopes / len(labels))[1]
    assert gradient is not None
    return Step(native.gradient, native.statistics, logits, gradient)


def error(found: Floats, exact: Floats) -> str:
    """Return the relative error in the mean square."""
    return f"{np.sqrt(np.square(found - exact).mean() / np.square(exact).mean()):.1e}"


def errors(label: str, images: torch.Tensor, labels: torch.Tensor) -> Iterator[str]:
    """Yield the errors of a step of torch and of the native engine, with ReLUs as they are and all open."""
    cell = Cell.from_str(CELLS[label])
    for shift in (0.0, ABOVE_ZERO):
        network = network_for(cell, SETTINGS.skeleton, SETTINGS.dataset, torch.Generator().manual_seed(0))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.constant_(module.bias, shift)
        native = native_twin(network, cell)
        exact = torch_step(copy.deepcopy(network).double(), images, labels)
        for name, step in (
            ("torch", torch_step(network, images, labels)),
            ("native", native_step(native, images.numpy(), labels.numpy())),
        ):
            parts = ("gradient", "statistics", "logits", "slopes")
            found = " | ".join(error(getattr(step, part), getattr(exact, part)) for part in parts)
            others = np.not_equal(np.sign(step.slopes), np.sign(exact.slopes)).mean()
            yield f"| {label} | {'all open' if shift else 'as they are'} | {name} | {found} | {others:.2%} |"


def threads(label: str, images: torch.Tensor, labels: torch.Tensor, turns: int) -> str:
    """Return the seconds of a training step on one thread and on as many as there are cores, taken in turns."""
    network = network_for(Cell.from_str(CELLS[label]), SETTINGS.skeleton, SETTINGS.dataset, torch.Generator())
    native, attack = native_twin(network, Cell.from_str(CELLS[label])), SETTINGS.attack
    pixels, classes, cores = images.numpy(), labels.numpy(), len(os.sched_getaffinity(0))
    noise = np.random.default_rng(0).uniform(-attack.eps, attack.eps, images.shape).astype(np.float32)
    steps, step_size = attack.schedule
    seconds: dict[int, list[float]] = {1: [], cores: []}
    for _ in range(turns):
        for count, times in seconds.items():
            use_threads(count)
            start = time.perf_counter()
            attacked = native.pgd(pixels, classes, noise, eps=attack.eps, step_size=step_size, steps=steps)
            native.differentiate(attacked, classes)
            times.append(time.perf_counter() - start)
    use_threads(1)
    one, all_of_them = (float(np.median(times)) for times in seconds.values())
    return f"| {label} | {one:.2f} s | {cores} | {all_of_them:.2f} s | {one / all_of_them:.2f} |"


def attacks(label: str, images: torch.Tensor, steps: int, queries: int) -> str:
    """Return the time of AutoAttack on what the network says of images, and how many images withstand its parts."""
    cell = Cell.from_str(CELLS[label])
    network = network_for(cell, SETTINGS.skeleton, SETTINGS.dataset, torch.Generator().manual_seed(0))
    network.train()(images)  # statistics of these images
    native = native_twin(network.eval(), cell)
    labels = torch.from_numpy(native.logits(images.numpy()).argmax(axis=1))
    eps = 0.25 / 255  # of an untrained network a larger one leaves nothing
    start = time.process_time()
    survivors, _ = native.autoattack(
        images.numpy(), labels.numpy(), eps=eps, steps=steps, queries=queries, restarts=1, seed=0
    )
    middle = time.process_time()
    attack = autoattack_of(eps, steps=steps)
    attack = type(attack)(**{**vars(attack), "queries": queries})
    result = autoattack(network, images, labels, attack, torch.Generator().manual_seed(0))
    ours, theirs = middle - start, time.process_time() - middle
    left = [int(alive.sum()) for alive in result.survivors.values()]
    return (
        f"| {label} | {ours:.1f} s | {survivors.sum(axis=1).tolist()} | {theirs:.1f} s | {left} | {theirs / ours:.1f} |"
    )


def table(args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the tables."""
    generator = torch.Generator().manual_seed(0)
    count = max(args.exact, args.batch, args.images)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    yield f"Native engine for {build_name()} at {SETTINGS.skeleton}, {describe('cpu')}"
    if args.exact:
        yield f"\nErrors of a step, {args.exact} images\n"
        yield "| cell | ReLUs | by | gradient | statistics | logits | gradient of images | its other signs |"
        yield "|---|---|---|---|---|---|---|---|"
        for label in args.cells:
            yield from errors(label, images[: args.exact], labels[: args.exact])
    if args.batch:
        yield f"\nA training step of {args.batch} images, {args.turns} in turns: wall time\n"
        yield "| cell | 1 thread | threads | | times as fast |\n|---|---|---|---|---|"
        for label in args.cells:
            yield threads(label, images[: args.batch], labels[: args.batch], args.turns)
    if args.images:
        yield f"\nAutoAttack, 10 steps, {args.queries} queries, {args.images} images, one thread: CPU time\n"
        yield "| cell | native | left | torch | left | torch / native |\n|---|---|---|---|---|---|"
        for label in args.cells:
            yield attacks(label, images[: args.images], 10, args.queries)


def main() -> None:
    """Print everything, cell by cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--exact", type=int, default=64, help="images of the step for errors (default: 64)")
    parser.add_argument("--batch", type=int, default=256, help="images of the step on threads (default: 256)")
    parser.add_argument("--turns", type=positive, default=3, help="steps on each number of threads (default: 3)")
    parser.add_argument("--images", type=int, default=0, help="images to attack with AutoAttack (default: 0)")
    parser.add_argument("--queries", type=int, default=100, help="of Square (default: 100)")
    add_table_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    publish(table(args), args.out)


if __name__ == "__main__":
    main()
