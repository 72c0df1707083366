"""A release whose numbers are unpacked answers as its table does, to the last bit and word, whatever befalls them."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from processes import PATIENCE, run_python, started

import nasbench_robust as nbr
from nasbench_robust.errors import NasbenchRobustError
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE, checked, checksum
from nasbench_robust.releases import loading, locate, publish
from nasbench_robust.table import Benchmark, Reader, unpack, verify, write_table
from nasbench_robust.table.unpacked import Unpacked

BUNDLED = locate("digits")
QUESTION = {"arch": 9930, "metric": "pgd_acc"}
ODD = (
    {"metric": "pgd"},
    {"metric": ""},
    {"metric": "fab_t_acc"},
    {"metric": ["clean_acc"]},
    {"metric": "pgd_acc", "seed": 77},
    {"metric": "pgd_acc", "seed": -1},
    {"metric": "pgd_acc", "eps": 0.7},
    {"metric": "clean_acc", "eps": 0.1},
    {"metric": "clean_acc", "split": "tset"},
    {"metric": "pgd_acc", "dataset": ""},
    {"metric": "pgd_acc", "dataset": "mnist"},
    {"metric": "pgd_acc", "arch": 15_625},
)


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled table in a folder of its own, from where it is loaded; its numbers are not unpacked yet."""
    folder = tmp_path / "package" / "digits"
    folder.mkdir(parents=True)
    for name in ("runs.parquet", "manifest.json"):
        shutil.copyfile(BUNDLED.with_name(name), folder / name)
    monkeypatch.setattr(loading, "_DATA", folder.parent)
    return folder / "runs.parquet"


@pytest.fixture(scope="module")
def value() -> float:
    """The answer to `QUESTION` by the table itself."""
    return Benchmark(BUNDLED).query(**QUESTION)


def unpacked_in(folder: Path) -> Path:
    (place,) = folder.glob(".*.unpacked")
    return place


def is_unpacked(bench: Benchmark) -> bool:
    return isinstance(bench._source, Unpacked)


def said(bench: Benchmark, question: dict) -> str:
    with pytest.raises(NasbenchRobustError) as caught:
        bench.query(**{"arch": 9, "dataset": bench.datasets[0], **question})
    return f"{type(caught.value).__name__}: {caught.value}"


# ---------------------------------------------------------------------- the same answers


@pytest.mark.parametrize("name", ["digits", "nas-robbench-201", "standard-training"])
def test_all_that_a_release_answers_is_what_its_table_answers(name, request):
    if name != "digits":
        fixture = {"nas-robbench-201": "published_file", "standard-training": "standard_file"}[name]
        loading.fetch(loading.RELEASES[name], path=request.getfixturevalue(fixture))
    nbr.load(name)  # unpacks it
    one, other = nbr.load(name), Benchmark(locate(name))
    assert [is_unpacked(bench) for bench in (one, other)] == [True, False]
    assert (one.info, one.version, one.cite()) == (other.info, other.version, other.cite())
    measured = 0
    for dataset in one.datasets:
        assert one.measured(dataset) == other.measured(dataset)
        for metric, seeds in other.measured(dataset).items():
            for spelt in {metric.name, metric.long_name, metric.column}:
                assert one.query(9930, dataset, spelt) == other.query(9930, dataset, spelt)
            for seed in (None, *seeds):
                values = other.values(dataset, metric.column, seed=seed)
                np.testing.assert_array_equal(one.values(dataset, metric.column, seed=seed), values)
                for arch in np.flatnonzero(~np.isnan(values))[::997].tolist():
                    results = [bench.lookup(arch, dataset, metric.column, seed=seed) for bench in (one, other)]
                    assert results[0] == results[1]
                    measured += 1
        seconds = [bench.values(dataset, "train_seconds") for bench in (one, other)]
        np.testing.assert_array_equal(*seconds)
        pd.testing.assert_frame_equal(one.best(dataset, "clean_acc"), other.best(dataset, "clean_acc"))
    assert measured > 100
    pd.testing.assert_frame_equal(one.frame(cells="all"), other.frame(cells="all"))
    pd.testing.assert_frame_equal(one.metrics(), other.metrics())
    assert [said(one, question) for question in ODD] == [said(other, question) for question in ODD]


def test_one_that_is_unpacked_is_equal_to_the_table_and_travels(table, value):
    nbr.load()
    bench = nbr.load()
    assert bench == Benchmark(table)
    assert hash(bench) == hash(Benchmark(table))
    assert pickle.loads(pickle.dumps(bench)).query(**QUESTION) == value
    assert bench._store.reader.read(["index"]).num_rows == 19_398


# ---------------------------------------------------------------------- where it lies, and what befalls it


