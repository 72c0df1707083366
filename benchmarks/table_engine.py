"""The engine beside what a strong engineer would write: steps of training, AutoAttack, kernels, on one core.

Peers are compiled in their first turn, which is not measured. torchattacks' step is the published one; "channels last"
is that with one line more, "torch.compile" with two; JAX steps in a layout of its own (`jax_peer`), and only where that
compiles within a minute, which at 32x32 it does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from example_cells import CELLS
from peers import Row, Side, library
from pixels import random_images
from steps import NATIVE, make_step

import nasbench_robust as nbr
from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.images import load_arrays, load_images
from nasbench_robust.networks import Network, network_for
from nasbench_robust.settings import settings_for

STEPS = {"digits": 5, "cifar10": 1}  # so many are measured as one
EPOCH = {"digits": 100, "cifar10": 4}  # steps of an epoch, for which there are images
MANY = 10_000  # more than the reference ever takes
ATTACKED, TURNS = 64, 2  # images of AutoAttack, turns of what takes seconds


def engine_rows(_: nbr.Benchmark, __: str, ___: Path) -> Iterator[Row]:
    """Yield the rows; the release is not asked."""
    torch.set_num_threads(1)
    yield from (step_row(label, "digits", 32) for label in CELLS)
    yield from (kernel_row(label) for label in CELLS)
    if library("torchattacks"):  # which lies under `evaluation`, too
        yield from (autoattack_row(label) for label in CELLS)


def large_rows(_: nbr.Benchmark, __: str, ___: Path) -> Iterator[Row]:
    """Yield steps at CIFAR's shape, which compilers need minutes for; the release is not asked."""
    torch.set_num_threads(1)
    yield from (step_row(label, "cifar10", 256) for label in CELLS)


def jax_peer() -> ModuleType | None:
    """Return the program of that name where there is JAX."""
    return importlib.import_module("jax_peer") if library("jax") else None


def network_of(label: str, dataset: str) -> Network:
    """Return the published network around an example cell, in eval mode."""
    cell, generator = Cell.from_str(CELLS[label]), torch.Generator().manual_seed(0)
    return network_for(cell, settings_for(dataset).skeleton, dataset, generator).eval()


def step_row(label: str, dataset: str, batch: int) -> Row:
    """Return a step of the protocol with these images a batch."""
    cell, settings = Cell.from_str(CELLS[label]), replace(settings_for(dataset), batch_size=batch)
    images, times = random_images(settings, 1), STEPS[dataset]
    steps: dict[str, Callable[[], Any]] = {"ours": make_step(NATIVE, cell, dataset, batch, EPOCH[dataset])}
    paths = ("fast",) if dataset == "digits" else ("fast", "fast-bf16")
    steps |= {f"our torch-{path}": make_step(path, cell, dataset, batch, EPOCH[dataset]) for path in paths}
    if library("torchattacks"):
        import reference

        trainers = {"torch.compile": reference.CompiledTrainer(cell, settings, MANY, seed=0)}
        if dataset == "digits":
            trainers["torchattacks"] = reference.ReferenceTrainer(cell, settings, MANY, seed=0)
            trainers["channels last"] = reference.ReferenceTrainer(cell, settings, MANY, seed=0)
            trainers["channels last"].network.to(memory_format=torch.channels_last)
        for name, trainer in trainers.items():
            steps[name] = lambda trainer=trainer: trainer.step(images.train.pixels, images.train.labels)
    if dataset == "digits" and (peer := jax_peer()):
        steps["JAX"] = peer.training_step(network_of(label, dataset), settings, images)
    sides: dict[str, Side] = {
        name: (lambda step=step: [step() for _ in range(times)], times) for name, step in steps.items()
    }
    turns = None if dataset == "digits" else TURNS
    return Row(f"PGD-7 step, {dataset}, {label}, {batch} images", sides, same=False, turns=turns)


def kernel_row(label: str, images: int = 64) -> Row:
    """Return the kernel of the sum of the logits at the shape of CIFAR-10."""
    from ntk import by_torch_func, ours

    network = network_of(label, "cifar10")
    batch = torch.rand(images, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sides: dict[str, Side] = {
        "ours": (lambda: ours("native")(network, batch).numpy(), 1),
        "torch.func": (lambda: by_torch_func(network, batch).numpy(), 1),
    }
    if peer := jax_peer():
        sides["JAX"] = (peer.kernel(network, batch.numpy()), 1)
    return Row(f"NTK, cifar10, {label}, {images} images", sides, apart=1e-4, turns=TURNS)


def autoattack_row(label: str) -> Row:
    """Return AutoAttack on a network that was trained by the protocol, with the protocol's steps and queries."""
    from evaluation import Task, autoattack_by_torchattacks, by_native_engine
    from native_engine import train_native

    cell, settings, data = Cell.from_str(CELLS[label]), settings_for("digits"), load_images("digits")
    trained = train_native(cell, settings, load_arrays("digits"), seed=0)
    network = network_of(label, "digits")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(trained.parameters.copy()), network.parameters())
    running = [buffer for name, buffer in network.named_buffers() if "running" in name]
    for buffer, values in zip(
        running, np.split(trained.statistics, np.cumsum([len(b) for b in running])[:-1]), strict=True
    ):
        buffer.copy_(torch.from_numpy(values))
    attack = metrics.autoattack(settings.attack.eps)
    task = Task("AutoAttack", attack, replace(data, test=data.test[:ATTACKED]))
    count = by_native_engine(network, cell, settings)
    sides: dict[str, Side] = {
        "ours": (lambda: count(task, 0)[-1], 1),
        "torchattacks": (lambda: autoattack_by_torchattacks(network, task, 0)[-1], 1),
    }
    if theirs := library("pyautoattack"):

        def by_authors() -> int:
            images, labels = task.held_out
            whole = theirs.AutoAttack(network, norm="Linf", eps=attack.eps, seed=0)
            seen, _ = whole.run_standard_evaluation(images, labels)
            with torch.no_grad():
                return int((network(seen).argmax(dim=1) == labels).sum())

        sides["pyautoattack"] = (by_authors, 1)
    return Row(f"AutoAttack, {attack.steps} steps, digits, {label}, {ATTACKED} images", sides, apart=0.05, turns=1)
