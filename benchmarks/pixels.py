"""Random pixels in the place of a data set, for benchmarks of steps."""

from __future__ import annotations

import torch

from nasbench_robust.images import Images, Split, TensorImages
from nasbench_robust.settings import TrainingSettings


def random_images(settings: TrainingSettings, batches: int, device: str | torch.device = "cpu") -> TensorImages:
    """Return random pixels of the data set's shape, so many batches for training and two images of each other split."""
    generator = torch.Generator().manual_seed(0)
    shape, count = settings.skeleton, batches * settings.batch_size
    pixels = torch.rand(count, shape.input_channels, shape.image_size, shape.image_size, generator=generator).to(device)
    labels = torch.randint(0, shape.classes, (count,), generator=generator).to(device)
    split = Split(pixels, labels)
    return Images(settings.dataset, split, split[:2], split[:2])
