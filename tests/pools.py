"""A table, a search and an error in a pool of processes: `python pools.py fork`.

A program, since a process that is forked from one with threads, as a runner of tests is, may wait for ever.
"""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np

import nasbench_robust as nbr
from nasbench_robust.search import Budget, RandomSearch, TableProblem, Trajectory, run


def ask(bench: nbr.Benchmark, index: int) -> float:
    return bench.query(index, metric="pgd_acc")


def search(problem: TableProblem) -> Trajectory:
    return run(problem, RandomSearch(np.random.default_rng(0)), Budget(queries=5))


def ask_anew(index: int) -> float:
    return ask(nbr.load(), index)


def main(start: str) -> None:
    bench = nbr.load()
    problem = TableProblem(bench, ("clean_acc", "pgd_acc"))
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(1, context) as pool:
        assert list(pool.map(ask, [bench] * 3, range(3))) == [ask(bench, index) for index in range(3)]
        assert pool.submit(search, problem).result() == search(problem)
    with context.Pool(1) as pool:  # waits for ever for an error that cannot be unpickled
        try:
            pool.map(ask_anew, [9930, 15625])
        except nbr.errors.InvalidCellError as error:
            print(error.given, error)


if __name__ == "__main__":
    main(sys.argv[1])
