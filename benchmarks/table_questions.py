"""Questions in a process that has loaded the table: beside dictionaries, NumPy, pandas, polars and duckdb.

Peers answer poorer questions where a line says nothing else: of a data set and of metrics that were chosen before, from
means that were made before; dictionaries refuse what is no key, and neither odd values nor cells without a result.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peers import Row, Side, library

import nasbench_robust as nbr

SIZE, TIMES = nbr.cells.SIZE, 100  # so often is called what takes milliseconds or less


def question_rows(bench: nbr.Benchmark, _: str, folder: Path) -> Iterator[Row]:
    """Yield the rows; peers have the first data set of the table in memory, by their own means."""
    yield from _whole_tables(bench, folder)  # the large ones first, before the heap is in pieces
    yield from _selections(bench)
    yield from _single_answers(bench)


def often(question: Callable[[], Any]) -> Side:
    """Return a side that asks a question many times."""
    return lambda: [question() for _ in range(TIMES)], TIMES


def _single_answers(bench: nbr.Benchmark) -> Iterator[Row]:
    for text, cells in (("", random.Random(0).sample(range(SIZE), SIZE)), (", in the order of the cells", range(SIZE))):
        yield from _asked(bench, text, cells)


def _asked(bench: nbr.Benchmark, order: str, cells: Sequence[int]) -> Iterator[Row]:
    """Yield questions about all cells; what lies in memory one behind the other is found faster in that order."""
    dataset, frame = bench.datasets[0], bench.frame(bench.datasets[0], ["pgd_acc"], cells="all")
    strings, values = [str(nbr.Cell.from_index(index)) for index in cells], frame["pgd_acc"].tolist()
    attack = bench.lookup(0, dataset, "pgd_acc").attack
    eps, few = attack.eps if attack else None, cells[::50]
    # As on the published page: a representative has its values, every other cell the index of its own.
    own = nbr.cells.representatives().tolist()
    page = {str(cell): [values[cell]] if cell == same else str(same) for cell, same in enumerate(own)}

    def on_page(index: int) -> float:
        entry = page[str(index)]
        return page[entry][0] if isinstance(entry, str) else entry[0]

    by_index = [{dataset: {"pgd_acc": value}} for value in values]
    by_string = dict(zip(frame["arch"].tolist(), by_index, strict=True))
    series = frame.set_index("arch")["pgd_acc"]

    peers: dict[str, Side] = {
        "dictionary of the page": (lambda: [on_page(index) for index in cells], SIZE),
        "nested dictionaries in a list": (lambda: [by_index[i][dataset]["pgd_acc"] for i in cells], SIZE),
    }
    asked: dict[str, Side] = {
        "`query(index)`": (lambda: [bench.query(index, dataset, "pgd_acc") for index in cells], SIZE),
        "`query(index, eps=)`": (lambda: [bench.query(index, dataset, "pgd_acc", eps=eps) for index in cells], SIZE),
    }
    yield from (Row(text + order, {"ours": ours, **peers}) for text, ours in asked.items())
    yield Row(
        f"`query(string)`{order}",
        {
            "ours": (lambda: [bench.query(arch, dataset, "pgd_acc") for arch in strings], SIZE),
            "nested dictionaries": (lambda: [by_string[arch][dataset]["pgd_acc"] for arch in strings], SIZE),
        },
    )
    yield Row(
        f"`query_many` of all strings{order}",
        {
            "ours": often(lambda: bench.query_many(strings, dataset, "pgd_acc")),
            "nested dictionaries": often(lambda: np.array([by_string[arch][dataset]["pgd_acc"] for arch in strings])),
            "pandas": often(lambda: series.reindex(strings).to_numpy()),
        },
    )
    yield Row(
        f"`lookup`: a value with its facts{order}",
        {
            "ours": (lambda: [bench.lookup(index, dataset, "pgd_acc").value for index in few], len(few)),
            "pandas": (lambda: [frame.loc[index]["pgd_acc"] for index in few], len(few)),
        },
    )


def _whole_tables(bench: nbr.Benchmark, folder: Path) -> Iterator[Row]:
    polars = library("polars")
    for text, cells in (("`frame()`", "representatives"), ('`frame(cells="all")`', "all")):
        path = folder / f"{cells}.parquet"
        bench.frame(cells=cells).to_parquet(path, index=False)
        sides = {
            "ours": often(lambda cells=cells: len(bench.frame(cells=cells))),
            "pandas, of a file with these columns": often(lambda path=path: len(pd.read_parquet(path))),
        }
        if polars:
            sides["polars, of the same file"] = often(lambda path=path: len(polars.read_parquet(path)))
        yield Row(text, sides)


def _selections(bench: nbr.Benchmark) -> Iterator[Row]:
    polars, duckdb = library("polars"), library("duckdb")
    dataset, metrics = bench.datasets[0], ("clean_acc", "pgd_acc")
    frame = bench.frame(dataset, metrics)
    sides = {
        "ours": often(lambda: bench.best(dataset, "pgd_acc", 10)["pgd_acc"].tolist()),
        "pandas": often(lambda: frame.nlargest(10, "pgd_acc")["pgd_acc"].tolist()),
    }
    if polars:
        columns = polars.DataFrame({name: frame[name].tolist() for name in frame})
        sides["polars"] = often(lambda: columns.top_k(10, by="pgd_acc")["pgd_acc"].to_list())
    if duckdb:
        connection = duckdb.connect()
        connection.register("frame", bench.arrow(dataset, metrics))
        connection.execute("set threads = 1; create table cells as select * from frame")
        question = "select * from cells order by pgd_acc desc limit 10"
        sides["duckdb"] = often(lambda: [row[-1] for row in connection.execute(question).fetchall()])
    yield Row("`best(k=10)`", sides)

    clean, robust = (frame[name].to_numpy() for name in metrics)

    def front() -> list[int]:
        order = np.lexsort((-robust, -clean))
        above = np.maximum.accumulate(robust[order])
        return frame.iloc[order[np.append(True, robust[order][1:] > above[:-1])]]["index"].tolist()

    yield Row(
        "`pareto()`", {"ours": often(lambda: bench.pareto(dataset, metrics)["index"].tolist()), "NumPy": often(front)}
    )
