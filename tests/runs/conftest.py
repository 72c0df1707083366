"""Fixtures: a real Slurm for the tests of a file, or the reason why there can be none here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, why_not


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
