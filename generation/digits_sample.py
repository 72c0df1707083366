"""Make some runs of the package's table again and compare: what ``make_digits.py --sample`` does."""

from __future__ import annotations

import functools
import multiprocessing
import os
import secrets
import time
from typing import Any

import numpy as np

from nasbench_robust.cells import Cell
from nasbench_robust.images import ArrayImages, load_arrays
from nasbench_robust.registry import BUNDLED
from nasbench_robust.releases import locate
from nasbench_robust.runs import choose_engine, end_with, run_cell, total_progress
from nasbench_robust.settings import TrainingSettings
from nasbench_robust.table import Reader

LIMIT = 4.0  # standard errors

Row = dict[str, Any]


def compare_sample(share: float, workers: int, seed: int | None = None) -> int:
    """Make a random share of the bundled runs again, print how they compare, and return 1 if they do not agree.

    With the processor and compiler that the table was made with, counts are equal. With others, runs take other paths,
    as with another seed: then the mean difference of every metric is to lie within `LIMIT` standard errors of 0, which
    follow from the noise between the table's seeds. `seed` chooses the runs; without it others are chosen every time.
    """
    reader = Reader(locate(BUNDLED))
    rows = [row for row in reader.read().to_pylist() if row["failure"] is None]
    settings = {key: TrainingSettings.from_dict(facts) for key, facts in reader.info().settings.items()}
    for each in settings.values():
        choose_engine("native", each)
    seed = secrets.randbelow(2**32) if seed is None else seed
    chosen = np.random.default_rng(seed).choice(len(rows), max(1, round(share * len(rows))), replace=False)
    print(f"{len(chosen)} of {len(rows)} runs again, chosen by seed {seed}")
    jobs = [(rows[i]["index"], rows[i]["seed"], settings[rows[i]["settings"]]) for i in chosen]
    made = []
    spawn = multiprocessing.get_context("spawn")
    with (
        spawn.Pool(workers, end_with, (os.getpid(),)) as pool,
        total_progress(len(jobs), 0, "runs") as show,
    ):
        for each in pool.imap(_make_job, jobs):
            made.append(each)
            show(len(made))
    again = [row for row, _ in made]
    failed = [row for row in again if "failure" in row]
    for row in failed:
        print(f"cell {row['index']}, seed {row['seed']}: {row['failure']}; in the table it has results")
    if failed:
        return 1
    _print_cost(again, [seconds for _, seconds in made], len(rows), workers)
    return _compare([rows[i] for i in chosen], again, rows)


def _make_job(job: tuple[int, int, TrainingSettings]) -> tuple[Row, float]:
    return _make(*job)


def _make(index: int, seed: int, settings: TrainingSettings) -> tuple[Row, float]:
    """Make a run; return its row and how many CPU seconds of its evaluation AutoAttack took."""
    moments: list[float] = []

    def look_at_the_clock() -> bool:  # a run asks whether to stop after every step and every measurement
        moments.append(time.process_time())
        return False

    cell, images = Cell.from_index(index), _images(settings.dataset)
    row = run_cell(cell, settings, images, seed, engine="native", should_stop=look_at_the_clock).row
    if "failure" in row:
        return row, 0.0
    metrics = settings.metrics
    seconds = zip(metrics, np.diff(moments)[-len(metrics) :], strict=True)
    return row, sum(took for metric, took in seconds if metric.attack and metric.attack.name == "autoattack")


def _print_cost(again: list[Row], autoattack: list[float], runs: int, workers: int) -> None:
    """Print the CPU seconds of a run, and the hours of the table at that pace: whole, and without AutoAttack."""
    training, measuring = (float(np.mean([row[f"{name}_cpu_seconds"] for row in again])) for name in ("train", "eval"))
    others = measuring - float(np.mean(autoattack))
    print(
        f"a run takes {training:.2f} CPU seconds of training, {others:.2f} s of clean, FGSM and PGD accuracies and "
        f"{measuring - others:.2f} s of AutoAttack"
    )
    hours, fewer = (seconds * runs / workers / 3600 for seconds in (training + measuring, training + others))
    print(f"all {runs} by {workers} workers: {hours:.2f} h, {fewer:.2f} h without AutoAttack")


@functools.cache
def _images(name: str) -> ArrayImages:
    return load_arrays(name)


def _compare(before: list[Row], again: list[Row], table: list[Row]) -> int:
    columns = [name for name in again[0] if "_acc" in name]
    counts = [name.replace("_acc", "_correct", 1) for name in columns]
    equal = sum(all(one[name] == other.get(name) for name in counts) for one, other in zip(before, again, strict=True))
    print(f"{equal} of {len(before)} runs are equal in all counts ({before[0]['device']}, {before[0]['versions']})")
    if equal == len(before):
        return 0
    wrong = 0
    for name in columns:
        difference = np.array([other[name] - one[name] for one, other in zip(before, again, strict=True)])
        error = np.sqrt(2 / len(difference)) * _noise(table, name)
        apart = abs(difference.mean()) > LIMIT * error
        wrong += apart
        print(f"{name:26} mean difference {difference.mean():+.4f}, standard error {error:.4f}{' !' if apart else ''}")
    print("the table is not what this machine makes" if wrong else "within the noise between seeds")
    return int(wrong > 0)


def _noise(rows: list[Row], name: str) -> float:
    """Return the standard deviation between seeds, pooled over cells."""
    seeds: dict[int, list[float]] = {}
    for row in rows:
        if row[name] is not None:
            seeds.setdefault(row["index"], []).append(row[name])
    several = [values for values in seeds.values() if len(values) > 1]
    return float(np.sqrt(np.mean([np.var(values, ddof=1) for values in several])))