def test_it_is_made_once_and_belongs_to_no_release(table, value, private_home, tmp_path):
    problems = verify(table.parent)
    assert nbr.load().query(**QUESTION) == value
    made = unpacked_in(table.parent).stat()
    assert nbr.load().query(**QUESTION) == value
    assert unpacked_in(table.parent).stat().st_mtime_ns == made.st_mtime_ns
    assert not private_home.exists()
    assert verify(table.parent) == problems
    publication = publish(table.parent, tmp_path / "published", licence="CC BY 4.0", force=True)
    assert not any("unpacked" in name for name in publication.files)
    assert list((tmp_path / "published").rglob("*.unpacked")) == []


def cut(place: Path) -> None:
    os.truncate(place, place.stat().st_size - 1)


def begin_otherwise(place: Path) -> None:
    place.write_bytes(b"\0" * 8 + place.read_bytes()[8:])


def change(place: Path) -> None:
    """Change a byte in every kilobyte of the numbers, behind their description."""
    content = np.frombuffer(place.read_bytes(), np.uint8).copy()
    content[200_000::1024] ^= 1
    place.write_bytes(content.tobytes())


def be_of_another_table(place: Path) -> None:
    other = Reader(BUNDLED).read().slice(1)
    folder = place.parent / "other"
    write_table(other, folder / "runs.parquet")
    digest = checksum(folder / "runs.parquet")
    unpack(folder / "runs.parquet", digest)
    unpacked_in(folder).replace(place)
    shutil.rmtree(folder)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "cut": cut,
    "empty": lambda place: os.truncate(place, 0),
    "another beginning": begin_otherwise,
    "other numbers": change,
    "of another table": be_of_another_table,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_that_is_damaged_is_none_and_is_made_again(table, damage):
    nbr.load()
    place = unpacked_in(table.parent)
    whole, expected = place.read_bytes(), Benchmark(table).frame(cells="all")
    DAMAGES[damage](place)
    bench = nbr.load()
    pd.testing.assert_frame_equal(bench.frame(cells="all"), expected)
    assert bench.query(**QUESTION) == expected["pgd_acc@0.1"][9930]
    nbr.load()
    assert unpacked_in(table.parent).read_bytes() == whole


def test_one_that_is_removed_or_damaged_while_it_is_asked_is_none(table, value):
    nbr.load()
    for damage in (Path.unlink, change):
        bench = nbr.load()
        damage(unpacked_in(table.parent))
        assert bench.query(**QUESTION) == value
        assert bench.lookup(**QUESTION, seed=1) == Benchmark(table).lookup(**QUESTION, seed=1)


def test_a_table_that_changed_is_not_answered_from_what_was_unpacked(table):
    before = nbr.load().query(**QUESTION)
    changed = Reader(table).read()
    position = changed.schema.get_field_index("pgd_acc@0.1")
    other = changed.set_column(position, changed.schema.field(position), [[0.25] * changed.num_rows])
    write_table(other, table)
    with pytest.raises(NasbenchRobustError, match="SHA-256"):
        nbr.load()
    manifest = table.with_name("manifest.json")
    old, new = checked(BUNDLED)[0], checksum(table)
    manifest.write_text(manifest.read_text().replace(old, new))
    for _ in range(2):
        assert nbr.load().query(**QUESTION) == 0.25 != before


def test_where_the_package_cannot_be_written_to_it_lies_with_the_downloads(table, value, private_home, monkeypatch):
    may_write = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != table.parent and may_write(path, mode))
    for _ in range(2):
        assert is_unpacked(bench := nbr.load())
        assert bench.query(**QUESTION) == value
    assert unpacked_in(private_home / "unpacked").stat().st_size > 1e6
    assert sorted(path.name for path in table.parent.iterdir()) == ["manifest.json", "runs.parquet"]


@pytest.mark.parametrize("obstacle", ["no place", "a full disk", "a home that is a file"])
def test_where_it_can_be_kept_nowhere_the_table_answers(table, value, private_home, monkeypatch, obstacle):
    if obstacle == "a full disk":
        monkeypatch.setattr("nasbench_robust.files.write_bytes", fail)
    else:
        monkeypatch.setattr(os, "access", lambda *_: False)
    if obstacle == "a home that is a file":
        private_home.write_text("")
    bench = nbr.load()
    assert not is_unpacked(bench)
    assert bench.query(**QUESTION) == value
    assert list(table.parent.glob(".*")) == []


def fail(*_: object) -> None:
    raise OSError(28, "No space left on device")


PROGRAM = """
import sys
import nasbench_robust as nbr
from pathlib import Path
from nasbench_robust.releases import loading
loading._DATA = Path(sys.argv[1]).parents[1]
print(nbr.load().query(9930, metric="pgd_acc"))
"""


def test_processes_that_unpack_at_once_all_answer(table, value):
    with ExitStack() as stack:
        command = [sys.executable, "-c", PROGRAM, str(table)]
        many = [stack.enter_context(started(command, stdout=subprocess.PIPE, text=True)) for _ in range(4)]
        assert [process.communicate(timeout=PATIENCE)[0] for process in many] == [f"{value}\n"] * 4
    assert [path.name for path in table.parent.glob(".*")] == [unpacked_in(table.parent).name]
    assert run_python(PROGRAM, str(table)) == f"{value}\n"
