"""Fixtures: all cells."""

from __future__ import annotations

import pytest

from nasbench_robust.cells import SIZE, Cell


@pytest.fixture(scope="session")
def every_cell() -> list[Cell]:
    return [Cell.from_index(index) for index in range(SIZE)]
