"""Fixtures: a page of digits and the published table, open in a real browser that has no network."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Explorer

import nasbench_robust as nbr
from nasbench_robust import explorer
from nasbench_robust.table import Benchmark

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def benches(request: pytest.FixtureRequest) -> list[Benchmark]:
    """Digits, and the published release where it is at hand, else one of the same form with invented values."""
    published = "published" if os.environ.get("NASBENCH_ROBUST_DATA") else "bench"
    return [nbr.load(), request.getfixturevalue(published)]


@pytest.fixture(scope="session")
def page_file(benches: list[Benchmark], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, made once for all processes of the tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with open(folder / "explorer.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "explorer.html").exists():
            explorer.write_page(folder / "explorer.html", benches)
    return folder / "explorer.html"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser: Any, page_file: Path) -> Iterator[Explorer]:
    explorer = Explorer(browser, page_file)
    yield explorer
    explorer.context.close()


@pytest.fixture
def view(opened: Explorer) -> Iterator[Explorer]:
    """The page as it is opened, and after the test nothing that went wrong in it."""
    opened.show()
    yield opened
    assert opened.faults == []
