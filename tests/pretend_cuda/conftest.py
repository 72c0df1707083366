"""A pretend CUDA device for a test, and digits on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from pretend_cuda.device import PretendCuda, installed

from nasbench_robust import metrics
from nasbench_robust.images import TensorImages
from nasbench_robust.settings import TrainingSettings, settings_for


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendCuda]:
    if torch.version.cuda is not None:
        pytest.skip("this torch has a CUDA of its own")
    with installed(monkeypatch) as device:
        yield device


@pytest.fixture
def few(device: PretendCuda, first_digits: Callable[[int], TensorImages]) -> TensorImages:
    images = first_digits(56)  # three full batches and a short one
    return replace(images, test=images.test[:12], validation=images.validation[:12]).to("cuda")


@pytest.fixture
def quick() -> TrainingSettings:
    digits = settings_for("digits")
    return replace(
        digits,
        epochs=2,
        batch_size=16,
        flip=True,
        attack=metrics.pgd(0.1, steps=2),
        evaluation=(metrics.fgsm(0.1), metrics.pgd(0.1, steps=2)),
        skeleton=replace(digits.skeleton, channels=2, cells_per_stage=1),
    )
