"""Searches side by side are the searches that their objects make one after the other, to the last bit."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.random import default_rng

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError, MissingResultError
from nasbench_robust.search import (
    Budget,
    LocalSearch,
    RandomSearch,
    RegularisedEvolution,
    Reinforce,
    TableProblem,
    repeat,
    run,
)
from nasbench_robust.search.tabular import simulation
from nasbench_robust.search.tabular.by_index import draw, index_of, mutants

METHODS = {
    "random": RandomSearch,
    "evolution": RegularisedEvolution,
    "evolution of a few": partial(RegularisedEvolution, population=4, sample=2),
    "evolution of one": partial(RegularisedEvolution, population=1, sample=1),
    "evolution of many": partial(RegularisedEvolution, population=500),
    "REINFORCE": Reinforce,
    "REINFORCE, fast": partial(Reinforce, learning_rate=0.3, momentum=0.0),
    "local search": LocalSearch,
    "local search, all neighbours": partial(LocalSearch, initial=1, first_improvement=False),
    "local search, once": partial(LocalSearch, restart=False),
}


@pytest.mark.parametrize("queries", [1, 7, 150])
@pytest.mark.parametrize("name", METHODS)
def test_searches_side_by_side_are_those_one_by_one(problem, name, queries, monkeypatch):
    monkeypatch.setattr(simulation, "MOST_AT_ONCE", 4 * queries)  # several groups
    searches = repeat(problem, METHODS[name], Budget(queries=queries), repeats=10, seed=5).trajectories
    for number, search in enumerate(searches):
        rng = default_rng([5, number])
        alone = run(problem, METHODS[name](rng), Budget(queries=queries), rng=rng)
        np.testing.assert_array_equal(search.index, alone.index)
        np.testing.assert_array_equal(search.values, alone.values)
        assert (search.index.dtype, search.values.dtype) == (alone.index.dtype, alone.values.dtype)


def test_searches_are_side_by_side_where_a_query_is_a_look_up(problem, monkeypatch):
    made = []
    monkeypatch.setattr(simulation, "run", lambda *arguments, **_: made.append(arguments) or run(*arguments))
    repeat(problem, RandomSearch, Budget(queries=3), repeats=4)
    assert made == []
    repeat(problem, RandomSearch, Budget(queries=3, charge_repeats=False), repeats=2)
    repeat(problem, RandomSearch, Budget(seconds=5.0), repeats=2)
    assert len(made) == 4


class Backwards(RandomSearch):
    """Asks for other cells than its base."""

    def ask_index(self):
        return cells.SIZE - 1 - super().ask_index()


class Named(RandomSearch):
    """Asks by a string."""

    def ask(self):
        return str(super().ask())


@pytest.mark.parametrize("kind", [Backwards, Named])
def test_a_class_derived_from_one_is_asked_its_own_questions(problem, kind):
    (search,) = repeat(problem, kind, Budget(queries=20), repeats=1).trajectories
    (plain,) = repeat(problem, RandomSearch, Budget(queries=20), repeats=1).trajectories
    expected = cells.SIZE - 1 - plain.index if kind is Backwards else plain.index
    np.testing.assert_array_equal(search.index, expected)


def test_wrong_settings_are_refused_side_by_side_too(problem):
    for method in (
        partial(RegularisedEvolution, sample=0),
        partial(Reinforce, momentum=1),
        partial(LocalSearch, initial=0),
    ):
        with pytest.raises(InvalidValueError):
            repeat(problem, method, Budget(queries=3), repeats=2)


def test_a_table_with_gaps_says_what_it_lacks(bench):
    gaps = TableProblem(bench, "clean_acc", "cifar10", split="test")
    gaps.values = np.where(np.arange(cells.SIZE)[:, None] % 2, gaps.values, np.nan)
    gaps.raise_missing = lambda cell: (_ for _ in ()).throw(MissingResultError(f"nothing of {cell.index}"))
    with pytest.raises(MissingResultError, match="nothing of"):
        repeat(gaps, RandomSearch, Budget(queries=50), repeats=1)


@pytest.mark.parametrize("search", [LocalSearch, partial(LocalSearch, first_improvement=False)])
def test_local_search_ends_where_no_class_is_left(problem, search):
    (searched,) = repeat(problem, search, Budget(queries=10**5), repeats=1).trajectories
    assert sorted(cells.representatives()[searched.index].tolist()) == np.unique(cells.representatives()).tolist()
    alone = run(problem, search(default_rng([0, 0])), Budget(queries=10**5))
    np.testing.assert_array_equal(alone.index, searched.index)


def test_drawn_at_once_is_what_is_drawn_one_by_one():
    bounds = [15_625, 1, 30, 24, 2, 2**31 + 1, 3 * 2**30, 7] * 9  # of the large ones many a draw is repeated
    drawn = draw([default_rng([1, number]) for number in range(200)], bounds)
    expected = []
    for number in range(200):
        rng = default_rng([1, number])
        expected.append([int(rng.integers(bound)) for bound in bounds])
    np.testing.assert_array_equal(drawn, expected)


def test_a_mutant_is_what_a_cell_makes_with_the_same_draw():
    for seed, index in enumerate(range(0, cells.SIZE, 41)):
        number = int(default_rng(seed).integers(24))
        assert mutants()[index, number] == Cell.from_index(index).mutate(default_rng(seed)).index


def test_operations_name_their_cell():
    np.testing.assert_array_equal(index_of(cells.opcodes()), np.arange(cells.SIZE))
