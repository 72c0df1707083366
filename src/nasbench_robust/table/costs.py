"""Which seconds searches on a release are charged with: those of processors or those of the clock."""

from __future__ import annotations

import numpy as np

from .benchmark import Benchmark
from .store import CLOCK, COSTS, PROCESSORS


def charged_by(bench: Benchmark, dataset: str | None = None) -> str | None:
    """Return the column that searches on a release are charged by.

    ``"train_cpu_seconds"``, which do not depend on what else a machine did, where all runs have them that have seconds
    at all; else ``"train_seconds"``; None where no run has any.
    """
    store = bench._store
    name = store.dataset(dataset)
    clock, processors = (~np.isnan(store.floats(name, column)) for column in COSTS)
    if processors.any() and not (clock & ~processors).any():
        return PROCESSORS
    return CLOCK if clock.any() else None
