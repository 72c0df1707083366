"""One step of adversarial training: ours against the same network with torchattacks' PGD, in images per second.

Both augment a batch in the same way, attack it with PGD-7 with the network in eval mode and take one SGD step on the
adversarial images with the network in train mode, as the published training does. They are timed in turns in one
process. Run:
``python benchmarks/training_step.py`` (needs torchattacks; ``--dataset cifar10`` steps on random pixels of its shape).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from cells import CELLS
from reference import ReferenceTrainer

from nasbench_robust.cells import Cell
from nasbench_robust.images import Images
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.training import Trainer


def make_images(settings: TrainingSettings, steps: int) -> Images:
    """Return random pixels of the data set's shape, enough for so many steps."""
    generator = torch.Generator().manual_seed(0)
    shape = settings.skeleton
    count = steps * settings.batch_size
    pixels = torch.rand(count, shape.input_channels, shape.image_size, shape.image_size, generator=generator)
    labels = torch.randint(0, shape.classes, (count,), generator=generator)
    return Images(settings.dataset, pixels, labels, *2 * (pixels[:2], labels[:2]))  # no epoch ends: held-out unused


def reference_step(cell: Cell, settings: TrainingSettings, images: Images, steps: int) -> Callable[[], None]:
    """Return the step written with torchattacks, as the published program has it, always on the same batch."""
    trainer = ReferenceTrainer(cell, settings, steps, seed=0)
    batch, labels = images.train_images[: settings.batch_size], images.train_labels[: settings.batch_size]
    return lambda: trainer.step(batch, labels)


def measure(name: str, cell: Cell, batch_size: int, repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every step of both, timed in turns after one unmeasured step of each."""
    base = settings_for(name)
    settings = TrainingSettings(**{**vars(base), "batch_size": batch_size})
    images = make_images(settings, repeats + 2)
    trainer = Trainer(cell, settings, images, seed=0)
    steps: dict[str, Callable[[], object]] = {
        "torchattacks": reference_step(cell, settings, images, repeats + 1),
        "ours": trainer.step,
    }
    seconds: dict[str, list[float]] = {label: [] for label in steps}
    for turn in range(repeats + 1):
        for label, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:
                seconds[label].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Print images per second of both, and their ratio, for a heavy, a medium and a light cell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="digits", help="shape of the images and protocol (default: digits)")
    parser.add_argument("--batch-size", type=int, default=64, help="images of a step (default: 64)")
    parser.add_argument("--repeats", type=int, default=20, help="steps of each (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"{args.dataset}, batch {args.batch_size}, {args.threads} thread(s): images/s, medians of {args.repeats} steps"
    )
    for label, arch in CELLS.items():
        seconds = measure(args.dataset, Cell.from_str(arch), args.batch_size, args.repeats)
        median = {name: statistics.median(times) for name, times in seconds.items()}
        reference, ours = (args.batch_size / median[name] for name in ("torchattacks", "ours"))
        print(f"{label:8} torchattacks {reference:9.1f}   ours {ours:9.1f}   ratio {ours / reference:5.2f}")


if __name__ == "__main__":
    main()
