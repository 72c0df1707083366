"""No answer for something that was not asked: what contradicts itself, or may mean two things, is refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidCellError, InvalidValueError, MissingResultError, NasbenchRobustError
from nasbench_robust.search import Budget, LocalSearch, Simulator, TableProblem, run
from nasbench_robust.table import NATSAdapter

INDICES = [9930, 1462, 15_624, 7]


@pytest.fixture(scope="module")
def digits() -> nbr.Benchmark:
    return nbr.load()


# ------------------------------------------------------------------ which cells are meant


def columns() -> dict[str, object]:
    """Return one list of cells in forms that are plain, by name."""
    torch = pytest.importorskip("torch")
    strings = [str(Cell.from_index(index)) for index in INDICES]
    return {
        "list": INDICES,
        "tuple": tuple(INDICES),
        "generator": (index for index in INDICES),
        "keys of a dictionary": dict.fromkeys(INDICES).keys(),
        "mixed": [Cell.from_index(INDICES[0]), *strings[1:]],
        "array": np.array(INDICES, np.uint16),
        "array of objects": np.array(INDICES, object),
        "strings": np.array(strings),
        "masked, but nothing is": np.ma.array(INDICES),
        "Series": pd.Series(INDICES, index=[3, 1, 2, 0]),
        "Series of strings": pd.Series(strings),
        "nullable Series": pd.Series(INDICES, dtype="Int64"),
        "Index": pd.Index(INDICES),
        "categories": pd.Series(strings, dtype="category"),
        "Arrow": pa.array(INDICES),
        "Arrow in chunks": pa.chunked_array([INDICES[:1], INDICES[1:]]),
        "Arrow strings": pa.array(strings),
        "dictionary of Arrow": pa.array(strings).dictionary_encode(),
        "tensor": torch.tensor(INDICES),
        "opcodes, decoded": [Cell.decode(row, encoding="opcodes") for row in cells.opcodes()[INDICES]],
    }


@pytest.mark.parametrize("name", [*columns()])
def test_plain_columns_of_cells_are_taken(digits, name):
    expected = [digits.query(index, metric="pgd_acc") for index in INDICES]
    assert digits.query_many(columns()[name], metric="pgd_acc").tolist() == expected


def ambiguous() -> dict[str, tuple[object, str]]:
    """Return what may mean something else, and what the error says to do."""
    torch = pytest.importorskip("torch")
    frame = pd.DataFrame({"index": INDICES, "arch": [str(Cell.from_index(index)) for index in INDICES]})
    row = cells.opcodes()[9930]
    mask = np.arange(cells.SIZE) < 5
    one_cell = "six operation numbers are one cell"
    return {
        "frame": (frame, r"one column of it, frame\['index'\]"),
        "Arrow table": (pa.table({"index": INDICES}), "one column of it"),
        "mask": (mask, r"numpy\.flatnonzero\(mask\)"),
        "mask of pandas": (pd.Series(mask), r"numpy\.flatnonzero\(mask\)"),
        "nullable mask": (pd.Series(mask, dtype="boolean"), r"numpy\.flatnonzero\(mask\)"),
        "mask of torch": (torch.tensor(mask), r"numpy\.flatnonzero\(mask\)"),
        "list of booleans": ([True, False], "a boolean is not a cell index"),
        "Arrow booleans": (pa.array([True, False]), "a boolean is not a cell index"),
        "list of tensors": (list(torch.tensor([True, False])), "a boolean is not a cell index"),
        "masked": (np.ma.array(INDICES, mask=[0, 1, 0, 0]), r"archs\.compressed\(\)"),
        "gaps": (pd.Series([1, None, 3], dtype="Int64"), "expected a Cell, an index"),
        "gaps of Arrow": (pa.array([1, None]), "expected a Cell, an index"),
        "gaps as NaN": (pd.Series([1, None, 3]), "expected a Cell, an index"),
        "tuple of NASLib": (Cell.from_index(9930).encode("naslib"), one_cell),
        "list of NASLib": (list(Cell.from_index(9930).encode("naslib")), one_cell),
        "row of opcodes": (row, one_cell),
        "row as a tensor": (torch.tensor(row), one_cell),
        "row as a Series": (pd.Series(row), one_cell),
        "rows of opcodes": (cells.opcodes()[:3], r"Cell\.decode\(row, encoding='opcodes'\)"),
        "rows of a tensor": (torch.tensor(cells.opcodes()[:3]), r"Cell\.decode\(row"),
        "list of rows": (cells.opcodes()[:3].tolist(), r"other forms go through Cell\.decode"),
        "set": ({1, 2, 3}, "an iterable with an order"),
        "dictionary": ({1: "a"}, "an iterable with an order"),
        "one string": (str(Cell.from_index(3)), "one cell: query"),
        "one cell": (Cell.from_index(3), "one cell: query"),
        "one number": (np.array(3), "one cell: query"),
        "floats": (np.array([1.0, 2.0]), "expected a Cell, an index"),
    }


@pytest.mark.parametrize("name", [*ambiguous()])
def test_what_may_mean_other_cells_is_refused_and_the_error_says_how_to_say_it(digits, name):
    value, message = ambiguous()[name]
    with pytest.raises((InvalidCellError, InvalidValueError), match=message):
        digits.query_many(value, metric="pgd_acc")


def test_opcodes_are_read_from_a_row_of_numbers_too():
    for index in (0, 9930, 15_624):
        row = cells.opcodes()[index]
        for form in (row, row.tolist(), tuple(row.tolist()), row.astype(np.int64)):
            assert Cell.decode(form, encoding="opcodes").index == index
    for wrong in (row[:5], row.astype(float), [0, 1, 2, 3, 4, 5], [True] * 6, np.ma.array(row, mask=[1] * 6), 333133):
        with pytest.raises(InvalidCellError, match="expected"):
            Cell.decode(wrong, encoding="opcodes")


@pytest.mark.parametrize(("text", "index"), [("9930", 9930), (" 9930 ", 9930), ("0", 0), (str(Cell.from_index(4)), 4)])
def test_a_typed_cell_is_an_index_or_a_string(text, index):
    assert Cell.from_text(text).index == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("014444", r"does not begin with 0; did you mean 14444\? As opcodes it is \|none~0\|\+\|skip_connect~0"),
        ("00", "did you mean 0"),
        ("007", "did you mean 7"),
        ("15625", "lies in 0..15624"),
        ("-1", "lies in 0..15624"),
        ("333133", "lies in 0..15624"),
        ("9" * 26, r"lies in 0..15624; the nearest is 15624"),
        ("-007", "lies in 0..15624; the nearest is 0"),
        ("+9930", r"does not begin with \+; did you mean 9930"),
        ("-0", "does not begin with -; did you mean 0"),
        ("9930.0", "expected an integer from 0 to 15624, or a string"),
        ("", "expected an integer from 0 to 15624, or a string"),
        ("9" * 5000, "expected an integer from 0 to 15624, or a string"),
    ],
)
def test_a_typed_cell_that_may_be_none_is_refused(text, message):
    with pytest.raises(InvalidCellError, match=message):
        Cell.from_text(text)


# ------------------------------------------------------------------ names and arguments that contradict each other


DOORS = {
    "query": lambda bench, metric, split: bench.query(9930, metric=metric, split=split),
    "lookup": lambda bench, metric, split: bench.lookup(9930, metric=metric, split=split).value,
    "query_many": lambda bench, metric, split: bench.query_many([9930], metric=metric, split=split)[0],
    "values": lambda bench, metric, split: bench.values(metric=metric, split=split)[9930],
    "TableProblem": lambda bench, metric, split: TableProblem(bench, metric, split=split).values[9930, 0],
    "judge": lambda bench, metric, split: TableProblem(bench, "pgd_acc").judge(metric, split=split)[9930],
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("metric", ["pgd_acc", "pgd_acc@0.1", "clean_acc"])
def test_a_split_in_the_name_and_another_one_beside_it_are_refused(digits, door, metric):
    ask = DOORS[door]
    for named, other in (("test", "validation"), ("validation", "test")):
        with pytest.raises(
            InvalidValueError, match=rf"split is '{other}', expected the one in '{re.escape(metric)}#{named}'"
        ):
            ask(digits, f"{metric}#{named}", other)
        value = digits.query(9930, metric=metric, split=named)
        assert ask(digits, f"{metric}#{named}", named) == ask(digits, metric, named) == value


def test_the_split_of_a_name_needs_no_argument(digits):
    held_out = digits.query(9930, metric="pgd_acc", split="validation")
    assert held_out == digits.query(9930, metric="pgd_acc#validation") != digits.query(9930, metric="pgd_acc")
    assert digits.best(metric="pgd_acc#validation", k=1).index[0] == digits.values(metric="pgd_acc#validation").argmax()


def test_a_search_on_test_images_is_asked_for_by_its_own_argument(digits):
    """The default of a problem is validation: a name must not undo it."""
    with pytest.raises(
        InvalidValueError, match=r"split is 'validation', expected the one in 'pgd_acc#test'.*split='test'"
    ):
        TableProblem(digits, "pgd_acc#test")
    with pytest.raises(MissingResultError, match=r"no autoattack_acc@0.1 on the validation .*split='test' selects on"):
        TableProblem(digits, "autoattack_acc")
    with pytest.raises(
        MissingResultError, match=r"no square_acc@0.1 on the validation split of digits \(measured there"
    ):
        TableProblem(digits, "square_acc")
    with pytest.raises(InvalidValueError, match="split is 'validation'"):
        TableProblem(digits, ("clean_acc", "pgd_acc#test"))
    assert TableProblem(digits, "pgd_acc#test", split="test").columns == ("pgd_acc@0.1",)


def test_an_adapters_metric_names_no_split(digits):
    for metric in ("pgd_acc#test", "pgd_acc#validation"):
        with pytest.raises(InvalidValueError, match=r"metric is .*a metric without a split"):
            NATSAdapter(digits, metric)


def test_training_time_has_no_budget_and_no_split(digits):
    for name, value in (("eps", 0.1), ("split", "test"), ("split", "validation")):
        with pytest.raises(InvalidValueError, match=f"{name} is .*training time has none"):
            digits.values(metric="train_seconds", **{name: value})


def test_training_time_of_a_seed_is_that_of_the_seed(digits):
    times = [digits.train_seconds(9930, seed=seed) for seed in range(3)]
    assert len(set(times)) == 3
    assert digits.train_seconds(9930) == pytest.approx(np.mean(times))
    assert [digits.values(metric="train_seconds", seed=seed)[9930] for seed in range(3)] == times
    for ask in (lambda: digits.train_seconds(9930, seed=9), lambda: digits.values(metric="train_seconds", seed=9)):
        with pytest.raises(MissingResultError, match="no training time for seed 9"):
            ask()
    for seed in (True, -1, 1.0, "1"):
        with pytest.raises(InvalidValueError, match="seed is"):
            digits.train_seconds(9930, seed=seed)


# ------------------------------------------------------------------ numbers that are none


FLAGS = [0, 1, None, "no", np.array([True]), 1.0]


@pytest.mark.parametrize("value", FLAGS)
def test_flags_are_true_or_false(value):
    rng = np.random.default_rng(0)
    api = NATSAdapter(nbr.load(), "pgd_acc")
    for make in (
        lambda: Budget(queries=1, charge_repeats=value),
        lambda: LocalSearch(rng, first_improvement=value),
        lambda: LocalSearch(rng, restart=value),
        lambda: api.simulate_train_eval(0, "digits", account_time=value),
    ):
        with pytest.raises(InvalidValueError, match="expected True or False"):
            make()
    assert api.used_time == 0
    assert Budget(queries=1, charge_repeats=np.False_).charge_repeats == np.False_


@pytest.mark.parametrize("seconds", [0, -1, np.nan, np.inf, True, "60", [1]])
def test_costs_are_positive_numbers_in_every_adapter(digits, seconds):
    for make in (
        lambda: NATSAdapter(digits, "pgd_acc", seconds=seconds),
        lambda: TableProblem(digits, "pgd_acc", seconds=seconds),
        lambda: Budget(seconds=seconds),
    ):
        with pytest.raises(InvalidValueError, match="seconds is"):
            make()


@pytest.mark.parametrize("limit", [np.nan, -1, True, "1"])
def test_limits_are_numbers(digits, limit):
    for name in ("flop_max", "param_max"):
        with pytest.raises(InvalidValueError, match=f"{name} is"):
            NATSAdapter(digits, "pgd_acc").find_best("digits", "test", **{name: limit})


def test_what_takes_a_table_a_problem_or_a_budget_takes_nothing_else(digits):
    problem = TableProblem(digits, "pgd_acc")
    for make in (
        lambda: NATSAdapter("digits", "pgd_acc"),
        lambda: TableProblem("digits", "pgd_acc"),
        lambda: Simulator(digits, Budget(queries=1)),
        lambda: Simulator(problem, 150),
        lambda: run(problem, LocalSearch(np.random.default_rng(0)), 150),
        lambda: nbr.search.optuna_objective(digits),
        lambda: nbr.search.optuna_objective(problem, budget=0),
        lambda: nbr.search.optuna_objective(problem, budget=150),
        lambda: nbr.search.optuna_objective(problem, rng=0),
        lambda: NATSAdapter(digits, "pgd_acc", seed=0.5),
        lambda: NATSAdapter(digits, "pgd_acc", seed=True),
    ):
        with pytest.raises(InvalidValueError):
            make()


# ------------------------------------------------------------------ one mistake, one sentence


@pytest.mark.parametrize(
    "ask",
    [
        lambda bench: bench.query(15_625, metric="pgd_acc"),
        lambda bench: bench.query("|none~0|", metric="pgd_acc"),
        lambda bench: bench.query(0, metric="pdg_acc"),
        lambda bench: bench.query(0, metric=["pgd_acc"]),
        lambda bench: bench.query(0, "cifar11", "pgd_acc"),
        lambda bench: bench.query(0, metric="pgd_acc", seed=7),
        lambda bench: bench.query(0, metric="pgd_acc", seed=True),
        lambda bench: bench.query_many(["|none~0|"], metric="pgd_acc"),
        lambda bench: bench.query_many([0, "x"], metric="pgd_acc"),
        lambda bench: bench.query_many([None], metric="pgd_acc"),
        lambda bench: bench.lookup(-1, metric="pgd_acc"),
        lambda bench: bench.frame(metrics=["pdg_acc"]),
        lambda bench: bench.best(metric="pgd_acc", k=0),
        lambda bench: bench.best(metric="pgd_acc", eps="8/x"),
        lambda bench: TableProblem(bench, "pgd"),
        lambda bench: TableProblem(bench, "autoattack_acc"),
        lambda bench: NATSAdapter(bench, "pgd"),
        lambda bench: nbr.load("digit"),
        lambda bench: nbr.load("/nowhere/runs.parquet"),
        lambda bench: Cell.from_index("x"),
        lambda bench: Cell.decode([[1]], encoding="one-hot"),
    ],
)
def test_one_mistake_is_one_traceback(digits, ask):
    with pytest.raises(NasbenchRobustError) as caught:
        ask(digits)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__


# ------------------------------------------------------------------ rows, labels, names and sizes of frames


@pytest.mark.parametrize("view", ["representatives", "connected", "smallest", "all"])
def test_rows_of_all_frames_are_labelled_by_the_cell(digits, bench, view):
    frames = [
        digits.frame(cells=view),
        digits.best(metric="pgd_acc", k=5, cells=view),
        digits.pareto(cells=view),
        bench.frame(metrics=["pgd_acc"], cells=view),
    ]
    for frame in frames:
        assert frame.index.tolist() == frame["index"].tolist()
        assert frame.index.name is None  # so that "index" means the column alone
        assert frame.sort_values("index").reset_index(drop=True).equals(frame.sort_values("index", ignore_index=True))
    joined = digits.join(bench, cells=view)
    assert joined.index.tolist() == frames[0]["index"].tolist()
    best = frames[0]["pgd_acc@0.1"].idxmax()
    assert digits.query(best, metric="pgd_acc") == frames[0]["pgd_acc@0.1"].max()
    assert frames[0].loc[best, "arch"] == str(Cell.from_index(best))


def test_columns_are_called_as_they_were_asked_for(digits, bench):
    names = ["pgd_acc", "clean_acc", "pgd_acc@0.1", "pgd_acc#validation"]
    frame = digits.frame(metrics=names)
    assert frame.columns[-4:].tolist() == names
    assert frame["pgd_acc"].equals(frame["pgd_acc@0.1"])
    assert bench.frame(metrics=["pgd_acc"])["pgd_acc"].notna().all()
    assert digits.best(metric="pgd_acc")["pgd_acc"].is_monotonic_decreasing
    assert digits.best(metric="pgd_acc", eps=0.05).columns[-1] == "pgd_acc@0.05"
    assert digits.pareto(metrics=("pgd_acc", "clean_acc"))["pgd_acc"].is_monotonic_decreasing
    assert "pgd_acc@0.1" in digits.frame()


def test_size_is_that_of_a_cell_and_the_smallest_member_of_each_class_can_be_asked_for(digits):
    everything = digits.frame(cells="all")
    smallest = digits.frame(cells="smallest")
    for name in ("parameters", "flops"):
        least = everything.groupby("representative")[name].min()
        assert smallest.set_index("representative")[name].sort_index().equals(least)
    assert len(smallest) == 6_466
    assert (smallest["index"] != smallest["representative"]).sum() == 358
    values = digits.frame(cells="representatives").set_index("representative")["pgd_acc@0.1"]
    assert smallest.set_index("representative")["pgd_acc@0.1"].sort_index().equals(values.sort_index())
    best = digits.best(metric="pgd_acc", k=20, cells="smallest")
    assert best["representative"].tolist() == digits.best(metric="pgd_acc", k=20).index.tolist()


@pytest.mark.parametrize(("limit", "expected"), [({"param_max": 0.005214}, (97, 78.21)), ({"flop_max": 0.05}, None)])
def test_limits_on_size_are_kept_by_the_cell_that_is_the_answer(digits, limit, expected):
    api = NATSAdapter(digits, "pgd_acc")
    index, accuracy = api.find_best("digits", "test", **limit)
    frame = digits.frame(metrics=["pgd_acc"], cells="all")
    column, most = ("parameters", 5214) if "param_max" in limit else ("flops", 50_000)
    assert frame.loc[index, column] <= most
    allowed = frame[frame[column] <= most]
    assert (index, accuracy) == (allowed["pgd_acc"].idxmax(), 100 * allowed["pgd_acc"].max())
    if expected is not None:
        assert (index, round(accuracy, 2)) == expected
