"""Fixtures: tables and images to search with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nasbench_robust import load
from nasbench_robust.search import TableProblem
from nasbench_robust.table import Benchmark

if TYPE_CHECKING:
    import torch

    from nasbench_robust.images import TensorImages


@pytest.fixture(scope="session")
def digits() -> Benchmark:
    return load("digits")


@pytest.fixture(scope="session")
def problem(digits: Benchmark) -> TableProblem:
    return TableProblem(digits, "pgd_acc")


@pytest.fixture(scope="session")
def three(images: TensorImages) -> tuple[torch.Tensor, torch.Tensor]:
    """Three images in float64, and their labels."""
    return images.train.pixels[:3].double(), images.train.labels[:3]


@pytest.fixture(scope="session")
def two_objectives(digits: Benchmark) -> TableProblem:
    return TableProblem(digits, ("clean_acc", "pgd_acc"))
