"""Searches of 150 queries in a table: beside plain loops on a dictionary, with their own random numbers, and pymoo."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from peers import Row, library

import nasbench_robust as nbr
from nasbench_robust.cells import OPERATIONS
from nasbench_robust.search.tabular import (
    NSGA2,
    Budget,
    LocalSearch,
    RandomSearch,
    RegularisedEvolution,
    Reinforce,
    TableProblem,
    repeat,
)

QUERIES, SEARCHES = 150, 100
History = list[tuple[str, float]]


def search_rows(bench: nbr.Benchmark, _: str, __: Path) -> Iterator[Row]:
    """Yield a row per method; a side is many searches, and its time that of one."""
    split = (
        "validation" if any("#validation" in metric.column for metric in bench.measured(bench.datasets[0])) else "test"
    )
    problem = TableProblem(bench, "pgd_acc", bench.datasets[0], split=split)
    strings = [str(nbr.Cell.from_index(index)) for index in range(nbr.cells.SIZE)]
    table = dict(zip(strings, problem.values[:, 0].tolist(), strict=True))
    same = dict(zip(strings, nbr.cells.representatives().tolist(), strict=True))
    for text, method, plain in (
        ("random search", RandomSearch, lambda: plain_random(table)),
        ("regularised evolution", RegularisedEvolution, lambda: plain_evolution(table)),
        ("local search", LocalSearch, lambda: plain_local(table, same)),
        ("REINFORCE", Reinforce, lambda: plain_reinforce(table)),
    ):
        sides = {
            "ours": (lambda method=method: repeat(problem, method, Budget(queries=QUERIES), repeats=1000), 1000),
            "plain loop": (lambda plain=plain: [plain() for _ in range(SEARCHES)], SEARCHES),
        }
        yield Row(f"{text}, {QUERIES} queries", sides, same=False)
    both = TableProblem(bench, ("clean_acc", "pgd_acc"), bench.datasets[0], split=split)
    for population, queries in ((20, 300), (100, 2000)):
        budget = Budget(queries=queries)

        def ours(population: int = population, budget: Budget = budget) -> Any:
            return repeat(both, lambda rng: NSGA2(rng, population=population), budget, repeats=3)

        sides = {"ours": (ours, 3)}
        if (theirs := _pymoo(both.values, population, queries)) is not None:
            sides["pymoo"] = (theirs, 1)
        yield Row(f"NSGA-II, {population} members, {queries:,} queries", sides, same=False)


# ---------------------------------------------------------------------- plain loops, as a user would write them


def written(operations: list[str]) -> str:
    """Return the string of a cell."""
    a, b, c, d, e, f = operations
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def drawn() -> list[str]:
    """Return the operations of a random cell."""
    return [random.choice(OPERATIONS) for _ in range(6)]


def plain_random(table: dict[str, float]) -> History:
    """Return cells at random."""
    history = []
    for _ in range(QUERIES):
        arch = written(drawn())
        history.append((arch, table[arch]))
    return history


def plain_evolution(table: dict[str, float], population: int = 30, sample: int = 10) -> History:
    """Mutate the best of a sample of the youngest."""
    history: History = []
    members: deque[tuple[float, list[str]]] = deque(maxlen=population)
    while len(history) < QUERIES:
        if len(history) < population:
            cell = drawn()
        else:
            cell = list(max((members[random.randrange(population)] for _ in range(sample)), key=lambda one: one[0])[1])
            edge = random.randrange(6)
            cell[edge] = random.choice([operation for operation in OPERATIONS if operation != cell[edge]])
        arch = written(cell)
        history.append((arch, table[arch]))
        members.append((table[arch], cell))
    return history


def plain_local(table: dict[str, float], same: dict[str, int], initial: int = 10) -> History:
    """Climb from the best of some cells to the first better neighbour, and remember which classes are known."""
    history: History = []
    known: dict[int, float] = {}

    def ask(cell: list[str]) -> float:
        arch = written(cell)
        if same[arch] not in known:
            known[same[arch]] = table[arch]
            history.append((arch, table[arch]))
        return known[same[arch]]

    while len(history) < QUERIES:
        starts = [drawn() for _ in range(initial)]
        best, here = max(((ask(cell), cell) for cell in starts), key=lambda one: one[0])
        improved = True
        while improved and len(history) < QUERIES:
            improved = False
            near = [(edge, other) for edge in range(6) for other in OPERATIONS if other != here[edge]]
            random.shuffle(near)
            for edge, other in near:
                cell = [*here[:edge], other, *here[edge + 1 :]]
                if ask(cell) > best:
                    best, here, improved = ask(cell), cell, True
                    break
    return history[:QUERIES]


def plain_reinforce(table: dict[str, float], rate: float = 0.01, momentum: float = 0.9) -> History:
    """Move a softmax an edge along its gradient by Adam."""
    rng, history, average = np.random.default_rng(), [], 0.0
    logits = 1e-3 * rng.standard_normal((6, 5))
    first, second = np.zeros((6, 5)), np.zeros((6, 5))
    for step in range(1, QUERIES + 1):
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        codes = (shares.cumsum(axis=1)[:, :-1] < rng.random((6, 1))).sum(axis=1)
        arch = written([OPERATIONS[code] for code in codes])
        history.append((arch, table[arch]))
        average = momentum * average + (1 - momentum) * table[arch]
        gradient = -shares
        gradient[np.arange(6), codes] += 1
        gradient *= table[arch] - average / (1 - momentum**step)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        logits = logits + rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return history


def _pymoo(values: np.ndarray, population: int, queries: int) -> Callable[[], Any] | None:
    if library("pymoo") is None:
        return None
    from pymoo.algorithms.moo.nsga2 import NSGA2 as PYMOO
    from pymoo.core.problem import Problem
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.pm import PolynomialMutation
    from pymoo.operators.repair.rounding import RoundingRepair
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    index_of = {tuple(codes): index for index, codes in enumerate(nbr.cells.opcodes().tolist())}

    class Table(Problem):
        def __init__(self) -> None:
            super().__init__(n_var=6, n_obj=2, xl=0, xu=4, vtype=int)

        def _evaluate(self, x: Any, out: Any, *_: Any, **__: Any) -> None:
            out["F"] = -values[[index_of[tuple(row)] for row in x.astype(int).tolist()]]

    def search() -> Any:
        method = PYMOO(
            pop_size=population,
            sampling=IntegerRandomSampling(),
            crossover=UniformCrossover(prob=0.9, repair=RoundingRepair()),
            mutation=PolynomialMutation(prob=1 / 6, repair=RoundingRepair()),
            eliminate_duplicates=False,
        )
        return minimize(Table(), method, ("n_gen", queries // population), seed=1, verbose=False)

    return search
