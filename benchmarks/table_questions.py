"""Questions in a process that has loaded the table: beside dictionaries, NumPy, pandas, polars and duckdb."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from peers import Row, library

import nasbench_robust as nbr

SIZE = nbr.cells.SIZE


def question_rows(bench: nbr.Benchmark, _: str, folder: Path) -> Iterator[Row]:
    """Yield the rows; peers have the first data set of the table in memory, by their own means."""
    yield from _single_answers(bench)
    yield from _whole_tables(bench, folder)
    yield from _selections(bench)


def _single_answers(bench: nbr.Benchmark) -> Iterator[Row]:
    dataset, frame = bench.datasets[0], bench.frame(bench.datasets[0], ["pgd_acc"], cells="all")
    strings, values = frame["arch"].tolist(), frame["pgd_acc"].tolist()
    attack = bench.lookup(0, dataset, "pgd_acc").attack
    eps, indices, few = attack.eps if attack else None, range(SIZE), range(0, SIZE, 50)
    # The published page: values in a list by the index of the representative, as text.
    same, page = nbr.cells.representatives(), {str(index): [0.0, value] for index, value in enumerate(values)}
    by_index = [{dataset: {"pgd_acc": value}} for value in values]
    by_string = dict(zip(strings, by_index, strict=True))
    series = frame.set_index("arch")["pgd_acc"]

    for text, more in (("`query(index)`", {}), ("`query(index, eps=)`", {"eps": eps})):
        yield Row(
            text,
            {
                "ours": (lambda more=more: [bench.query(index, dataset, "pgd_acc", **more) for index in indices], SIZE),
                "dictionary of the page": (lambda: [page[str(same[index])][1] for index in indices], SIZE),
                "nested dictionaries in a list": (lambda: [by_index[i][dataset]["pgd_acc"] for i in indices], SIZE),
            },
        )
    yield Row(
        "`query(string)`",
        {
            "ours": (lambda: [bench.query(arch, dataset, "pgd_acc") for arch in strings], SIZE),
            "nested dictionaries": (lambda: [by_string[arch][dataset]["pgd_acc"] for arch in strings], SIZE),
        },
    )
    yield Row(
        "`query_many` of all strings",
        {
            "ours": (lambda: bench.query_many(strings, dataset, "pgd_acc"), 1),
            "nested dictionaries": (lambda: np.array([by_string[arch][dataset]["pgd_acc"] for arch in strings]), 1),
            "pandas": (lambda: series.reindex(strings).to_numpy(), 1),
        },
    )
    yield Row(
        "`lookup`: a value with its facts",
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
            "ours": (lambda cells=cells: len(bench.frame(cells=cells)), 1),
            "pandas, of a file with these columns": (lambda path=path: len(pd.read_parquet(path)), 1),
        }
        if polars:
            sides["polars, of the same file"] = (lambda path=path: len(polars.read_parquet(path)), 1)
        yield Row(text, sides)


def _selections(bench: nbr.Benchmark) -> Iterator[Row]:
    polars, duckdb = library("polars"), library("duckdb")
    dataset, metrics = bench.datasets[0], ("clean_acc", "pgd_acc")
    frame = bench.frame(dataset, metrics)
    sides = {
        "ours": (lambda: bench.best(dataset, "pgd_acc", 10)["pgd_acc"].tolist(), 1),
        "pandas": (lambda: frame.nlargest(10, "pgd_acc")["pgd_acc"].tolist(), 1),
    }
    if polars:
        columns = polars.DataFrame({name: frame[name].tolist() for name in frame})
        sides["polars"] = (lambda: columns.top_k(10, by="pgd_acc")["pgd_acc"].to_list(), 1)
    if duckdb:
        connection = duckdb.connect()
        connection.register("frame", bench.arrow(dataset, metrics))
        connection.execute("set threads = 1; create table cells as select * from frame")
        question = "select * from cells order by pgd_acc desc limit 10"
        sides["duckdb"] = (lambda: [row[-1] for row in connection.execute(question).fetchall()], 1)
    yield Row("`best(k=10)`", sides)

    clean, robust = (frame[name].to_numpy() for name in metrics)

    def front() -> list[int]:
        order = np.lexsort((-robust, -clean))
        above = np.maximum.accumulate(robust[order])
        return frame.iloc[order[np.append(True, robust[order][1:] > above[:-1])]]["index"].tolist()

    yield Row(
        "`pareto()`", {"ours": (lambda: bench.pareto(dataset, metrics)["index"].tolist(), 1), "NumPy": (front, 1)}
    )
