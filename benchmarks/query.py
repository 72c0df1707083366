"""Warm queries: one cell, all cells and the whole table, against a dictionary of dictionaries with the same values.

The peer is what one would write without the package: the values as JSON, parsed into a dictionary by architecture
string, data set and metric. It is made from the same table and timed in the same process, in turns. Its data frame has
the values alone; ours has the facts about every cell beside them. Run:
``python benchmarks/query.py TABLE`` with a runs table (a file or a folder), for example what
``nasbench-robust download`` made.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

import nasbench_robust as nbr

MICRO, MILLI = (1e6, "us"), (1e3, "ms")
Peer = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Timing:
    """Seconds of one kind of question, the fastest of all repeats: ours and the peer's."""

    label: str
    ours: float
    peer: float
    unit: tuple[float, str]

    def __str__(self) -> str:
        factor, name = self.unit
        ours, peer = (f"{factor * seconds:9.3f} {name}" for seconds in (self.ours, self.peer))
        return f"{self.label:36} {ours}   dictionary {peer}   ratio {self.ours / self.peer:6.2f}"


def fastest(functions: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Time functions in turns, after one unmeasured call of each, and return the least seconds of each."""
    for function in functions:
        function()
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [min(times) for times in seconds]


def make_peer(bench: nbr.Benchmark) -> Peer:
    """Return every value of the table by architecture string, data set and metric, by way of JSON."""
    content: Peer = {}
    metrics = bench.metrics()
    for name in bench.datasets:
        columns = metrics.loc[(metrics["dataset"] == name) & (metrics["split"] == "test"), "long_name"].tolist()
        frame = bench.frame(name, columns, cells="all")
        for arch, *values in frame[["arch", *columns]].itertuples(index=False):
            content.setdefault(arch, {})[name] = dict(zip(columns, values, strict=True))
    peer: Peer = json.loads(json.dumps(content))
    return peer


def measure(table: str, dataset: str | None = None, metric: str = "clean_acc", repeats: int = 15) -> list[Timing]:
    """Time every kind of question, and check that both sides give the same answers.

    Parameters
    ----------
    table : str
        A runs table that has the metric for all cells: a file or a folder.
    dataset, metric : str
        What is asked for; by default the first data set of the table.
    repeats : int
        How often everything is timed.
    """
    bench = nbr.load(table)
    dataset = dataset or bench.datasets[0]
    peer = make_peer(bench)
    column = bench.lookup(0, dataset, metric).metric
    strings = list(peer)
    cells = [nbr.Cell.from_str(string) for string in strings]
    indices = [cell.index for cell in cells]
    by_index = {nbr.Cell.from_str(string).index: entry for string, entry in peer.items()}

    def query_each() -> list[float]:
        return [bench.query(string, dataset, metric) for string in strings]

    def peer_each() -> list[float]:
        return [peer[string][dataset][column] for string in strings]

    def peer_by_index() -> list[float]:
        return [by_index[index][dataset][column] for index in indices]

    def peer_by_cell() -> list[float]:
        return [peer[str(cell)][dataset][column] for cell in cells]

    def peer_frame() -> pd.DataFrame:
        rows = [
            {"dataset": name, "arch": arch, **entry[name]} for name in bench.datasets for arch, entry in peer.items()
        ]
        return pd.DataFrame(rows)

    if not query_each() == bench.query_many(indices, dataset, metric).tolist() == peer_each():
        raise RuntimeError("the dictionary does not hold the values of the table")
    each = [seconds / len(strings) for seconds in fastest([query_each, peer_each], repeats)]
    timings = [Timing("query(string)", *each, MICRO)]
    for form, archs, peers in (
        ("strings", strings, peer_each),
        ("indices", indices, peer_by_index),
        ("Cells", cells, peer_by_cell),
    ):
        both = fastest([lambda archs=archs: bench.query_many(archs, dataset, metric), peers], repeats)
        timings.append(Timing(f"query_many({len(archs):,} {form})", *both, MILLI))
    both = fastest([lambda: bench.frame(cells="all"), peer_frame], max(1, repeats // 5))
    return [*timings, Timing("frame() of everything", *both, MILLI)]


def main() -> None:
    """Print the times of both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", help="a runs table: a Parquet file or a folder")
    parser.add_argument("--dataset", help="data set to ask for; default: the first of the table")
    parser.add_argument("--metric", default="clean_acc", help="metric to ask for; default: clean_acc")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    for timing in measure(args.table, args.dataset, args.metric, args.repeats):
        print(timing)


if __name__ == "__main__":
    main()
