"""Every operation beside what a user would pick instead, in one run: ours, the best peer, and how many times as long.

The sides of a row take turns in one process, and their CPU time counts, with that of programs that they start: medians.
Peers that are not installed are left out by name: ``pip install '.[peers]'`` and, without what it asks for,
``pip install --no-deps torchattacks==3.5.1``. Run: ``python benchmarks/side_by_side.py [TABLE ...]``, the tables
being those of `TABLES`; ``--release`` says which release is asked and searched. Another table is a function of that
release and a folder for files, which yields rows.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peers import MISSING, Row, library
from table_processes import process_rows
from table_questions import question_rows
from table_searches import search_rows

import nasbench_robust as nbr
from nasbench_robust.cli.command import positive
from nasbench_robust.engines import provenance
from nasbench_robust.files import write_bytes

Table = Callable[[nbr.Benchmark, str, Path], Iterator[Row]]


def with_torch(name: str) -> Table:
    """Return a table of `table_engine`, which needs torch; the others do without."""

    def rows(bench: nbr.Benchmark, release: str, folder: Path) -> Iterator[Row]:
        if library("torch") is None:
            return iter(())
        import table_engine

        found: Iterator[Row] = getattr(table_engine, name)(bench, release, folder)
        return found

    return rows


TABLES: dict[str, Table] = {
    "processes": process_rows,
    "questions": question_rows,
    "searches": search_rows,
    "engine": with_torch("engine_rows"),
    "large": with_torch("large_rows"),
}
HEADING = "| operation | ours | best peer | ours / best peer | other peers |\n|---|---|---|---|---|"


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def agree(answer: Any, expected: Any, apart: float) -> bool:
    """Return whether two sides answer the same, as `Row` has it."""
    if not apart:
        return np.array_equal(answer, expected)
    return bool(np.abs(answer - expected).max() <= apart * np.abs(expected).max())


def measure(row: Row, repeats: int) -> dict[str, float]:
    """Return the median seconds of an operation by each side, after one unmeasured turn.

    Raises
    ------
    RuntimeError
        If sides that should answer the same do not.
    """
    answers = {name: side() for name, (side, _) in row.sides.items()}
    expected = answers["ours"]
    for name, answer in answers.items():
        if row.same and not agree(np.asarray(answer), np.asarray(expected), row.apart):
            raise RuntimeError(f"{row.operation}: {name} answers {answer}, ours {expected}")
    seconds: dict[str, list[float]] = {name: [] for name in row.sides}
    for _ in range(repeats):
        for name, (side, number) in row.sides.items():
            start = cpu_seconds()
            side()
            seconds[name].append((cpu_seconds() - start) / number)
    return {name: statistics.median(times) for name, times in seconds.items()}


def written(row: Row, seconds: dict[str, float]) -> str:
    """Return a line of the table."""
    ours, *peers = sorted(seconds.items(), key=lambda side: (side[0] != "ours", side[1]))
    texts = [f"{name} {_time(value)}" for name, value in peers]
    ratio = f"{ours[1] / peers[0][1]:.2f}" if peers else ""
    return f"| {row.operation} | {_time(ours[1])} | {texts[0] if peers else ''} | {ratio} | {', '.join(texts[1:])} |"


def _time(seconds: float) -> str:
    factor, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-4 else (1e6, "us")
    return f"{factor * seconds:.3g} {unit}"


def lines(tables: Iterable[str], release: str, repeats: int) -> Iterator[str]:
    """Yield what is printed: the machine, then table by table."""
    bench = nbr.load(release)
    turns = f"{repeats} turns (fewer of what takes seconds), CPU time"
    yield f"{bench.name} {bench.version}, {provenance.processor()}, numpy {np.__version__}, {turns}"
    with tempfile.TemporaryDirectory() as folder:
        for table in tables:
            yield f"\n{table}\n\n{HEADING}"
            for row in TABLES[table](bench, release, Path(folder)):
                yield written(row, measure(row, row.turns or repeats))
    if MISSING:
        yield f"\nnot installed, and left out: {', '.join(sorted(MISSING))}"


def table_name(text: str) -> str:
    """Read the name of a table: the type of an argument."""
    if text not in TABLES:
        raise argparse.ArgumentTypeError(f"{text}: expected one of {', '.join(TABLES)}")
    return text


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "tables", nargs="*", type=table_name, metavar="TABLE", help=f"{', '.join(TABLES)} (default: all)"
    )
    parser.add_argument("--release", default="digits", help="name of a release, or path of a table (default: digits)")
    parser.add_argument("--repeats", type=positive, default=9, help="turns of every side (default: 9)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the tables to a file too")
    args = parser.parse_args()
    printed = []
    for line in lines(args.tables or TABLES, args.release, args.repeats):
        print(line, flush=True)
        printed.append(line)
    if args.out:
        write_bytes(("\n".join(printed) + "\n").encode(), args.out)


if __name__ == "__main__":
    main()
