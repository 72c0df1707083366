"""One step of adversarial training by each of the programs that the benchmarks compare, on random pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pixels import random_images
from reference import ReferenceTrainer

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.engines.native import NativeTrainer
from nasbench_robust.engines.torch import GraphedTrainer, Trainer
from nasbench_robust.images import ArrayImages, TensorImages, pinned_float32
from nasbench_robust.networks import PATHS
from nasbench_robust.settings import settings_for

REFERENCE, NATIVE = "reference", "native"
GRAPHS = {"fast-graph": "fast", "fast-bf16-graph": "fast-bf16"}  # on a GPU: one graph a step; its path

Step = Callable[[], object]


def sides_on(device: str) -> tuple[str, ...]:
    """Return what can be compared on a device, the reference first."""
    if device == "cpu":
        return (REFERENCE, *PATHS, *([NATIVE] if native.is_available() else []))
    return (REFERENCE, *PATHS, *GRAPHS)


def make_step(side: str, cell: Cell, dataset: str, batch_size: int, steps: int, device: str = "cpu") -> Step:
    """Return a function that takes a step of the protocol for a data set; it can be called `steps` times.

    Parameters
    ----------
    side : str
        One of `sides_on` the device: ``"reference"`` is the published step with torchattacks; the others are paths of
        `nasbench_robust.networks.paths`, these as graphs, and the native engine.
    cell : Cell
    dataset : str
        Whose protocol and shape of images.
    batch_size : int
        Images of a step.
    steps : int
        No epoch ends before so many, so that nothing is measured on held-out images.
    device : str
        ``"cpu"`` or ``"cuda"``.
    """
    settings = replace(settings_for(dataset), batch_size=batch_size)
    images = random_images(settings, 1 if side == REFERENCE else steps + 1, device)
    if side == NATIVE:
        return NativeTrainer(cell, settings, as_arrays(images), seed=0).step
    if side == REFERENCE:
        trainer = ReferenceTrainer(cell, settings, steps, seed=0, device=device)
        return pinned_float32()(lambda: trainer.step(images.train.pixels, images.train.labels))
    if side in GRAPHS:
        return GraphedTrainer(cell, settings, images, seed=0, path=GRAPHS[side]).step
    return Trainer(cell, settings, images, seed=0, path=side).step


def as_arrays(images: TensorImages) -> ArrayImages:
    """Return the same images for the native engine; the test split is the validation split too."""
    arrays = images.arrays()
    return replace(arrays, validation=arrays.test)
