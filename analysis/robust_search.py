"""Robust differentiable search on digits: every method, several seeds, and what the tables say of the cells found.

Every search is a call of generation/search_supernet.py; its record is kept, so an interrupted comparison goes on. The
cell found, the argmax of the architecture parameters, is looked up in the digits table and in the published CIFAR-10
table, beside random search that may train as many cells as the search's floating-point operations would. Run:
``python analysis/robust_search.py --workers 2``. It writes one row per search, one per epoch, and a figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from robust_search_cost import flops_of_search, flops_of_training
from robust_search_report import draw, print_conclusion

import nasbench_robust as nbr
from nasbench_robust import search
from nasbench_robust import statistics as st
from nasbench_robust.cells import OPERATIONS, Cell
from nasbench_robust.cli.command import guarded
from nasbench_robust.errors import InvalidValueError, MissingResultError, UnknownNameError
from nasbench_robust.files import write_bytes
from nasbench_robust.images import load_images
from nasbench_robust.search.supernet import SearchSettings, read_search, record_name, search_settings_for
from nasbench_robust.settings import read_settings

PROGRAM = Path(__file__).resolve().parents[1] / "generation" / "search_supernet.py"
DATASET = "digits"
SHARED = "settings.json"  # in the folder of the records: what all searches are given
# Method, and its settings where they are not the method's defaults.
PLAN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("darts", {}),
    ("darts", {"order": 2}),
    ("gdas", {}),
    *(("rnas-like-v1", {"strength": weight}) for weight in (0.0, 0.1, 1.0, 6.0)),
    ("rnas-like-v2", {}),
    ("rnas-like-v3", {}),
    *(("dsrna-like-jacobian", {"strength": weight}) for weight in (0.001, 0.01, 0.1, 1.0)),
    *(("dsrna-like-certified", {"strength": weight}) for weight in (0.001, 0.01, 0.1, 1.0)),
    ("dsrna-like-combined", {}),
    ("arnas-s", {}),
    ("arnas-s", {"strength": 1.0}),
    ("arnas-s", {"order": 1}),
)
METHODS = tuple(dict.fromkeys(method for method, _ in PLAN))
JUDGES = {"digits": ("clean_acc", "pgd_acc", "autoattack_acc"), "cifar10": ("clean_acc", "pgd_acc@8/255")}
COUNTED = ("skip_connect", "none", "nor_conv_3x3")
RANDOM_SEARCHES = 1000


@dataclass(frozen=True)
class Search:
    """One search of the plan."""

    settings: SearchSettings
    seed: int
    folder: Path

    @property
    def record(self) -> Path:
        """Where its record is, or will be."""
        return self.folder / record_name(self.settings, self.seed)

    @property
    def command(self) -> list[str]:
        """The command that makes it."""
        settings = self.settings
        command = [sys.executable, str(PROGRAM), "--method", settings.method, "--dataset", settings.dataset]
        command += ["--strength", str(settings.strength), "--order", str(settings.order)]
        return [*command, "--seeds", str(self.seed), "--out", str(self.folder), "--settings", str(self.folder / SHARED)]

    @property
    def labels(self) -> dict[str, Any]:
        """The first columns of a row."""
        settings = self.settings
        return {"method": settings.method, "strength": settings.strength, "order": settings.order, "seed": self.seed}


# ------------------------------------------------------------------ searching


def planned(args: argparse.Namespace) -> list[Search]:
    """Return the searches of the plan, seed by seed: a first of everything comes first."""
    folder = Path(args.records)
    folder.mkdir(parents=True, exist_ok=True)
    shared = folder / SHARED
    overridden = {} if args.epochs is None else {"epochs": args.epochs, "one_shot_cells": 10}
    write_bytes(json.dumps(overridden).encode(), shared)
    settings = [
        read_settings(shared, search_settings_for(DATASET, method, **changes))
        for method, changes in PLAN
        if method in args.methods
    ]
    return [Search(each, seed, folder) for seed in range(args.seeds) for each in settings]


def make(searches: Sequence[Search], workers: int) -> int:
    """Make the searches whose record is missing, some at a time; return the first exit code that is not 0."""
    missing = [each for each in searches if not each.record.exists()]
    print(f"{len(searches)} searches, {len(missing)} to make", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(workers) as pool:
        codes = pool.map(lambda each: subprocess.run(each.command, check=False).returncode, missing)
        return next((code for code in codes if code), 0)


# ------------------------------------------------------------------ judging


class Judge:
    """Looks cells up in the tables."""

    def __init__(self, digits: nbr.Benchmark, published: nbr.Benchmark) -> None:
        self.digits = digits
        self._published = published
        self.problem = search.TableProblem(digits, "pgd_acc")
        pgd = digits.frame(cells="representatives")["pgd_acc@0.1"]
        self._all_pgd = np.sort(pgd.dropna().to_numpy())
        self.worth(0)  # find out before the searches that a table lacks what they are judged by

    def worth(self, index: int) -> dict[str, Any]:
        """Return what a cell is made of, and its accuracies in both tables."""
        cell = Cell.from_index(index)
        found: dict[str, Any] = {"index": index, "arch": str(cell)}
        found |= {name: cell.count(name) for name in COUNTED}
        for table, metrics in JUDGES.items():
            bench = self.digits if table == DATASET else self._published
            for metric in metrics:
                found[f"{table} {metric}"] = bench.query(cell, dataset=table, metric=metric)
        found["share of cells above"] = float((self._all_pgd > found["digits pgd_acc"]).mean())
        return found

    def one_shot(self, scores: dict[str, Any]) -> dict[str, float]:
        """Return the rank correlations of one-shot scores with the same accuracies in the digits table."""
        found = {}
        for metric in ("clean_acc", "pgd_acc"):
            table = [self.digits.query(index, dataset=DATASET, metric=metric) for index in scores["cells"]]
            found[f"one-shot Spearman {metric}"] = st.spearman(scores[metric], table)
            found[f"one-shot Kendall {metric}"] = st.kendall(scores[metric], table)
        return found

    @cache  # noqa: B019 (one judge lives as long as the program)
    def random_search(self, trainings: int) -> tuple[float, float]:
        """Return mean and standard deviation of the PGD accuracy that random search finds with so many trainings."""
        found = search.repeat(
            self.problem, search.RandomSearch, search.Budget(queries=trainings), repeats=RANDOM_SEARCHES, seed=0
        )
        worth = found.curves("pgd_acc@0.1")[:, -1]
        return float(worth.mean()), float(worth.std(ddof=1))


def row_of(each: Search, record: dict[str, Any], judge: Judge, trainings: float) -> dict[str, Any]:
    """Return the row of a search."""
    row: dict[str, Any] = {**each.labels, "failure": record["failure"], "seconds": record["seconds"]}
    if record["failure"] is None:
        row |= judge.worth(record["argmax"][0])
        row |= {f"without none: {k}": v for k, v in judge.worth(record["argmax_without_none"][0]).items()}
        row |= judge.one_shot(record["one_shot"])
    row["trainings at equal cost"] = trainings
    affordable = max(1, round(trainings))
    row["random search"], row["random search std"] = judge.random_search(affordable)
    return row


def epochs_of(each: Search, record: dict[str, Any], judge: Judge) -> Iterator[dict[str, Any]]:
    """Yield a row per epoch: the argmax cell of the time, what it is worth, and what the method logged."""
    for epoch in record["history"]:
        codes = np.array(epoch["alpha"][0]).argmax(axis=-1)
        cell = Cell([OPERATIONS[code] for code in codes])
        entry = {**each.labels, "epoch": epoch["epoch"], "train_loss": epoch["train_loss"]}
        yield {**entry, **judge.worth(cell.index), **epoch["logs"]}


# ------------------------------------------------------------------ the program


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the searches that are missing, judge, write, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--published", metavar="TABLE", default="nas-robbench-201", help="default: nas-robbench-201")
    parser.add_argument(
        "--records", default="results/robust_search", help="folder of the searches (default: %(default)s)"
    )
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), help=f"default: all of {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each (default: 3)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--summary", action="store_true", help="make no searches, summarise those that are there")
    parser.add_argument("--epochs", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    return guarded("robust_search.py", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    start = time.perf_counter()
    for name, value in (("seeds", args.seeds), ("workers", args.workers)):
        if value < 1:
            raise InvalidValueError(f"--{name}", value, "a positive integer", "1")
    for method in args.methods:
        if method not in METHODS:
            raise UnknownNameError("search method", method, METHODS)
    judge = Judge(nbr.load(), nbr.load(args.published))
    searches = planned(args)
    if not args.summary and (code := make(searches, args.workers)):
        return code
    images = load_images(DATASET)
    training = flops_of_training(images)
    trainings = {each: flops_of_search(each, images) / training for each in {one.settings for one in searches}}
    rows, epochs = [], []
    for each in searches:
        if each.record.exists():
            record = read_search(each.record)
            rows.append(row_of(each, record, judge, trainings[each.settings]))
            epochs.extend(epochs_of(each, record, judge))
    if not epochs:
        raise MissingResultError(f"{args.records} holds no search that finished an epoch")
    results, curves = pd.DataFrame(rows), pd.DataFrame(epochs)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "robust_search.csv", folder / "robust_search_epochs.csv"]
    for frame, path in zip((results, curves), written, strict=True):
        frame.to_csv(path, index=False, float_format="%.6g")
    written += draw(results, curves, folder / "robust_search")
    print_conclusion(results, judge.digits)
    print(f"\nwrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
