"""The variants of the digits settings, the cells they are tried on, the runs, and how well runs tell cells apart."""

from __future__ import annotations

import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

import nasbench_robust as nbr
from nasbench_robust import statistics as st
from nasbench_robust.engines import Draws
from nasbench_robust.engines.native import NativeTrainer, evaluate
from nasbench_robust.errors import InvalidValueError, TrainingDivergedError
from nasbench_robust.images import ArrayImages, load_arrays
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.settings import TrainingSettings, settings_for
from tables import Floats

TARGET = ("cifar10", "pgd_acc", 8 / 255)
CHOSEN = "chosen"


def variants() -> dict[str, TrainingSettings]:
    """Return the digits settings and what else was considered, by name."""
    chosen = settings_for("digits")
    shape = chosen.skeleton
    return {
        CHOSEN: chosen,
        "batch 64": replace(chosen, batch_size=64),
        "batch 64, 25 epochs": replace(chosen, batch_size=64, epochs=25),
        "12 epochs": replace(chosen, epochs=12),
        "max_lr 0.05": replace(chosen, max_lr=0.05),
        "eps 0.15": replace(chosen, attack=pgd(0.15, steps=7, step_size=0.15 / 4)),
        "C=3": replace(chosen, skeleton=replace(shape, channels=3)),
        "C=6": replace(chosen, skeleton=replace(shape, channels=6)),
    }


@dataclass(frozen=True)
class Cells:
    """The cells of the study, with their published accuracies and their parameter counts."""

    index: npt.NDArray[np.int64]
    published: Floats
    parameters: Floats


def read_cells(published: str, count: int) -> Cells:
    """Return so many cells, evenly spread in the order of the published column."""
    dataset, metric, eps = TARGET
    bench = nbr.load(published)
    column = bench.lookup(0, dataset, metric, eps=eps).metric
    frame = bench.frame(dataset, [column]).dropna(subset=[column]).sort_values([column, "index"])
    if not 3 <= count <= len(frame):
        raise InvalidValueError("--cells", count, f"3 to {len(frame)}, the cells that {published} has")
    places = np.linspace(0, len(frame) - 1, count).astype(int)
    index, values, parameters = (frame[name].to_numpy()[places] for name in ("index", column, "parameters"))
    return Cells(index, values, parameters.astype(np.float64))


@cache
def digits() -> ArrayImages:
    """Return the images, loaded once in a process."""
    return load_arrays("digits")


def make_run(index: int, seed: int, settings: TrainingSettings) -> tuple[float, float]:
    """Train a cell; return its PGD-20 accuracy on test images at the eps of the training, and the seconds it took.

    The accuracy is nan if the training diverged.
    """
    images = digits()
    start = time.perf_counter()
    trainer = NativeTrainer(nbr.Cell.from_index(index), settings, images, seed)
    try:
        while not trainer.finished:
            trainer.step()
    except TrainingDivergedError:
        return math.nan, time.perf_counter() - start
    metric = Metric.of(pgd(settings.attack.eps))
    correct = evaluate(trainer.network, images, metric, Draws(seed, "evaluation"))
    return float(correct.mean()), time.perf_counter() - start


def try_settings(pool: ProcessPoolExecutor, cells: Cells, seeds: int, settings: TrainingSettings) -> dict[str, float]:
    """Train every cell with so many seeds; return what `describe` says, and the mean seconds of a run."""
    indices, every = np.repeat(cells.index, seeds).tolist(), list(range(seeds)) * len(cells.index)
    runs = np.array(list(pool.map(make_run, indices, every, [settings] * len(indices))))
    accuracies, seconds = runs.T
    return {**describe(accuracies.reshape(-1, seeds), cells), "seconds": float(seconds.mean())}


def describe(accuracies: Floats, cells: Cells) -> dict[str, float]:
    """Return how far apart the cells are, how much a seed changes, and the correlation with the published column.

    Accuracies have the shape (cells, seeds); a cell one of whose runs diverged is left out.
    """
    whole = ~np.isnan(accuracies).any(axis=1)
    kept, means = accuracies[whole], accuracies[whole].mean(axis=1)
    published, parameters = cells.published[whole], cells.parameters[whole]
    between, within = means.std(ddof=1), math.sqrt(kept.var(axis=1, ddof=1).mean())
    return {
        "cells": len(kept),
        "diverged": int(np.isnan(accuracies).sum()),
        "median": float(np.median(kept)),
        "min": float(means.min()),
        "max": float(means.max()),
        "cell_sd": float(between),
        "seed_sd": within,
        "ratio": float(between) / within if within else math.nan,
        "spearman": st.spearman(means, published),
        "given_parameters": st.partial(means, published, parameters),
    }
