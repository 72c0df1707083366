"""Damaged and odd input to every public reader: an error of ours in one sentence, or what was written, never a crash.

``NASBENCH_ROBUST_FUZZ=1000 pytest tests/test_fuzz.py`` makes a thousand mutations of each file instead of a few.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import nasbench_robust as nbr
from nasbench_robust.cells import representatives
from nasbench_robust.engines import load_state, save_state
from nasbench_robust.errors import NasbenchRobustError, TableError
from nasbench_robust.files import MANIFEST, manifest_text
from nasbench_robust.images.pickles import load_pickle
from nasbench_robust.metrics import Metric, pgd
from nasbench_robust.runs import read_task
from nasbench_robust.scores import read_scores, score_settings_for
from nasbench_robust.scores.tables import SCORES_SCHEMA, with_settings
from nasbench_robust.search.arnas import ARNAS, read_genotype
from nasbench_robust.settings import read_settings, settings_for
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import (
    Benchmark,
    DatasetInfo,
    Outcome,
    ReleaseInfo,
    StoredRun,
    runs_table,
    shard_file,
    validate,
    write_run_file,
    write_table,
)
from nasbench_robust.table.run_files import read_run_file

COUNT = int(os.environ.get("NASBENCH_ROBUST_FUZZ", "25"))
INDICES = sorted(set(representatives().tolist()))[:8]
METRICS = (Metric("clean_acc"), Metric.of(pgd(0.1)))
FACTS = DatasetInfo({"test": 100}, 0.1, Skeleton.for_dataset("digits", channels=4))
INFO = ReleaseInfo("made-up", "1", "made up", "none", "@misc{none}", "a test", {"digits": FACTS}, METRICS)


def table() -> pa.Table:
    rows = [
        {"dataset": "digits", "index": index, "seed": seed, "seeds": 1, "test_images": 100, "clean_acc": 0.5 + 0.05 * n}
        for n, index in enumerate(INDICES)
        for seed in (0, 1)
    ]
    return runs_table(INFO, [{**row, "pgd_acc@0.1": row["clean_acc"] / 2} for row in rows])


def answers(source: object) -> object:
    """Return what a runs table says."""
    validate(source)
    bench = Benchmark(source)
    return bench.query_many(INDICES, metric="pgd_acc").tolist(), bench.query(INDICES[1], metric="clean_acc", seed=1)


@dataclass(frozen=True)
class Kind:
    """A format: how a sound file is written, how one is read, and whether a damaged one may be taken for another."""

    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    name: str = "file"
    is_checked: bool = False  # by a checksum: nothing else than what was written is ever read


def write_kernels(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    assert h5py
    rng = np.random.default_rng(0)
    matrices = [rng.random((4, 4)) for _ in range(5)]
    nbr.ntk.save_kernels(nbr.ntk.Kernels(*matrices, beta=0.5), path, **KEY)


def read_kernels(path: Path) -> list[Any]:
    kernels = nbr.ntk.load_kernels(path, **KEY)
    names = ("clean", "robust", "cross", "robust_twice", "cross_twice")
    return [getattr(kernels, name).tolist() for name in names] + [kernels.beta]


def write_scores_table(path: Path) -> None:
    fixed = {"dataset": "digits", "seed": 0, "score": "trace", "seconds": 1.0, "device": "cpu", "date": 0}
    rows = [{**fixed, "index": index, "value": 1.0} for index in INDICES]
    settings = score_settings_for("digits").to_dict()
    write_table(with_settings(pa.Table.from_pylist(rows, SCORES_SCHEMA), settings), path)


def write_run_of_a_folder(path: Path) -> None:
    row = {"release": "digits", "dataset": "digits", "index": 9930, "seed": 0, "seeds": 1, "test_images": 16}
    outcomes = [Outcome("clean_acc", 16, b"\xff\x03"), Outcome("pgd_acc@0.1", 16, b"\x0f\x00")]
    settings = replace(SETTINGS, epochs=2)
    row |= {"settings": settings.hash}
    run = StoredRun(row, settings.to_dict(), np.array([1, 2]), np.arange(10.0).reshape(2, 5), "validation", outcomes)
    write_run_file(run, path)


def read_run_of_a_folder(path: Path) -> object:
    run = read_run_file(path)
    return run.row, run.settings, run.epochs.tolist(), run.curve.tolist(), run.split, run.outcomes


def write_release(path: Path) -> None:
    """Write a manifest, and the table that it names."""
    write_table(table(), path.with_name("runs.parquet"))
    path.write_text(manifest_text({"name": "made-up"}, path.parent, ["runs.parquet"]))


def write_text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


KEY = {"cell": nbr.Cell.from_index(9930), "dataset": "digits", "seed": 0, "settings": {"eps": 0.1}}
STATE = {"key": ["a", 1], "numbers": [1, 2.5, None], "array": np.arange(20.0), "nested": {0: {"b": "c"}}}
BATCH = {"data": np.arange(48, dtype=np.uint8).reshape(4, 12), "labels": [0, 1, 2, 3]}
SETTINGS = settings_for("digits")
KINDS = {
    "runs": Kind(lambda path: write_table(table(), path), answers, "runs.parquet"),
    "run": Kind(write_run_of_a_folder, read_run_of_a_folder, shard_file("digits", 9930, 0), is_checked=True),
    "manifest": Kind(write_release, lambda path: answers(path.with_name("runs.parquet")), MANIFEST),
    "scores": Kind(write_scores_table, lambda path: read_scores(path)[1], "scores.parquet"),
    "kernels": Kind(write_kernels, read_kernels, "kernels.h5", True),
    "checkpoint": Kind(
        lambda path: save_state(STATE, path), lambda path: repr(load_state(path)), "run.ckpt", is_checked=True
    ),
    "pickle": Kind(lambda path: path.write_bytes(pickle.dumps(BATCH, 2)), load_pickle),
    "json settings": Kind(
        write_text(json.dumps(SETTINGS.to_dict())), lambda path: read_settings(path, SETTINGS), "settings.json"
    ),
    "work list": Kind(write_text("[[9930, 0], [1462, 1]]\n[[12, 2]]\n"), lambda path: read_task(path, 1)),
    "genotype": Kind(write_text(json.dumps(ARNAS.to_dict())), read_genotype, "genotype.json"),
    "page": Kind(write_text('acc={"": ["cifar10#val_acc"], "0": [0.5]}'), nbr.releases.IMPORTERS["page"]),
    "seeds": Kind(write_text('{"cifar10": {"0": {"val_acc": {"1": 0.5}}}}'), nbr.releases.IMPORTERS["seeds"]),
}
if sys.version_info >= (3, 11):
    KINDS["toml settings"] = Kind(
        write_text("epochs = 3\n[attack]\nsteps = 5\n"), lambda path: read_settings(path, SETTINGS), "settings.toml"
    )


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a file with one to four wounds: bytes changed, cut out, doubled, or text that means something."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        start, length = rng.randrange(len(content) + 1), rng.choice((1, 1, 2, 8, 100))
        fresh = rng.choice(
            (
                rng.randbytes(length),
                b"",
                content[start : start + length] * 2,
                rng.choice((b"null", b"1e999", b"-1", b"true", b'"', b"[" * 2000, b"{}", b"\xff\xfe", b"\0", b"NaN")),
            )
        )
        content = content[:start] + fresh + content[start + length :]
    return content[: rng.randrange(len(content) + 1)] if rng.random() < 0.1 else content


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_file_is_one_sentence_or_what_it_was(name: str, tmp_path: Path) -> None:
    kind, rng = KINDS[name], random.Random(f"{name} 0")
    path = tmp_path / kind.name
    kind.write(path)
    content = path.read_bytes()
    try:
        whole = kind.read(path)
    except NasbenchRobustError:  # the small page files lack cells
        whole = None
    refused = 0
    for _ in range(COUNT):
        path.write_bytes(damaged := mutated(content, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = kind.read(path)
        except NasbenchRobustError as error:
            refused += 1
            assert "\n" not in str(error), (error, damaged)  # noqa: PT017
        else:
            assert not kind.is_checked or value in (whole, "None"), damaged
    assert refused or kind.is_checked


TYPES = {
    "bool": lambda rows: pa.array([True] * rows),
    "string": lambda rows: pa.array(["1"] * rows),
    "list": lambda rows: pa.array([[1]] * rows),
    "struct": lambda rows: pa.array([{"a": 1}] * rows),
    "time": lambda rows: pa.array([0] * rows, pa.time64("us")),
    "date": lambda rows: pa.array([0] * rows, pa.date32()),
    "binary": lambda rows: pa.array([b"1"] * rows),
    "decimal": lambda rows: pa.array([1] * rows).cast(pa.decimal128(20)),
    "null": lambda rows: pa.nulls(rows),
    "halves": lambda rows: pa.array([0.5] * rows),
    "huge": lambda rows: pa.array([2**63 + 1] * rows, pa.uint64()),
    "categories": lambda rows: pa.array(["a"] * rows).dictionary_encode(),
}


@pytest.mark.parametrize("type_", TYPES)
def test_a_column_of_a_foreign_type_is_one_sentence_or_no_matter(type_: str, tmp_path: Path) -> None:
    """Also where the table is in memory, and for every column."""
    runs, refused = table(), set()
    expected = answers(runs)
    for position, name in enumerate(runs.column_names):
        foreign = runs.set_column(position, name, TYPES[type_](runs.num_rows))
        write_table(foreign.replace_schema_metadata(runs.schema.metadata), tmp_path / "runs.parquet")
        for source in (foreign, tmp_path / "runs.parquet"):
            try:
                assert answers(source) == expected, name  # a column that no answer needs
            except NasbenchRobustError as error:
                assert "\n" not in str(error)  # noqa: PT017
                refused.add(name)
            except AssertionError:  # other values of the right kind are other answers
                assert name in ("pgd_acc@0.1", "clean_acc"), name
                assert type_ in ("halves", "huge"), name
    assert refused


def test_a_table_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench_robust.table.files.MOST_BYTES", 2**20)
    bomb = pa.table({"column": pa.array(np.zeros(2**18))})
    write_table(bomb.replace_schema_metadata({b"nasbench_robust": INFO.to_json()}), tmp_path / "runs.parquet")
    with pytest.raises(TableError, match=r"would take \d+ MiB of memory, \d+ times its own size"):
        Benchmark(tmp_path / "runs.parquet")


# ---------------------------------------------------------------------- odd arguments


class Broken:
    """Raises whatever it is asked for."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("broken")

    __getattr__ = __eq__ = __hash__ = __bool__ = __len__ = __iter__ = __repr__ = __index__ = __float__ = _fail


