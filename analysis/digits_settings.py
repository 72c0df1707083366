"""Why the digits settings are what they are: how well variants of them separate the cells, and at what cost.

Cells spread evenly over the published PGD accuracies at 8/255 on cifar10 are trained with every variant in the native
engine. Good settings spread the cells far apart compared with what a seed changes, and rank them as the published
column does, beyond what the parameter count tells already. Run: ``python analysis/digits_settings.py --workers 2``. It
prints a line per variant and writes ``digits_settings.csv`` as it goes.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import native
from nasbench_robust import statistics as st
from nasbench_robust.cli.command import guarded
from nasbench_robust.engines import Draws
from nasbench_robust.engines.native import NativeTrainer, evaluate
from nasbench_robust.errors import InvalidValueError, TrainingDivergedError, UnknownNameError
from nasbench_robust.images import ArrayImages, load_arrays
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.settings import TrainingSettings, settings_for

Floats = npt.NDArray[np.float64]
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
    """The cells of the study, with what is known about them."""

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


# ------------------------------------------------------------------ training


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


def make_runs(pool: ProcessPoolExecutor, cells: Cells, seeds: int, settings: TrainingSettings) -> tuple[Floats, float]:
    """Return accuracies, shape (cells, seeds), and the mean seconds of a run."""
    indices, every = np.repeat(cells.index, seeds).tolist(), list(range(seeds)) * len(cells.index)
    found = np.array(list(pool.map(make_run, indices, every, [settings] * len(indices))))
    return found[:, 0].reshape(len(cells.index), seeds), float(found[:, 1].mean())


# ------------------------------------------------------------------ what came of it


def describe(runs: Floats, cells: Cells) -> dict[str, float]:
    """Return how far apart the cells are, how much a seed changes, and the correlation with the published column."""
    whole = ~np.isnan(runs).any(axis=1)
    kept, means = runs[whole], runs[whole].mean(axis=1)
    published, parameters = cells.published[whole], cells.parameters[whole]
    between, within = means.std(ddof=1), math.sqrt(kept.var(axis=1, ddof=1).mean())
    return {
        "cells": len(kept),
        "diverged": int(np.isnan(runs).sum()),
        "median": float(np.median(kept)),
        "min": float(means.min()),
        "max": float(means.max()),
        "cell_sd": float(between),
        "seed_sd": within,
        "ratio": float(between) / within if within else math.nan,
        "spearman": st.spearman(means, published),
        "given_parameters": st.partial(means, published, parameters),
    }


def print_variant(name: str, facts: dict[str, float]) -> None:
    """Print one line."""
    where = f"{facts['median']:.3f} ({facts['min']:.3f}-{facts['max']:.3f})"
    spread = f"{facts['cell_sd']:.3f} / {facts['seed_sd']:.4f} = {facts['ratio']:5.2f}"
    ranks = f"{facts['spearman']:.3f}, given parameters {facts['given_parameters']:.3f}"
    failed = f"   {facts['diverged']} diverged" if facts["diverged"] else ""
    print(f"{name:20} {where}   {spread}   {ranks}   {facts['seconds']:.2f} s{failed}", flush=True)


def print_conclusion(table: pd.DataFrame) -> None:
    """Print where the chosen settings stand among those that were tried."""
    if CHOSEN not in set(table["variant"]) or len(table) < 2:
        return
    print()
    for column, label in (
        ("ratio", "spread of cells over that of seeds"),
        ("spearman", "rank correlation with the published column"),
        ("given_parameters", "the same given the parameter count"),
    ):
        ordered = table.sort_values(column, ascending=False)["variant"].tolist()
        print(f"- {label}: chosen is number {1 + ordered.index(CHOSEN)} of {len(ordered)}, the best is {ordered[0]}")


# ------------------------------------------------------------------ the program


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, print, write; return the exit code."""
    names = list(variants())
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--published", metavar="TABLE", default="nas-robbench-201", help="default: nas-robbench-201")
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", default=names, help=f"default: all of {', '.join(map(repr, names))}")
    parser.add_argument("--cells", type=int, default=80, help="how many (default: 80)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of a cell, at least 2 (default: 3)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    return guarded("digits_settings.py", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    known = variants()
    for name in args.variants:
        if name not in known:
            raise UnknownNameError("variant", name, list(known))
    if args.seeds < 2:
        raise InvalidValueError("--seeds", args.seeds, "at least 2, to tell cells from seeds", "2")
    cells = read_cells(args.published, args.cells)
    table = Path(args.out) / "digits_settings.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    print(
        f"{len(cells.index)} cells x {args.seeds} seeds, native engine for {native.build_name()}: PGD-20 on test images"
    )
    print(
        f"parameters alone: Spearman {st.spearman(cells.parameters, cells.published):.3f} with {TARGET[1]} on cifar10"
    )
    print("variant: median (least to most of a cell)   sd between cells / of a seed   Spearman   seconds a run")
    rows = []
    with ProcessPoolExecutor(args.workers) as pool:
        for name in args.variants:
            settings = known[name] if args.epochs is None else replace(known[name], epochs=args.epochs)
            runs, seconds = make_runs(pool, cells, args.seeds, settings)
            facts = {**describe(runs, cells), "seconds": seconds}
            rows.append({"variant": name, "settings": settings.hash, "seeds": args.seeds, **facts})
            pd.DataFrame(rows).to_csv(table, index=False, float_format="%.5g")
            print_variant(name, facts)
    print_conclusion(pd.DataFrame(rows))
    print(f"\nwrote {table}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
