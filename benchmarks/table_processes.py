"""Whole processes: import, load and one question, and commands of the shell, beside programs that answer the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from peers import Row, Side, library

import nasbench_robust as nbr

CELL = 9930
# What each peer runs: FLAT is a Parquet file with a row per cell, PAGE the values of all cells as JSON.
QUESTION = {
    "json": "import json; print(json.load(open('PAGE'))['CELL'][PLACE])",
    "pyarrow": "import pyarrow.parquet as pq; table = pq.read_table('FLAT', columns=['index', 'METRIC']); "
    "print(table['METRIC'].to_numpy()[table['index'].to_numpy() == CELL][0])",
    "pandas": "import pandas as pd; print(pd.read_parquet('FLAT').set_index('index')['METRIC'][CELL])",
    "polars": "import polars as pl; "
    "print(pl.scan_parquet('FLAT').filter(pl.col('index') == CELL).select('METRIC').collect().item())",
    "duckdb": "import duckdb; print(duckdb.sql('''select \"METRIC\" from 'FLAT' where \"index\" = CELL''').fetchall()[0][0])",
}
BEST = {
    "pandas": "import pandas as pd; print(pd.read_parquet('FLAT').nlargest(10, 'METRIC'))",
    "polars": "import polars as pl; print(pl.scan_parquet('FLAT').top_k(10, by='METRIC').collect())",
    "duckdb": "import duckdb; print(duckdb.sql('''select * from 'FLAT' order by \"METRIC\" desc limit 10'''))",
}
EXPORT = {
    "pandas": "import pandas as pd, sys; pd.read_parquet('FLAT').to_csv(sys.stdout, index=False)",
    "polars": "import polars as pl; print(pl.read_parquet('FLAT').write_csv())",
    "duckdb": "import duckdb; duckdb.sql('''copy (select * from 'FLAT') to '/dev/stdout' (format csv)''')",
}


def process_rows(bench: nbr.Benchmark, release: str, folder: Path) -> Iterator[Row]:
    """Yield the rows; peers read what they need of the first data set, and no more."""
    dataset = bench.datasets[0]
    columns = [metric.column for metric in bench.measured(dataset)]
    frame = bench.frame(dataset, cells="all")
    metric = bench.lookup(CELL, dataset, "pgd_acc").metric
    frame.to_parquet(folder / "flat.parquet", index=False)
    page = dict(zip(map(str, range(len(frame))), frame[columns].to_numpy().tolist(), strict=True))
    (folder / "page.json").write_text(json.dumps(page))
    facts = {"FLAT": folder / "flat.parquet", "PAGE": folder / "page.json", "CELL": CELL, "METRIC": metric}
    facts["PLACE"] = columns.index(metric)

    def sides(*ours: str, **programs: str) -> dict[str, Side]:
        found = {"ours": _process(*ours)}
        for name, program in programs.items():
            if name == "json" or library(name):
                for word, fact in facts.items():
                    program = program.replace(word, str(fact))
                found[name] = _process("-c", program)
        return found

    import_load_query = (
        f"import nasbench_robust as nbr; print(nbr.load({release!r}).query({CELL}, {dataset!r}, 'pgd_acc'))"
    )
    asked = ("-r", release, "-d", dataset)
    command = ("-m", "nasbench_robust")
    yield Row("import, load, one `query`", sides("-c", import_load_query, **QUESTION))
    yield Row("`nasbench-robust query`", sides(*command, "query", str(CELL), *asked, "-m", "pgd_acc", **QUESTION))
    yield Row("`nasbench-robust best`", sides(*command, "best", *asked, "-m", "pgd_acc", **BEST), same=False)
    yield Row("`nasbench-robust validate`", sides(*command, "validate", release), same=False)
    yield Row("`nasbench-robust export`", sides(*command, "export", *asked, "--cells", "all", **EXPORT), same=False)


def _process(*arguments: str) -> Side:
    """Return a side that runs Python and returns what it prints."""

    def run() -> str:
        done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return run, 1
