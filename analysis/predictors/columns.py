"""What may rank the cells of one data set: structure, digits, every score of a table, and the fixed rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import cells, predict
from nasbench_robust.datasets import canonical_name
from nasbench_robust.errors import MissingDataError
from nasbench_robust.scores import read_scores
from predictors.rules import COUNT, DIGITS, EVERY, PARAMETERS, RULES, SMOOTHED, Rule
from score_tables import Name
from tables import FEWEST_CELLS, Floats

CELLS = np.unique(cells.representatives()).astype(np.int64)
COUNTS = ("params", "flops")  # scores that are the parameter count under another name
NATURAL = "cifar10"  # whose scores stand for those of data sets that have none
DIGITS_METRIC = "pgd_acc@0.1"
NOTHING, BY_HAND = "nothing", "by hand, after looking at means of published accuracies"
KERNEL, NAMED = "smoothing: digits", "ingredients: published accuracies; smoothing: digits"


@dataclass(frozen=True)
class Column:
    """One value per representative: nan where there is none, minus infinity where the score failed."""

    values: Floats  # shape (6466,)
    seconds: float  # per cell
    tuned: str  # on what
    proxy: bool = False  # a score of an untrained cell that is of no kernel

    @property
    def known(self) -> np.ndarray:
        """Where there is a value, or a failure."""
        return ~np.isnan(self.values)


def columns_for(dataset: str, bench: nbr.Benchmark, digits: nbr.Benchmark, folder: str) -> dict[str, Column]:
    """Return what may rank the cells of a data set, by name; of digits nothing that has seen their accuracies."""
    size = bench.frame(dataset, []).set_index("index")["parameters"].reindex(CELLS).to_numpy(np.float64)
    columns = {
        PARAMETERS: Column(size, 0.0, NOTHING),
        COUNT: Column(predict.structure_count()[CELLS], 0.0, BY_HAND),
    }
    if dataset != "digits":
        seconds = _seconds_of_training(digits)
        accuracy, smoothed = digits.values("digits", DIGITS_METRIC)[CELLS], predict.smoothed_digits()[CELLS]
        columns[DIGITS] = Column(accuracy, seconds, NOTHING)
        columns[DIGITS + SMOOTHED] = Column(smoothed, seconds, KERNEL)
    scored = _scores(folder)
    columns |= scored.get(dataset, {} if dataset == "digits" else scored.get(NATURAL, {}))
    columns |= {name + SMOOTHED: _smoothed(column) for name, column in columns.items() if column.proxy}
    made = {rule.name: _apply(rule, columns) for rule in RULES}
    return {**{name: column for name, column in made.items() if column}, **columns}


def parts_of(rule: Rule, columns: dict[str, Column]) -> list[str]:
    """Return the columns of a rule, `EVERY` written out."""
    every = [name for name, column in columns.items() if column.proxy]
    written = {EVERY: every, EVERY + SMOOTHED: [name + SMOOTHED for name in every]}
    return [name for part in rule.parts for name in written.get(part, [part])]


def _apply(rule: Rule, columns: dict[str, Column]) -> Column | None:
    """Return what a rule makes of the columns, over the cells that all of them have; None where one is missing."""
    parts = parts_of(rule, columns)
    if not parts or not set(parts) <= set(columns):
        return None
    known = np.all([columns[name].known for name in parts], axis=0)
    values = np.full(len(CELLS), np.nan)
    values[known] = rule.combine(*(predict.with_failures_last(columns[name].values[known]) for name in parts))
    seconds = sum({name.removesuffix(SMOOTHED): columns[name].seconds for name in parts}.values())
    tuned = NAMED if any(name.endswith(SMOOTHED) for name in parts) else "ingredients: published accuracies"
    return Column(values, seconds, NOTHING if rule.parts == (EVERY,) else tuned)


def _smoothed(column: Column) -> Column:
    known = column.known
    smoothed = predict.smooth(CELLS[known], predict.with_failures_last(column.values[known]))[CELLS]
    return Column(smoothed, column.seconds * float(known.mean()), KERNEL)


def _seconds_of_training(digits: nbr.Benchmark) -> float:
    """Return how long the trainings of a cell took, all seeds together."""
    seeds = max(map(len, digits.measured("digits").values()))
    return float(np.nanmean(digits.values("digits", "train_seconds"))) * seeds


# ------------------------------------------------------------------ tables of scores


@lru_cache(maxsize=1)
def _scores(folder: str) -> dict[str, dict[str, Column]]:
    """Return by data set the scores of all tables in a folder."""
    paths = sorted(Path(folder).glob("*.parquet"))
    if not paths:
        raise MissingDataError(f"{folder} has no tables of scores", "name a folder that holds *.parquet")
    frames: dict[str, list[pd.DataFrame]] = {}
    for path in paths:
        frame, settings = read_scores(path)
        frame[list(Name._fields)] = frame[list(Name._fields)].astype(object).fillna("")
        mode = settings.get("bn", "batch_frozen")
        frame["mode"] = np.where((frame["kernel"] != "") & (mode != "batch_frozen"), mode, "")
        frames.setdefault(canonical_name(settings.get("dataset")), []).append(frame)
    return {dataset: _columns_of(pd.concat(parts)) for dataset, parts in frames.items()}


def _columns_of(frame: pd.DataFrame) -> dict[str, Column]:
    """Return the columns of a long table; the names of proxies are those of the rules."""
    frame["index"] = cells.representatives()[frame["index"].to_numpy()].astype(np.int64)
    keys = [*Name._fields, "mode"]
    frame = frame.drop_duplicates([*keys, "index", "seed"])
    columns = {}
    for (*words, mode), rows in frame.groupby(keys):
        name = Name(*words)
        if rows["index"].nunique() >= FEWEST_CELLS and name.score not in COUNTS:
            label = str(name) + (f", {mode}" if mode else "") if name.kernel else name.score
            columns[label] = _column_of(name, rows)
    return columns


def _column_of(name: Name, rows: pd.DataFrame) -> Column:
    """Return the mean over the seeds that all cells of the most common seed have; a failed seed fails the cell.

    Higher is better, according to the source of the score; where that claims nothing, the sign is the raw one.
    """
    runs = rows.assign(there=True).pivot(index="index", columns="seed", values=["value", "there"]).reindex(CELLS)
    there = runs["there"].notna()
    scored = there[there.sum().idxmax()]
    common = there.columns[there[scored].all()]
    mean = (-1 if name.direction == "lower" else 1) * runs["value"][common].astype(float).mean(axis=1, skipna=False)
    values = np.where(scored, mean.fillna(-np.inf), np.nan)
    return Column(values, float(rows["seconds"].mean()) * len(common), NOTHING, proxy=not name.kernel)
