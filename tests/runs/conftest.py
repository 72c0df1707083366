"""Fixtures: a few runs, folders of them, and a real Slurm for the tests of a file or why there can be none here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from run_folders import QUICK, write_in_first_layout
from slurm_cluster import Cluster, why_not

from nasbench_robust.cells import Cell
from nasbench_robust.images import load_images
from nasbench_robust.runs import Run, run_cell, write_run


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if why_not():
        pytest.skip(str(why_not()))
    with tempfile.TemporaryDirectory(prefix="nbr") as folder:  # short: it holds a socket
        cluster = Cluster(Path(folder) / "c", cpus=4)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def runs() -> list[Run]:
    images = load_images("digits")
    return [run_cell(Cell.from_index(index), QUICK, images, seed) for index in (9930, 3) for seed in (0, 1)]


@pytest.fixture
def folder(runs: list[Run], tmp_path: Path) -> Path:
    for run in runs:
        write_run(run, QUICK, tmp_path / "shards")
    return tmp_path / "shards"


@pytest.fixture
def old_folder(folder: Path, tmp_path: Path) -> Path:
    """The same runs as the first version wrote them."""
    return write_in_first_layout(folder, QUICK, tmp_path / "old")
