"""Cold start: a new process that imports the package, loads a table and asks one question, against the bare imports.

The peer is a process that only imports numpy and pyarrow.parquet, the two libraries under the table. Both are timed as
whole processes, in turns. Run: ``python benchmarks/cold_start.py`` for the digits table of the package, or with another
runs table (a file, a folder, the name of a release).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

BARE = "import numpy, pyarrow.parquet"
QUESTION = """
import nasbench_robust as nbr
bench = nbr.load({table!r})
bench.query({arch!r}, dataset={dataset!r}, metric="clean_acc")
"""
ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def process_seconds(program: str) -> float:
    """Return the wall-clock time of a new interpreter that runs `program`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start


def measure(table: str, dataset: str | None = None, repeats: int = 15) -> dict[str, list[float]]:
    """Time both processes in turns, after one unmeasured run of each, and return the seconds of every run."""
    programs = {"bare": BARE, "query": QUESTION.format(table=table, arch=ARCH, dataset=dataset)}
    for program in programs.values():
        process_seconds(program)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            seconds[name].append(process_seconds(program))
    return seconds


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", nargs="?", default="digits", help="a runs table or a release (default: digits)")
    parser.add_argument("--dataset", help="data set to ask for, where the table has several")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    seconds = measure(args.table, args.dataset, args.repeats)
    for name, label in (("bare", "import numpy, pyarrow.parquet"), ("query", "import, load, first query")):
        times = [1e3 * value for value in seconds[name]]
        print(f"{label:32} median {statistics.median(times):6.1f} ms   fastest {min(times):6.1f} ms")
    ratio = statistics.median(seconds["query"]) / statistics.median(seconds["bare"])
    print(f"ratio of the medians {ratio:.2f}, of the fastest {min(seconds['query']) / min(seconds['bare']):.2f}")


if __name__ == "__main__":
    main()
