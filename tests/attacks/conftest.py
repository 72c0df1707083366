"""Digits networks that were trained for a few epochs, images of theirs, and the authors' AutoAttack."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest
import torch
from other_attacks import Batch

from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import train
from nasbench_robust.images import TensorImages, load_images
from nasbench_robust.settings import settings_for


@pytest.fixture(scope="session")
def digits() -> TensorImages:
    return load_images("digits")


@pytest.fixture(scope="session")
def networks(digits: TensorImages) -> list[torch.nn.Module]:
    """A strong and a weak cell, each trained for a few epochs."""
    settings = replace(settings_for("digits"), epochs=3)
    trained = [train(Cell.from_index(index), settings, digits, seed=0)[0] for index in (9930, 6976)]
    for network in trained:
        network.zero_grad(set_to_none=True)  # so that gradients left by an attack would be seen
    return trained


@pytest.fixture(scope="session")
def network(networks: list[torch.nn.Module]) -> torch.nn.Module:
    return networks[0]


@pytest.fixture(scope="session")
def batch(digits: TensorImages) -> Batch:
    return digits.test.pixels[:40], digits.test.labels[:40]


@pytest.fixture(scope="session")
def authors() -> ModuleType:
    return pytest.importorskip("pyautoattack", reason="pyautoattack (the authors' programs) is not installed")
