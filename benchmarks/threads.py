"""Ask fresh benchmarks of all releases from many threads at once, and compare every answer with those of one thread.

Usage: python benchmarks/threads.py [--threads 200] [--rounds 100] [--releases digits nas-robbench-201 ...]
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nasbench_robust as nbr
from nasbench_robust.cli.command import positive
from nasbench_robust.registry import release_names

Question = Callable[[nbr.Benchmark], Any]


def questions(bench: nbr.Benchmark) -> list[Question]:
    """Return questions of every kind, such that all columns of the table are read."""
    asked: list[Question] = [lambda bench: bench.metrics(), lambda bench: bench.frame(cells="connected")]
    for dataset in bench.datasets:
        for metric in bench.measured(dataset):
            name = metric.column
            asked += [
                lambda bench, d=dataset, m=name: bench.query(9930, d, m),
                lambda bench, d=dataset, m=name: bench.query_many(range(0, 15_625, 99), d, m),
                lambda bench, d=dataset, m=name: bench.values(d, m),
                lambda bench, d=dataset, m=name: bench.lookup(1234, d, m),
            ]
        asked.append(lambda bench, d=dataset: bench.values(d, "train_seconds"))
    return asked


def same(one: Any, other: Any) -> bool:
    """Return whether two answers are equal."""
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other)


def ask_together(open_bench: Callable[[], nbr.Benchmark], threads: int, rounds: int) -> list[str]:
    """Return what went wrong when threads asked a fresh benchmark, all at the same moment, round after round."""
    asked = questions(open_bench())
    expected = [question(open_bench()) for question in asked]
    faults: list[str] = []

    def ask(bench: nbr.Benchmark, start: threading.Barrier, number: int) -> None:
        start.wait()
        try:
            if not same(asked[number % len(asked)](bench), expected[number % len(asked)]):
                faults.append(f"question {number % len(asked)}: another answer")
        except Exception as error:  # whatever it is, it is what is looked for
            faults.append(f"question {number % len(asked)}: {type(error).__name__}: {error}")

    for number in range(rounds):
        bench, start = open_bench(), threading.Barrier(threads)
        workers = [threading.Thread(target=ask, args=(bench, start, number + place)) for place in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Print faults and time of each release; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=positive, default=200, help="(default: 200)")
    parser.add_argument("--rounds", type=positive, default=100, help="fresh benchmarks of each release (default: 100)")
    parser.add_argument("--releases", nargs="+", default=release_names(), help="names or paths (default: all)")
    args = parser.parse_args(arguments)
    wrong = 0
    for release in args.releases:
        began = time.perf_counter()
        faults = ask_together(lambda name=release: nbr.load(name), args.threads, args.rounds)
        seconds = time.perf_counter() - began
        print(f"{release}: {args.threads} threads x {args.rounds} rounds, {len(faults)} faults, {seconds:.0f} s")
        print("\n".join(faults[:5]), end="\n" if faults else "")
        wrong += len(faults)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
