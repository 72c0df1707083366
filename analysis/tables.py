"""The accuracies of trained cells: what the digits table and the published one say about the cells they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust.errors import MissingResultError
from nasbench_robust.releases import locate
from nasbench_robust.table import Reader

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Target = tuple[str, str]  # data set and metric
FEWEST_CELLS = 30  # of which the top tenth has the 3 that a correlation needs


@dataclass(frozen=True)
class Tables:
    """What both tables say about the cells that they share, one value per cell in every column."""

    index: npt.NDArray[np.int64]
    digits: dict[str, Floats]  # by metric, means over seeds
    runs: dict[str, Floats]  # by metric, shape (cells, seeds), nan where there is no such run
    seeds: list[int]
    targets: dict[Target, Floats]  # of the published table
    published: dict[str, pd.DataFrame]  # by data set, all cells and not only the shared ones
    baselines: dict[str, Floats]
    headline: str  # the metric of digits that its short name pgd_acc means, or the first one
    names: tuple[str, str]


def read_tables(digits: str | None, published: str) -> Tables:
    """Read both tables and keep the cells for which both have every test column."""
    ours, theirs = nbr.load(digits), nbr.load(published)
    dataset = ours.datasets[0]
    measured = test_metrics(ours, dataset)
    frame = ours.frame(dataset, measured).set_index("index")[measured].dropna()
    wanted = {name: test_metrics(theirs, name) for name in theirs.datasets}
    parts = {name: theirs.frame(name, columns).set_index("index") for name, columns in wanted.items()}
    for name, columns in wanted.items():
        frame = frame[frame.index.isin(parts[name].dropna(subset=columns).index)]
    if len(frame) < FEWEST_CELLS:
        cells = f"{len(frame)} cells with all test columns"
        raise MissingResultError(f"{ours.name} and {theirs.name} share {cells}; {FEWEST_CELLS} are needed")
    index = frame.index.to_numpy(np.int64)
    shared = {name: part.loc[index] for name, part in parts.items()}
    structure = next(iter(shared.values()))
    defaults = ours.metrics().query("metric == 'pgd_acc' and default and split == 'test'")["long_name"].tolist()
    seeds, runs = _read_runs(digits, dataset, index, measured)
    return Tables(
        index=index,
        digits={name: frame[name].to_numpy() for name in measured},
        runs=runs,
        seeds=seeds,
        targets={(name, column): shared[name][column].to_numpy() for name in wanted for column in wanted[name]},
        published=parts,
        baselines={name: structure[name].to_numpy(np.float64) for name in ("parameters", "flops")},
        headline=(defaults or measured)[0],
        names=(f"{ours.name} {ours.info.version}", f"{theirs.name} {theirs.info.version}"),
    )


def test_metrics(bench: nbr.Benchmark, dataset: str) -> list[str]:
    """Return the long names of what was measured on test images."""
    listed = bench.metrics()
    return listed.loc[(listed["dataset"] == dataset) & (listed["split"] == "test"), "long_name"].tolist()


def _read_runs(
    source: str | None, dataset: str, index: npt.NDArray[np.int64], measured: list[str]
) -> tuple[list[int], dict[str, Floats]]:
    """Return the seeds of a table, and by metric the values of single runs of these cells, shape (cells, seeds)."""
    rows = Reader(locate(source)).read(["index", "seed", *measured], dataset=dataset).to_pandas()
    rows = rows[rows["seed"].notna() & rows["index"].isin(index)]
    runs = rows.pivot(index="index", columns="seed", values=measured).reindex(index)
    seeds = sorted(map(int, rows["seed"].unique()))
    return seeds, {name: runs[name].to_numpy(np.float64) if seeds else np.empty((len(index), 0)) for name in measured}