ODD = (
    *(None, 5, -1, 10**30, float("nan"), float("inf"), 0.5, True, 1j, np.bool_(True), np.int64(5), pd.NA, pd.NaT),
    *(
        "",
        b"",
        "x" * 5000,
        "\0",
        "a\nb",
        "#",
        "@",
        "pgd_acc@1/0",
        "pgd_acc@nan",
        "pgd_acc#x",
        "\ud800",
        "~nosuchuser/x",
    ),
    *([], {}, (), set(), [None], ["pgd_acc", 5], {"a": 1}, np.array([]), np.array([1, 2]), np.array(["a"])),
    *(pd.Series([1]), pd.DataFrame({"a": [1]}), pa.array([1]), np.ma.masked, bytearray(b"x"), memoryview(b"x")),
    *(object(), Broken(), Broken, iter([1]), range(3), len, nbr.Cell.from_index(5)),
)
GOOD = {"arch": 9930, "archs": [9930], "metric": "pgd_acc", "metrics": ["clean_acc", "pgd_acc"], "k": 3}


def questions() -> dict[str, tuple[str, ...]]:
    """Return the methods of a benchmark that take something, with the names of what they take."""
    code = {
        name: getattr(Benchmark, name).__code__
        for name in dir(Benchmark)
        if name[0] != "_" and callable(getattr(Benchmark, name))
    }
    names = {name: c.co_varnames[1 : c.co_argcount + c.co_kwonlyargcount] for name, c in code.items()}
    return {name: taken for name, taken in names.items() if taken}


