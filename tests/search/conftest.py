"""Fixtures: tables and images to search with."""

from __future__ import annotations

import pytest

from nasbench_robust import load
from nasbench_robust.search import TableProblem
from nasbench_robust.table import Benchmark


@pytest.fixture(scope="session")
def digits() -> Benchmark:
    return load("digits")


@pytest.fixture(scope="session")
def problem(digits: Benchmark) -> TableProblem:
    return TableProblem(digits, "pgd_acc")


@pytest.fixture(scope="session")
def two_objectives(digits: Benchmark) -> TableProblem:
    return TableProblem(digits, ("clean_acc", "pgd_acc"))
