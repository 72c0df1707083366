"""Every error says what was given and what was expected, and is also the built-in class one would expect."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasbench_robust import errors
from nasbench_robust.cli.command import guarded
from nasbench_robust.errors import (
    BudgetSpentError,
    ConflictError,
    DownloadError,
    InvalidCellError,
    InvalidValueError,
    MissingDataError,
    MissingPackageError,
    MissingResultError,
    NasbenchRobustError,
    RefusedError,
    RunInterruptedError,
    SlurmError,
    SourceFormatError,
    TableError,
    TrainingDivergedError,
    UncomputableScoreError,
    UnknownNameError,
    UnreadableError,
    UploadError,
    nearest,
    shorten,
)
from nasbench_robust.table import Finding

# The error, its sentence, its attributes, its built-in base class.
EXAMPLES = [
    (BudgetSpentError("1 query", "0 queries"), "the query costs 1 query and the budget has 0 queries left",
     {"needed": "1 query", "left": "0 queries"}, RuntimeError),
    (InvalidCellError("|x|", "edge 0: unknown operation 'x'"), "edge 0: unknown operation 'x' (given '|x|')",
     {"given": "|x|", "problem": "edge 0: unknown operation 'x'"}, ValueError),
    (InvalidValueError("eps", 8, "a number in (0, 1]", "8/255"),
     "eps is 8, expected a number in (0, 1]; did you mean 8/255?",
     {"name": "eps", "given": 8, "expected": "a number in (0, 1]", "hint": "8/255"}, ValueError),
    (InvalidValueError("k", None, "a positive integer"), "no k is given, expected a positive integer",
     {"name": "k", "given": None, "expected": "a positive integer", "hint": None}, ValueError),
    (UnknownNameError("metric", "pdg_acc", ("clean_acc", "pgd_acc")),
     "unknown metric 'pdg_acc'; did you mean 'pgd_acc'? (known: clean_acc, pgd_acc)",
     {"kind": "metric", "given": "pdg_acc", "choices": ("clean_acc", "pgd_acc"), "suggestion": "pgd_acc"}, ValueError),
    (UnknownNameError("metric", "val_acc", ["pgd_acc"], "clean_acc"),
     "unknown metric 'val_acc'; did you mean 'clean_acc'? (known: pgd_acc)",
     {"kind": "metric", "given": "val_acc", "choices": ("pgd_acc",), "suggestion": "clean_acc"}, ValueError),
    (UnknownNameError("release", 5, ()), "unknown release 5",
     {"kind": "release", "given": 5, "choices": (), "suggestion": None}, ValueError),
    (MissingResultError("digits has no seed 9", [1, 2], "seeds that were run"),
     "digits has no seed 9 (seeds that were run: 1, 2)", {"what": "digits has no seed 9", "available": (1, 2)},
     LookupError),
    (MissingResultError("nothing"), "nothing", {"what": "nothing", "available": ()}, LookupError),
    (UncomputableScoreError("naswot", "the kernel is singular"), "naswot cannot be computed: the kernel is singular",
     {"name": "naswot", "reason": "the kernel is singular"}, ArithmeticError),
    (MissingDataError("no file x", "check the path"), "no file x; check the path",
     {"what": "no file x", "remedy": "check the path"}, FileNotFoundError),
    (UnreadableError("x.parquet", PermissionError(13, "Permission denied")),
     "cannot read x.parquet now (Permission denied); nothing is lost, try again",
     {"path": "x.parquet", "problem": "Permission denied"}, OSError),
    (UnreadableError("x", MemoryError()), "cannot read x now (MemoryError); nothing is lost, try again",
     {"path": "x", "problem": "MemoryError"}, OSError),
    (TableError("runs.parquet", "is cut"), "runs.parquet: is cut", {"path": "runs.parquet", "problem": "is cut"},
     ValueError),
    (SourceFormatError("page.json", "key '17'", "stands twice"), "page.json: key '17': stands twice",
     {"path": "page.json", "where": "key '17'", "problem": "stands twice"}, ValueError),
    (SourceFormatError("page.json", "", "holds no results"), "page.json: holds no results",
     {"path": "page.json", "where": "", "problem": "holds no results"}, ValueError),
    (DownloadError("https://example.org/x", "404"), "https://example.org/x: 404",
     {"url": "https://example.org/x", "problem": "404"}, OSError),
    (UploadError("owner/name", "401 Unauthorized"), "owner/name: 401 Unauthorized",
     {"repository": "owner/name", "problem": "401 Unauthorized"}, OSError),
    (MissingPackageError("torch", "train"),
     "the package 'torch' is needed here and not installed; run: pip install torch "
     "(in a clone of nasbench-robust, pip install '.[train]' brings all that belongs to it)",
     {"package": "torch", "extra": "train"}, ImportError),
    (ConflictError("a.parquet", "b.parquet", ("digits", 3, 0), ["clean_correct"]),
     "different results for digits/3/0 in clean_correct: a.parquet and b.parquet; keep one of the two files",
     {"first": "a.parquet", "second": "b.parquet", "key": ("digits", 3, 0), "columns": ("clean_correct",)}, ValueError),
    (RefusedError("release", [Finding("grid", "error", "off its grid"), Finding("order", "warning", "odd")]),
     "release: 1 error(s), not published; the first: error: grid: off its grid", {"folder": "release"}, ValueError),
    (TrainingDivergedError(3), "the training loss is not finite in epoch 3", {"epoch": 3}, ArithmeticError),
    (RunInterruptedError("cell 3: stopped on request"), "cell 3: stopped on request", {}, Exception),
    (SlurmError("sbatch failed"), "sbatch failed", {}, Exception),
]  # fmt: skip


@pytest.mark.parametrize(("error", "sentence", "attributes", "base"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_error_has_a_sentence_attributes_and_a_built_in_base(error, sentence, attributes, base):
    assert str(error) == sentence
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert isinstance(error, base)
    assert isinstance(error, NasbenchRobustError)
    with pytest.raises(NasbenchRobustError):
        raise error


WAYS = {
    **{f"pickle {protocol}": partial(lambda p, e: pickle.loads(pickle.dumps(e, p)), protocol) for protocol in range(6)},
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "cloudpickle": lambda error: pickle.loads(cloudpickle.dumps(error)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [example[0] for example in EXAMPLES], ids=lambda error: type(error).__name__)
def test_an_error_travels(error, way):
    again = WAYS[way](error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.args == error.args


def test_an_error_about_what_cannot_be_pickled_travels_too():
    error = InvalidValueError("rng", lambda: 0, "a generator")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.given.startswith("'<function") or again.given.startswith("<function")


def test_every_error_class_is_among_the_examples():
    named = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    classes = set(named) - {NasbenchRobustError}
    assert classes == {type(example[0]) for example in EXAMPLES}
    assert all(issubclass(kind, NasbenchRobustError) for kind in classes)


# ---------------------------------------------------------------------- the nearest name


@pytest.mark.parametrize(
    ("given_", "choices", "expected"),
    [
        ("conv_3x3", ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"), "nor_conv_3x3"),
        ("CIFAR10", ("cifar10", "cifar100"), "cifar10"),
        ("cifar1000", ("cifar10", "cifar100"), "cifar100"),
        ("pgd", ("clean_acc", "pgd_acc@8/255", "pgd_acc@8/255#validation"), "pgd_acc@8/255"),
        ("xyz", ("clean_acc", "pgd_acc"), None),
        ("", ("clean_acc", "pgd_acc"), None),
        ("clean", (), None),
        (None, ("None",), None),
        (5, ("5",), None),
    ],
)
def test_nearest_is_the_name_spelt_most_alike(given_, choices, expected):
    assert nearest(given_, choices) == expected


@given(given_=st.text(), choices=st.lists(st.text(), max_size=5))
def test_nearest_is_one_of_the_choices_or_none(given_, choices):
    found = nearest(given_, choices)
    assert found is None or found in choices
    if given_ and given_ in choices:
        assert found is not None
        assert found.casefold() == given_.casefold()


# ---------------------------------------------------------------------- what was given, shown


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Textless:
    def __repr__(self):
        return None


@pytest.mark.parametrize(("value", "name"), [(Unprintable(), "Unprintable"), (Textless(), "Textless")])
def test_an_object_with_a_broken_repr_does_not_hide_the_message(value, name):
    for error in (
        InvalidCellError(value, "is no cell"),
        InvalidValueError("eps", value, "a number"),
        UnknownNameError("metric", value, ("pgd_acc",)),
    ):
        assert f"<{name} whose repr fails" in str(error)
        assert error.given is value
    assert "is no cell" in str(InvalidCellError(value, "is no cell"))


def test_values_too_deep_or_too_long_to_print_are_named():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert shorten(deep) == "<list whose repr fails: RecursionError>"
    assert shorten(10**5000) == "<int whose repr fails: ValueError>"


@given(st.text(max_size=400), st.integers(40, 200))
def test_short_values_are_shown_whole_and_long_ones_cut_in_the_middle(text, limit):
    shown = shorten(text, limit)
    if len(repr(text)) <= limit:
        assert shown == repr(text)
    else:
        assert len(shown) < limit
        head, _, tail = shown.partition(" ... ")
        assert repr(text).startswith(head)
        assert repr(text).endswith(tail)


def test_a_program_names_the_file_of_a_fault_or_else_where_it_writes(capsys):
    def fail(*details: object) -> int:
        raise OSError(*details)

    assert guarded("program.py", lambda: fail(28, "No space left on device"), "results") == 2
    assert capsys.readouterr().err == "program.py: results: No space left on device\n"
    assert guarded("program.py", lambda: fail(13, "Permission denied", "elsewhere"), "results") == 2
    assert capsys.readouterr().err == "program.py: elsewhere: Permission denied\n"