def test_odd_arguments_are_one_sentence() -> None:
    bench, rng = nbr.load(), random.Random(0)
    asked = questions()
    good = {**GOOD, "other": bench, "split": "test", "cells": "representatives"}
    assert {"query", "frame", "best", "pareto", "join"} <= set(asked)
    for number in range(COUNT * 8):
        name = rng.choice(sorted(asked))
        odd = {argument: rng.choice(ODD) for argument in asked[name] if rng.random() < 0.4}
        arguments = {argument: good[argument] for argument in asked[name] if argument in good} | odd
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                getattr(bench, name)(**arguments)
        except NasbenchRobustError as error:
            assert "\n" not in str(error), (number, name)  # noqa: PT017


@pytest.mark.parametrize("door", [nbr.load, Benchmark, nbr.Cell.of, lambda path: nbr.load(path=path)])
def test_odd_names_of_tables_and_cells_are_one_sentence(door: Callable[[Any], object]) -> None:
    for odd in ODD:
        try:
            door(odd)
        except NasbenchRobustError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("metrics", [5, None, "pgd_acc", {"pgd_acc": 1}, object(), b"pgd_acc"])
def test_what_is_no_list_of_metrics_is_said_to_be_none(metrics: object) -> None:
    bench = nbr.load()
    with pytest.raises(nbr.errors.InvalidValueError, match="expected at least two metric names"):
        bench.pareto(metrics=metrics)
    if metrics is not None:
        with pytest.raises(nbr.errors.InvalidValueError, match="expected a sequence of metric names"):
            bench.frame(metrics=metrics)


@pytest.mark.parametrize("line", ["[[1.9, 0]]", "[[true, 0]]", "[[5, 3000000000]]", "[[5, -1]]", "[[99999, 0]]", "[5]"])
def test_a_work_list_names_cells_and_seeds_that_there_are(line: str, tmp_path: Path) -> None:
    (tmp_path / "work").write_text(line + "\n")
    with pytest.raises(TableError, match=r"line 1 is not a list of \[index, seed\] pairs"):
        read_task(tmp_path / "work", 0)
