"""Public objects travel: every class pickles, copies, shows itself in a line and keeps its arrays to itself."""

from __future__ import annotations

import collections
import copy
import json
import pickle
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from processes import PATIENCE, run_python

import nasbench_robust as nbr
from nasbench_robust.arrays import Record, same
from nasbench_robust.search import Budget, LocalSearch, RandomSearch, TableProblem, repeat

torch = pytest.importorskip("torch")
from public_objects import examples, public_classes

WITHOUT_EXAMPLE = {
    "Signals",
    "Checkpoint",
    "Settings",
    "AdversarialSettings",
}  # handlers of a process; bases of settings
WAYS = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "cloudpickle": lambda value: pickle.loads(pytest.importorskip("cloudpickle").dumps(value)),
}


@pytest.fixture(scope="module")
def objects() -> dict[type, Any]:
    return examples()


def alike(one: Any, other: Any) -> bool:
    """Return whether two objects are in one state, generators, modules and attributes included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.random.Generator):
        return one.bit_generator.state == other.bit_generator.state
    if isinstance(one, np.random.BitGenerator):
        return one.state == other.state
    if isinstance(one, torch.Generator):
        return torch.equal(one.get_state(), other.get_state())
    if isinstance(one, torch.nn.Module):
        return same(dict(one.state_dict()), dict(other.state_dict()))
    if isinstance(one, torch.optim.Optimizer):
        return alike(one.state_dict(), other.state_dict())
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(alike, one, other))
    if type(one).__eq__ is object.__eq__ and type(one).__module__.startswith("nasbench_robust"):
        return all(alike(value, vars(other)[name]) for name, value in vars(one).items() if name[0] != "_")
    return callable(one) or type(one).__eq__ is object.__eq__ or same(one, other)


def test_every_public_class_has_an_example(objects):
    assert {kind.__name__ for kind in public_classes() if kind not in objects} == WITHOUT_EXAMPLE


@pytest.mark.parametrize("way", WAYS)
def test_every_public_object_travels(objects, way):
    for kind, value in objects.items():
        again = WAYS[way](value)
        assert alike(value, again), kind
        if is_dataclass(value) or isinstance(value, (nbr.Cell, nbr.Benchmark, TableProblem, nbr.table.Reader)):
            assert again == value, kind


def test_public_objects_of_one_value_are_equal_and_of_another_are_not(objects):
    images = objects[nbr.images.Images]
    assert images.test == images.test[:]
    assert images.test != images.test[:5]
    assert images != images.arrays()
    assert objects[TableProblem] == TableProblem(nbr.load(), "pgd_acc")
    assert objects[TableProblem] != TableProblem(nbr.load(), "clean_acc")
    assert nbr.load() == nbr.load() != objects[TableProblem]


def test_every_public_object_shows_itself_in_a_line(objects):
    for kind, value in objects.items():
        if not isinstance(value, torch.nn.Module):  # torch's own way to show a network is a tree
            text = repr(value)
            assert "\n" not in text, kind
            assert len(text) < (300 if isinstance(value, Record) else 1000), kind  # settings say all their fields


def test_a_notebook_shows_tables(objects):
    foreign = {nbr.predict.GaussianProcess}  # scikit-learn's own way to show an estimator is a page
    shown = {kind.__name__ for kind, value in objects.items() if hasattr(value, "_repr_html_") and kind not in foreign}
    assert {"Benchmark", "Result", "ReleaseInfo", "Trajectory", "Repeats", "Images", "AutoAttackResult"} <= shown
    for kind, value in objects.items():
        if kind.__name__ in shown:
            text = value._repr_html_()
            assert "<table" in text, kind
            assert len(text) < 10_000, kind


def arrays_of(value: Any, way: str = "") -> list[tuple[str, np.ndarray]]:
    """Return the arrays among the attributes and properties of an object, by name."""
    found = []
    for name in dir(value):
        if name[0] != "_" and not callable(getattr(type(value), name, None)):
            each = getattr(value, name)
            if isinstance(each, np.ndarray):
                found.append((name, each))
    return found


@pytest.mark.parametrize("way", WAYS)
def test_shared_arrays_of_tables_and_searches_cannot_be_written_to(objects, way):
    """Those that are computed anew at every look may be: they belong to who asked."""
    for kind in (TableProblem, nbr.search.Trajectory, nbr.search.Simulator):
        value = WAYS[way](objects[kind])
        for name, array in arrays_of(value):
            if array is getattr(value, name):
                assert not array.flags.writeable, f"{kind.__name__}.{name}"
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
    bench = WAYS[way](objects[nbr.Benchmark])
    for metric in ("pgd_acc", "clean_acc#validation", "train_seconds"):
        assert not bench.values(metric=metric).flags.writeable


def test_facts_about_all_cells_cannot_be_written_to():
    from nasbench_robust import cells

    makers = (
        "representatives",
        "smallest_members",
        "connected",
        "families",
        "neighbours",
        "opcodes",
        "index_of_string",
    )
    for name in makers:
        value = getattr(cells, name)()
        with pytest.raises((ValueError, TypeError)):
            value["a" if name == "index_of_string" else 0] = 0
    with pytest.raises(TypeError):
        cells.space.index_of_number()[0] = 1


# ------------------------------------------------------------------ other processes


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_tables_searches_and_errors_go_to_other_processes_and_come_back(start):
    said = run_python(Path(__file__).parent / "pools.py", start)
    assert said.startswith("15625 ")
    assert "a cell index lies in 0..15624; the nearest is 15624" in said


def ask(bench: nbr.Benchmark, index: int) -> float:
    return bench.query(index, metric="pgd_acc")


def test_joblib_takes_a_table():
    joblib = pytest.importorskip("joblib")
    bench = nbr.load()
    answers = joblib.Parallel(2, timeout=PATIENCE)(joblib.delayed(ask)(bench, index) for index in range(4))
    assert answers == [ask(bench, index) for index in range(4)]


def test_a_pickled_table_is_small_and_what_was_asked_is_not_in_it():
    bench = nbr.load()
    cold = len(pickle.dumps(bench))
    bench.frame()
    assert len(pickle.dumps(bench)) == cold < 10_000


@pytest.fixture
def moved(tmp_path, made_up_table):
    """A benchmark of a file, and the file."""
    path = tmp_path / "runs.parquet"
    path.write_bytes(made_up_table.read_bytes())
    return nbr.Benchmark(path), path


def test_a_pickled_table_whose_file_is_gone_says_so_when_it_is_asked(moved):
    bench, path = moved
    pickled = pickle.dumps(bench)
    path.unlink()
    again = pickle.loads(pickled)  # an error here would hang a pool
    with pytest.raises(nbr.errors.MissingDataError, match=r"cannot read .*runs.parquet .*its SHA-256 is [0-9a-f]{64}"):
        again.query(0, "cifar10", "clean_acc")


def test_a_pickled_table_refuses_another_file_in_its_place(moved, tmp_path):
    bench, path = moved
    pickled = pickle.dumps(bench)
    path.write_bytes(nbr.releases.locate().read_bytes())
    with pytest.raises(nbr.errors.TableError, match="not the table that was pickled"):
        pickle.loads(pickled).query(0, "cifar10", "clean_acc")


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_a_table_whose_file_changed_after_it_was_opened_is_pickled_itself(moved, change):
    bench, path = moved
    expected = bench.values("cifar10", "clean_acc")
    path.unlink()
    if change == "replaced":
        path.write_bytes(nbr.releases.locate().read_bytes())
    again = pickle.loads(pickle.dumps(bench))
    assert again == bench
    assert np.array_equal(again.values("cifar10", "clean_acc"), expected)


def test_shards_and_tables_in_memory_travel_as_they_are(moved, tmp_path):
    bench, path = moved
    table = nbr.table.read_table(path)
    for number, part in enumerate((table.slice(0, 5000), table.slice(5000))):
        nbr.table.write_table(part, tmp_path / "shards" / f"{number}.parquet")
    for source in (tmp_path / "shards", table):
        again = pickle.loads(pickle.dumps(nbr.Benchmark(source)))
        assert np.array_equal(again.values("cifar100", "pgd_acc"), bench.values("cifar100", "pgd_acc"))


def test_a_search_goes_on_where_it_was_pickled(objects):
    """A copy in the middle of a search asks what the search itself asks."""
    problem = TableProblem(nbr.load(), "pgd_acc")
    for kind, search in objects.items():
        if hasattr(kind, "ask") and hasattr(kind, "tell"):
            again = pickle.loads(pickle.dumps(search))
            for _ in range(60):
                asked, same_asked = search.ask(), again.ask()
                assert asked == same_asked, kind
                cell = asked[0] if isinstance(asked, tuple) else asked  # with the epoch up to which it is trained
                search.tell(cell, problem.answers[cell.index])
                again.tell(cell, problem.answers[cell.index])


def test_local_search_takes_up_an_ask_that_came_too_early():
    search = LocalSearch(np.random.default_rng(0), initial=1)
    first = search.ask()
    with pytest.raises(nbr.errors.InvalidValueError, match="the accuracy of"):
        search.ask()
    search.tell(first, 0.5)
    assert search.ask() is not None


# ------------------------------------------------------------------ repeats


@pytest.fixture(scope="module")
def problem() -> TableProblem:
    return TableProblem(nbr.load(), "pgd_acc")


@pytest.mark.parametrize("method", [RandomSearch, LocalSearch])
def test_repeats_are_the_same_with_any_number_of_processes(problem, method):
    one, *others = (repeat(problem, method, Budget(queries=30), repeats=7, seed=3, n_jobs=n) for n in (1, 2, 3))
    assert all(other == one for other in others)


def test_repeats_in_processes_need_a_method_that_travels(problem):
    with pytest.raises(nbr.errors.InvalidValueError, match=r"make is .* can be pickled, for n_jobs > 1"):
        repeat(problem, lambda rng: RandomSearch(rng), Budget(queries=3), n_jobs=2)
    for n_jobs in (0, -1, True, 1.5):
        with pytest.raises(nbr.errors.InvalidValueError, match="n_jobs is"):
            repeat(problem, RandomSearch, Budget(queries=3), n_jobs=n_jobs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"metrics": "pgd_acc"},
        {"metrics": ("clean_acc", "pgd_acc"), "seconds": 5},
        {"metrics": "clean_acc", "seed": "random"},
    ],
)
def test_saved_repeats_come_back_equal(tmp_path, arguments):
    problem = TableProblem(nbr.load(), **arguments)
    searches = repeat(problem, RandomSearch, Budget(queries=9, seconds=400), repeats=4, seed=2)
    searches.save(tmp_path / "searches.parquet")
    for bench in (None, nbr.load()):
        again = nbr.search.Repeats.load(tmp_path / "searches.parquet", bench)
        assert again == searches
        assert again.settings["method"] == "RandomSearch"
        assert again.settings["budget"]["queries"] == 9
        assert again.frame().equals(searches.frame())


def test_saved_repeats_name_the_state_of_the_table_and_old_ones_its_version(tmp_path, problem):
    path, searches = tmp_path / "searches.parquet", repeat(problem, RandomSearch, Budget(queries=2), repeats=2)
    searches.save(path)
    stored = pq.read_table(path)
    [(key, text)] = stored.schema.metadata.items()
    version = problem.bench.version
    assert json.loads(text)["release"] == {"name": "digits", "version": version}
    for other, is_known in ((problem.bench.info.version, True), (f"{version[:-1]}x", False)):
        described = text.replace(json.dumps(version).encode(), json.dumps(other).encode())
        pq.write_table(stored.replace_schema_metadata({key: described}), path)
        if is_known:
            assert nbr.search.Repeats.load(path) == searches
        else:
            with pytest.raises(nbr.errors.InvalidValueError, match="which was searched"):
                nbr.search.Repeats.load(path)


def test_saved_repeats_are_refused_with_another_table(tmp_path, problem, bench):
    repeat(problem, RandomSearch, Budget(queries=2), repeats=2).save(tmp_path / "searches.parquet")
    with pytest.raises(nbr.errors.InvalidValueError, match=r"bench is <Benchmark nas-robbench-201.*expected digits"):
        nbr.search.Repeats.load(tmp_path / "searches.parquet", bench)
    with pytest.raises(nbr.errors.InvalidValueError, match=r"ends in \.parquet"):
        repeat(problem, RandomSearch, Budget(queries=2), repeats=2).save(tmp_path / "searches.csv")
    with pytest.raises(nbr.errors.TableError, match=r"no searches that Repeats\.save wrote"):
        nbr.search.Repeats.load(nbr.releases.locate())
