"""Tables with invented values, for the tests of programs that compare tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import DatasetInfo, ReleaseInfo, runs_table, write_table

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")


def made_up(name: str, dataset: str, values: dict, metrics: tuple, path: Path, eps: float) -> Path:
    """Write a table; `values` are accuracies of shape (cells, seeds) by column, for the cells under ``index``."""
    facts = DatasetInfo({"test": 10**6, "validation": 10**6}, eps, Skeleton.for_dataset(dataset))
    info = ReleaseInfo(name, "0", "made up", "none", "@misc{none}", "a test", {dataset: facts}, metrics)
    rows = []
    for row, index in enumerate(values["index"].tolist()):
        for seed in range(values["clean_acc"].shape[1]):
            measured = {metric.column: float(values[metric.column][row, seed]) for metric in metrics}
            if not np.isnan(measured["clean_acc"]):
                rows.append(
                    {"dataset": dataset, "index": index, "seed": seed, "seeds": 1, "test_images": 10**6, **measured}
                )
    write_table(runs_table(info, rows), path / "runs.parquet")
    return path
