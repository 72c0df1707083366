"""How far a cell's robustness on digits tells its robustness on the published data sets.

Every test column of the digits table is held against every column of the published table, over all cells that both
have, over the top half and over the top tenth by the published column, beside what a digits training has to beat: the
parameter count, which costs nothing. Accuracies are means over the seeds that a table has; validation columns are not
used. Run: ``python analysis/digits_vs_published.py``. It writes a CSV in long form and a figure, and prints what
follows from the numbers; docs/analysis.md says what each statistic is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from digits_vs_published_report import draw, print_conclusion

import nasbench_robust as nbr
from nasbench_robust import statistics as st
from nasbench_robust.cli.command import guarded
from nasbench_robust.errors import MissingResultError
from nasbench_robust.releases import locate
from nasbench_robust.statistics import noise
from nasbench_robust.table import Reader, numpy_column

Floats = npt.NDArray[np.float64]
SUBSETS = {"all": 1.0, "top half": 0.5, "top tenth": 0.1}
COLUMNS = ["dataset", "metric", "subset", "cells", "predictor", "statistic", "value", "low", "high"]
FEWEST_CELLS = 30  # of which the top tenth has the 3 that a correlation needs


@dataclass(frozen=True)
class Tables:
    """What both tables say about the cells that they share, one value per cell in every column."""

    index: npt.NDArray[np.int64]
    digits: dict[str, Floats]  # by metric, means over seeds
    runs: dict[str, Floats]  # by metric, shape (cells, seeds), nan where there is no such run
    seeds: list[int]
    targets: dict[tuple[str, str], Floats]  # by published data set and metric
    published: dict[str, pd.DataFrame]  # by data set, all cells and not only the shared ones
    baselines: dict[str, Floats]
    headline: str  # the metric of digits that its short name pgd_acc means, or the first one
    names: tuple[str, str]


@dataclass(frozen=True)
class Effort:
    """How many resamples are drawn, and from which seed."""

    resamples: int
    kendall_resamples: int
    seed: int


# ------------------------------------------------------------------ reading


def read_tables(digits: str | None, published: str) -> Tables:
    """Read both tables and keep the cells for which both have every test column."""
    ours = nbr.load(digits) if digits is not None else nbr.load()
    theirs = nbr.load(published)
    dataset = ours.datasets[0]
    measured = test_metrics(ours, dataset)
    frame = ours.frame(dataset, measured).set_index("index")[measured].dropna()
    wanted = {name: test_metrics(theirs, name) for name in theirs.datasets}
    parts = {name: theirs.frame(name, columns).set_index("index") for name, columns in wanted.items()}
    for name, columns in wanted.items():
        frame = frame[frame.index.isin(parts[name].dropna(subset=columns).index)]
    if len(frame) < FEWEST_CELLS:
        what = (
            f"{ours.name} and {theirs.name} share {len(frame)} cells with all test columns; {FEWEST_CELLS} are needed"
        )
        raise MissingResultError(what)
    index = frame.index.to_numpy(np.int64)
    facts = next(iter(parts.values())).loc[index]
    defaults = ours.metrics().query("metric == 'pgd_acc' and default and split == 'test'")["long_name"].tolist()
    seeds, runs = read_runs(digits, dataset, index, measured)
    return Tables(
        index=index,
        digits={name: frame[name].to_numpy() for name in measured},
        runs=runs,
        seeds=seeds,
        targets={
            (name, column): parts[name].loc[index, column].to_numpy() for name in wanted for column in wanted[name]
        },
        published=parts,
        baselines={name: facts[name].to_numpy(np.float64) for name in ("parameters", "flops")},
        headline=(defaults or measured)[0],
        names=(f"{ours.name} {ours.version}", f"{theirs.name} {theirs.version}"),
    )


def test_metrics(bench: nbr.Benchmark, dataset: str) -> list[str]:
    """Return the long names of what was measured on test images."""
    listed = bench.metrics()
    return listed.loc[(listed["dataset"] == dataset) & (listed["split"] == "test"), "long_name"].tolist()


def read_runs(
    source: str | None, dataset: str, index: npt.NDArray[np.int64], measured: list[str]
) -> tuple[list[int], dict[str, Floats]]:
    """Return the seeds of a table, and by metric the values of single runs of these cells, shape (cells, seeds)."""
    table = Reader(locate(source)).read(["index", "seed", *measured], dataset=dataset)
    columns = {name: numpy_column(table.column(name)) for name in table.column_names}
    cell, (seed, seeded) = columns["index"][0], columns["seed"]
    seeds = np.unique(seed[seeded & np.isin(cell, index)])
    place = {int(number): row for row, number in enumerate(index)}
    kept = [position for position in np.flatnonzero(seeded) if int(cell[position]) in place]
    rows = [place[int(cell[position])] for position in kept]
    runs = {}
    for name in measured:
        values, given = columns[name]
        runs[name] = np.full((len(index), len(seeds)), np.nan)
        runs[name][rows, np.searchsorted(seeds, seed[kept])] = np.where(given, values, np.nan)[kept]
    return seeds.tolist(), runs


# ------------------------------------------------------------------ comparing


def compare(tables: Tables, effort: Effort) -> pd.DataFrame:
    """Return every statistic of every comparison, one per row."""
    rows = []
    for (dataset, metric), target in tables.targets.items():
        for subset, fraction in SUBSETS.items():
            chosen = st.top_fraction(target, fraction)
            # Every comparison has draws of its own, so that it does not depend on which others are made.
            rng = np.random.default_rng([effort.seed, *f"{dataset} {metric} {subset}".encode()])
            place = (dataset, metric, subset)
            rows += [(*place, *row) for row in correlations(tables, target, chosen, effort, rng)]
            rows += [(*place, *row) for row in noises(tables, (dataset, metric), chosen)]
        rows += [(dataset, metric, "all", *row) for row in picks(tables, target)]
    return pd.DataFrame(rows, columns=COLUMNS)


Row = tuple[int, str, str, float, float | None, float | None]


def correlations(
    tables: Tables, target: Floats, chosen: npt.NDArray[np.bool_], effort: Effort, rng: np.random.Generator
) -> Iterator[Row]:
    """Yield the rank correlations of one published column with every predictor, over the chosen cells."""
    proxies = {name: column[chosen] for name, column in predictors(tables).items()}
    aim, count = target[chosen], int(chosen.sum())
    names = list(proxies)
    drawn = st.bootstrap_spearman([aim, *proxies.values()], rng=rng, resamples=effort.resamples)
    parameters = proxies["parameters"]
    rho = {name: st.spearman(column, aim) for name, column in proxies.items()}
    last = 1 + names.index("parameters")
    for position, (name, column) in enumerate(proxies.items(), 1):
        yield count, name, "spearman", rho[name], *st.percentile_interval(drawn[:, 0, position])
        if name in tables.baselines:
            continue
        gain = drawn[:, 0, position] - drawn[:, 0, last]
        yield count, name, "spearman - parameters", rho[name] - rho["parameters"], *st.percentile_interval(gain)
        if name in tables.digits:
            given = st.partial_correlation(drawn[:, 0, position], drawn[:, position, last], drawn[:, 0, last])
            value = st.partial(column, aim, parameters)
            yield count, name, "spearman given parameters", value, *st.percentile_interval(given)
            yield count, name, "kendall given parameters", st.partial(column, aim, parameters, st.kendall), None, None
    for name, column in proxies.items():
        if name in tables.digits or name == "parameters":
            interval = st.bootstrap(st.kendall, column, aim, rng=rng, resamples=effort.kendall_resamples)
            yield count, name, "kendall", interval.value, interval.low, interval.high
        else:
            yield count, name, "kendall", st.kendall(column, aim), None, None
    yield from single_seeds(tables, target, chosen)


def predictors(tables: Tables) -> dict[str, Floats]:
    """Return what may predict: digits metrics, baselines, and each digits metric together with the parameter count."""
    parameters = tables.baselines["parameters"]
    both = {f"{name} + parameters": st.mean_rank(column, parameters) for name, column in tables.digits.items()}
    return {**tables.digits, **tables.baselines, **both}


def single_seeds(tables: Tables, target: Floats, chosen: npt.NDArray[np.bool_]) -> Iterator[Row]:
    """Yield the correlation of every single seed of the digits table, over the chosen cells that have it."""
    for name, runs in tables.runs.items():
        for seed, column in zip(tables.seeds, runs.T, strict=True):
            both = chosen & ~np.isnan(column)
            if both.sum() >= 3:
                value = st.spearman(column[both], target[both])
                yield int(both.sum()), f"{name}, seed {seed}", "spearman", value, None, None


def noises(tables: Tables, aim: tuple[str, str], chosen: npt.NDArray[np.bool_]) -> Iterator[Row]:
    """Yield the noise of the published column and of the digits columns, and the correlation that it allows."""
    count, target = int(chosen.sum()), tables.targets[aim][chosen]
    # Few cells have few twins among them, so those of the whole published table in the same range are taken.
    known = tables.published[aim[0]][aim[1]].dropna()
    known = known[known >= target.min()]
    twins = noise.twin_noise(known.index.to_numpy(), known)
    steady = noise.reliability(twins.sd, target)
    yield count, "published", "twin sd", twins.sd, None, None
    yield count, "published", "reliability", steady, None, None
    yield count, "parameters", "ceiling", noise.ceiling(steady), None, None
    for name, column in tables.digits.items():
        runs = tables.runs[name][chosen]
        seeds = noise.seed_noise(runs) if runs.shape[1] else noise.Noise(np.nan, 0, 0)
        own = noise.reliability(seeds.sd, column[chosen])
        between = noise.seed_correlation(runs) if runs.shape[1] else np.nan
        runs_each = float((~np.isnan(runs)).sum(axis=1).mean())
        for statistic, value in (
            ("twin sd", noise.twin_noise(tables.index[chosen], column[chosen]).sd),
            ("seed sd", seeds.sd),
            ("reliability", own),
            ("spearman between seeds", between),
            ("split-half reliability", noise.spearman_brown(between, runs_each)),
            ("ceiling", noise.ceiling(own, steady)),
        ):
            yield count, name, statistic, value, None, None


def picks(tables: Tables, target: Floats) -> Iterator[Row]:
    """Yield what picking by a predictor finds and loses, over all cells."""
    count = len(target)
    tenth = max(1, count // 10)
    for name, column in predictors(tables).items():
        yield count, name, "recall of the best tenth", st.top_recall(column, target, tenth), None, None
        for k in (1, 10):
            yield count, name, f"regret of the best of {k}", st.regret(column, target, k), None, None
    for k in (1, 10):
        yield count, "chance", f"regret of the best of {k}", st.regret(np.zeros(count), target, k), None, None


# ------------------------------------------------------------------ the program


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, write, print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--digits", metavar="TABLE", help="digits table (default: the release in the package)")
    parser.add_argument("--published", metavar="TABLE", default="nas-robbench-201", help="default: nas-robbench-201")
    parser.add_argument("--out", default="analysis/results", help="folder to write to (default: analysis/results)")
    parser.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples for Spearman (default: 1000)")
    parser.add_argument("--kendall-resamples", type=int, default=100, help="for Kendall (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (default: 0)")
    args = parser.parse_args(arguments)
    return guarded("digits_vs_published.py", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    start = time.perf_counter()
    tables = read_tables(args.digits, args.published)
    results = compare(tables, Effort(args.resamples, args.kendall_resamples, args.seed))
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "digits_vs_published.csv"
    results.to_csv(table, index=False, float_format="%.5g")
    written = [table, *draw(tables, results, folder / "digits_vs_published")]
    print_conclusion(tables, results)
    print(f"\nwrote {', '.join(map(str, written))} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
