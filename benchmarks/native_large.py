"""The native engine against torch at CIFAR's shape: rounding errors and time of a training step, AutoAttack.

Errors are distances from the same step in float64, on random images: the root of the mean square, as a share of the
root of the mean square of what float64 gives. Gradients jump where rounding moves the input of a ReLU across 0, more so
in deep networks, which hides the errors of sums: a second line has all inputs of ReLUs above 0. Both run on one thread.
Run: ``python benchmarks/native_large.py``.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from example_cells import CELLS

from nasbench_robust.attacks import autoattack, pgd
from nasbench_robust.cells import Cell
from nasbench_robust.datasets import dataset
from nasbench_robust.metrics import autoattack as autoattack_of
from nasbench_robust.native import NativeNetwork
from nasbench_robust.networks import Network, network_for
from nasbench_robust.settings import settings_for

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
SETTINGS = settings_for("cifar10")
ABOVE_ZERO = 10.0  # a shift of batch normalisation with which nothing is below 0


@dataclass(frozen=True)
class Step:
    """What a step in train mode makes of a network."""

    loss: float
    gradient: Floats
    statistics: Floats
    logits: Floats  # in eval mode afterwards


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


def differentiate(network: Network, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Pass a batch through torch in train mode, forwards and backwards; return the loss."""
    loss = F.cross_entropy(network.train()(images), labels)
    torch.autograd.backward(loss)
    return loss.item()


def torch_step(network: Network, images: torch.Tensor, labels: torch.Tensor) -> Step:
    """Take the step in the network's own precision."""
    images = images.to(network.classifier.weight.dtype)
    loss = differentiate(network, images, labels)
    gradient = flat(parameter.grad for parameter in network.parameters() if parameter.grad is not None)
    with torch.no_grad():
        logits = network.eval()(images).numpy()
    return Step(loss, gradient, flat(statistics_of(network)), logits)


def native_step(native: NativeNetwork, images: Floats, labels: npt.NDArray[np.int64]) -> Step:
    """Take the step in the native engine."""
    loss, _ = native.differentiate(images.astype(np.float32), labels)
    native.fold()
    return Step(loss, native.gradient, native.statistics, native.logits(images.astype(np.float32)))


def error(found: Floats, exact: Floats) -> float:
    """Return the relative error in the mean square."""
    return float(np.sqrt(np.square(found - exact).mean() / np.square(exact).mean()))


def print_errors(cell: Cell, images: torch.Tensor, labels: torch.Tensor, shift: float) -> None:
    """Print the errors of a step of torch and of the native engine."""
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
        print(
            f"  {name:6} shift {shift:4.1f}  loss {abs(step.loss / exact.loss - 1):.1e}"
            f"  gradient {error(step.gradient, exact.gradient):.1e}"
            f"  statistics {error(step.statistics, exact.statistics):.1e}"
            f"  logits {error(step.logits, exact.logits):.1e}"
        )


def seconds_of(step: Callable[[], object]) -> float:
    """Return the processor's seconds of the second of two steps."""
    step()
    start = time.process_time()
    step()
    return time.process_time() - start


def print_steps(cell: Cell, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Print the time of a training step: the attack, then the pass forwards and backwards."""
    network = network_for(cell, SETTINGS.skeleton, SETTINGS.dataset, torch.Generator().manual_seed(0))
    native, attack = native_twin(network, cell), SETTINGS.attack
    noise = np.random.default_rng(0).uniform(-attack.eps, attack.eps, images.shape).astype(np.float32)

    def natively() -> None:
        budget = {"eps": attack.eps, "step_size": attack.step_size or 0.0, "steps": attack.steps or 0}
        native.differentiate(native.pgd(images.numpy(), labels.numpy(), noise, **budget), labels.numpy())  # type: ignore[arg-type]

    def in_torch() -> None:
        network.zero_grad(set_to_none=True)
        found = pgd(network.eval(), images, labels, attack, torch.Generator().manual_seed(0))
        differentiate(network, found, labels)

    ours, others = seconds_of(natively), seconds_of(in_torch)
    print(f"  training step  native {ours:7.2f} s   torch {others:7.2f} s   ratio {others / ours:.2f}")


def print_autoattack(cell: Cell, images: torch.Tensor, steps: int, queries: int) -> None:
    """Print the time of AutoAttack on what the network says of images, and how many images withstand its parts."""
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
    seconds = middle - start, time.process_time() - middle
    left = [int(alive.sum()) for alive in result.survivors.values()]
    print(f"  AutoAttack     native {seconds[0]:7.1f} s, left {survivors.sum(axis=1).tolist()}")
    print(f"                 torch  {seconds[1]:7.1f} s, left {left}   ratio {seconds[1] / seconds[0]:.2f}")


def main() -> None:
    """Print everything, cell by cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument("--exact", type=int, default=64, help="images of the step for errors (default: 64)")
    parser.add_argument("--batch", type=int, default=64, help="images of the step for time (default: 64)")
    parser.add_argument("--images", type=int, default=0, help="images to attack with AutoAttack (default: 0)")
    parser.add_argument("--queries", type=int, default=100, help="of Square (default: 100)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    count = max(args.exact, args.batch, args.images)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (count,), generator=generator)
    for name in args.cells:
        cell = Cell.from_str(CELLS[name])
        print(name)
        for shift in (0.0, ABOVE_ZERO) if args.exact else ():
            print_errors(cell, images[: args.exact], labels[: args.exact], shift)
        if args.batch:
            print_steps(cell, images[: args.batch], labels[: args.batch])
        if args.images:
            print_autoattack(cell, images[: args.images], steps=10, queries=args.queries)


if __name__ == "__main__":
    main()
