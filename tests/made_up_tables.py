"""Tables with invented values: a small release of single seeds, and those of the programs that compare tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from nasbench_robust.metrics import Metric, fgsm, pgd
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import DatasetInfo, ReleaseInfo, runs_table, write_table

SMALL = ReleaseInfo(
    name="small",
    version="2",
    title="Ein kleines Verzeichnis \u2013 \u5c0f",
    licence="CC0",
    citation='@misc{small, title = {"Small"}}',
    source="invented",
    datasets={
        "digits": DatasetInfo(
            {"test": 517, "validation": 100}, 0.1, Skeleton.for_dataset("digits", channels=4, cells_per_stage=1)
        )
    },
    metrics=(
        *(Metric("clean_acc"), Metric("clean_acc", split="validation")),
        *(Metric.of(fgsm(0.1)), Metric.of(pgd(0.1)), Metric.of(pgd(0.1), "validation")),
    ),
    settings={settings_for("digits").hash: settings_for("digits").to_dict()},
)
TWO = replace(SMALL, datasets=SMALL.datasets | {"cifar10": DatasetInfo({"test": 10_000}, 8 / 255, Skeleton())})


def counted(counts: dict[str, int], images: dict[str, int], seeds: int = 1) -> dict[str, float]:
    """Return accuracies by column, and the counts of correct images that they stand for."""
    row: dict[str, float] = {}
    for column, correct in counts.items():
        size = images[column.partition("#")[2] or "test"]
        row |= {column: correct / (size * seeds), column.replace("_acc", "_correct"): correct}
    return row


def run(
    index: int,
    seed: int | None,
    clean: int | None = None,
    attacked: int | None = None,
    *,
    dataset="digits",
    seeds=1,
    **more,
) -> dict:
    """Return a row of the small release with counts of correct images, or with accuracies by column."""
    images = TWO.datasets[dataset].images
    row = {"dataset": dataset, "index": index, "seed": seed, "seeds": seeds, "test_images": images["test"]}
    counts = {"clean_acc": clean, "pgd_acc@0.1": attacked}
    return row | counted({name: count for name, count in counts.items() if count is not None}, images, seeds) | more


# Correct images of 517 by cell and seed: clean and PGD at 0.1. Cell 1 was not run with seed 2, cell 9 only with 7.
COUNTS = {
    **{(0, 1): (500, 400), (0, 2): (502, 399), (0, 3): (507, 410)},
    **{(1, 1): (450, 300), (1, 3): (440, 310)},
    (9, 7): (450, 301),
}


def few_runs() -> list[dict]:
    return [run(index, seed, *counts) for (index, seed), counts in COUNTS.items()]


def described(changes: dict[tuple, object]) -> bytes:
    """Return the small release's description with some of its facts replaced, by path."""
    facts = json.loads(SMALL.to_json())
    for (*steps, last), value in changes.items():
        place = facts
        for step in steps:
            place = place[step]
        place[last] = value
    return json.dumps(facts).encode()


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
