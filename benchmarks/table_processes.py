"""Whole processes: import, load and one question, and commands of the shell, beside programs that answer the same.

All are compiled before, as pip does it when it installs them.
"""

from __future__ import annotations

import compileall
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
    "json": "import json; page = json.load(open('PAGE')); entry = page['CELL']; "
    "print((page[entry] if isinstance(entry, str) else entry)[PLACE])",
    "pyarrow": "import pyarrow.parquet as pq; table = pq.ParquetFile('FLAT').read(['index', 'METRIC']); "
    "print(dict(zip(table['index'].to_pylist(), table['METRIC'].to_pylist()))[CELL])",
    "pandas": "import pandas as pd; print(pd.read_parquet('FLAT').set_index('index')['METRIC'][CELL])",
    "polars": "import polars as pl; "
    "print(pl.scan_parquet('FLAT').filter(pl.col('index') == CELL).select('METRIC').collect().item())",
    "duckdb": "import duckdb; "
    "print(duckdb.sql('''select \"METRIC\" from 'FLAT' where \"index\" = CELL''').fetchall()[0][0])",
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
    compileall.compile_dir(Path(nbr.__file__).parent, quiet=2)
    dataset = bench.datasets[0]
    metric = bench.lookup(CELL, dataset, "pgd_acc").metric
    bench.frame(dataset, cells="all").to_parquet(folder / "flat.parquet", index=False)
    place = write_page(bench, metric, folder / "page.json")
    facts = {"FLAT": folder / "flat.parquet", "PAGE": folder / "page.json", "CELL": CELL, "METRIC": metric}
    facts["PLACE"] = place

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


def write_page(bench: nbr.Benchmark, column: str, path: Path) -> int:
    """Write all values as the published page has them, and return where a metric of the first data set stands.

    A representative has a list of values, every other cell the index of its own.
    """
    asked = [(name, metric.column) for name in bench.datasets for metric in bench.measured(name)]
    rows = list(zip(*(bench.values(*question).tolist() for question in asked), strict=True))
    same = nbr.cells.representatives().tolist()
    page = {str(cell): rows[cell] if own == cell else str(own) for cell, own in enumerate(same)}
    path.write_text(json.dumps(page))
    return asked.index((bench.datasets[0], column))


def _process(*arguments: str) -> Side:
    """Return a side that runs Python and returns what it prints."""

    def run() -> str:
        done = subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return run, 1
