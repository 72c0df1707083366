"""Tables on disk: what is written is read back, in parts too; files appear whole or not at all; damage is noticed."""

from __future__ import annotations

import dataclasses
import datetime
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.errors import MissingDataError, TableError
from nasbench_robust.metrics import Metric, fgsm, pgd
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import (
    CURVES_SCHEMA,
    OUTCOMES_SCHEMA,
    DatasetInfo,
    Reader,
    ReleaseInfo,
    cells_table,
    numpy_column,
    read_table,
    runs_schema,
    runs_table,
    write_table,
)

INFO = ReleaseInfo(
    name="small",
    version="1.2",
    title="Ein kleines Verzeichnis \u2013 \u5c0f",
    licence="CC0",
    citation='@misc{small, title = {"Small"}}',
    source="invented",
    datasets={
        "digits": DatasetInfo(
            {"test": 517, "validation": 100}, 0.1, Skeleton.for_dataset("digits", channels=4, cells_per_stage=1)
        ),
        "cifar10": DatasetInfo({"test": 10_000}, 8 / 255, Skeleton()),
    },
    metrics=(
        Metric("clean_acc"),
        Metric("clean_acc", split="validation"),
        Metric.of(pgd(0.1)),
        Metric.of(fgsm(8 / 255)),
    ),
    settings={settings_for("digits").hash: settings_for("digits").to_dict()},
)


def row(dataset: str, index: int, seed: int | None, **more: object) -> dict:
    images = INFO.datasets[dataset].images["test"]
    correct = (index * 7 + (seed or 0)) % images
    facts = {"dataset": dataset, "index": index, "seed": seed, "seeds": 1, "test_images": images}
    return facts | {"clean_acc": correct / images, "clean_correct": correct} | more


def small_rows() -> list[dict]:
    return [row(dataset, index, seed) for dataset in INFO.datasets for index in (0, 1, 9, 10) for seed in (1, 2)]


@pytest.fixture(scope="module")
def small_table() -> pa.Table:
    return runs_table(INFO, small_rows())


@pytest.fixture(scope="module")
def small_file(small_table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "runs.parquet"
    write_table(small_table, path)
    return path


# ---------------------------------------------------------------------- round trips


def test_a_table_is_read_back_as_it_was_written(small_table, small_file):
    assert read_table(small_file).to_pylist() == small_table.to_pylist()
    assert read_table(small_file).schema.names == small_table.schema.names
    assert Reader(small_file).info() == Reader(small_table).info() == INFO


def test_every_column_of_a_run_survives(tmp_path):
    full = row("digits", 9, 3) | {
        "pgd_acc@0.1": 0.1,
        "pgd_correct@0.1": 52,
        "clean_acc#validation": 1 / 3,
        "clean_correct#validation": 33,
        "fgsm_acc@8/255": 5e-324,
        "fgsm_correct@8/255": 2**31 - 1,
        "failure": "",
        "settings": settings_for("digits").hash,
        "engine": "torch",
        "train_seconds": 1.5,
        "eval_seconds": 0.25,
        "peak_memory_mib": 123.5,
        "device": "cpu",
        "versions": '{"torch": "2"}',
        "revision": "abc",
        "date": datetime.datetime(2024, 5, 6, 7, 8, 9, 123_000, tzinfo=datetime.timezone.utc),
    }
    assert {"release", *full} == set(runs_schema(INFO).names)
    write_table(runs_table(INFO, [full]), tmp_path / "runs.parquet")
    assert read_table(tmp_path / "runs.parquet").to_pylist() == [{"release": "small"} | full]


def test_columns_that_a_row_does_not_name_are_null(small_table):
    assert small_table.column("pgd_acc@0.1").null_count == small_table.num_rows
    assert small_table.column("release").to_pylist() == ["small"] * small_table.num_rows


def test_rows_are_ordered_by_data_set_index_seed_and_number_of_seeds():
    wanted = [
        row("digits", 0, 1),
        row("digits", 0, 2),
        row("digits", 0, None, seeds=3),
        row("digits", 0, None, seeds=1),
        row("digits", 5, 1),
        row("cifar10", 0, 1),
    ]
    shuffled = random.Random(0).sample(wanted, len(wanted))
    ordered = runs_table(INFO, shuffled).select(list(wanted[0])).to_pylist()
    assert ordered == wanted


def test_a_table_without_rows_is_read_back(tmp_path):
    write_table(runs_table(INFO, []), tmp_path / "runs.parquet")
    reader = Reader(tmp_path / "runs.parquet")
    assert reader.info() == INFO
    assert reader.read().num_rows == reader.read(["index"], dataset="digits").num_rows == 0


def test_the_cells_table_is_read_back(tmp_path):
    table = cells_table(INFO)
    write_table(table, tmp_path / "cells.parquet")
    assert read_table(tmp_path / "cells.parquet").equals(table)


@pytest.mark.parametrize("schema", [CURVES_SCHEMA, OUTCOMES_SCHEMA], ids=["curves", "outcomes"])
def test_empty_curves_and_outcomes_are_read_back(schema, tmp_path):
    write_table(schema.empty_table(), tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet").schema.names == schema.names


def test_the_cells_table_says_what_the_cells_say():
    table = cells_table(INFO)
    assert table.num_rows == cells.SIZE
    digits = INFO.datasets["digits"].skeleton
    for index in range(0, cells.SIZE, 777):
        cell, facts = Cell.from_index(index), table.slice(index, 1).to_pylist()[0]
        assert facts == {
            "index": index,
            "arch": str(cell),
            "representative": cell.representative,
            "connected": cell.connected,
            **{operation: cell.count(operation) for operation in cells.OPERATIONS},
            "parameters@digits": cell.parameters(digits),
            "flops@digits": cell.flops(digits),
            "parameters@cifar10": cell.parameters(),
            "flops@cifar10": cell.flops(),
        }


# ---------------------------------------------------------------------- what a release says about itself


def test_a_description_survives_json():
    assert ReleaseInfo.from_json(INFO.to_json()) == INFO
    assert ReleaseInfo.from_json(INFO.to_json().encode()) == INFO
    assert ReleaseInfo.from_json(INFO.to_json()).to_json() == INFO.to_json()


@given(st.text(), st.text(), st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers() | st.text())))
def test_any_text_in_a_description_survives_json(title, citation, settings):
    info = dataclasses.replace(INFO, title=title, citation=citation, settings=settings)
    assert ReleaseInfo.from_json(info.to_json()) == info


def described(change: object) -> bytes:
    """Return the small release's description with some of its facts replaced, by path."""
    if not isinstance(change, dict):
        return change
    facts = json.loads(INFO.to_json())
    for path, value in change.items():
        *steps, last = path
        place = facts
        for step in steps:
            place = place[step]
        place[last] = value
    return json.dumps(facts).encode()


WRONG_DESCRIPTIONS = {
    "empty": b"",
    "no JSON": b"small",
    "not UTF-8": b"\xff\xfe\xfd",
    "a list": b"[]",
    "a number": b"5",
    "an empty object": b"{}",
    "nested too deep": b"[" * 100_000,
    "another format": {("format",): 2},
    "a stranger": {("colour",): "red"},
    "data sets in a list": {("datasets",): ["digits"]},
    "a data set of nothing": {("datasets", "digits"): None},
    "no images": {("datasets", "digits"): {"eps": 0.1, "skeleton": {}}},
    "images in a list": {("datasets", "digits", "images"): []},
    "images as text": {("datasets", "digits", "images"): {"test": "many"}},
    "more images than a number can say": {("datasets", "digits", "images"): {"test": 10**400}},
    "a negative number of images": {("datasets", "digits", "images"): {"test": -1}},
    "a budget as text": {("datasets", "digits", "eps"): "wide"},
    "a skeleton of nothing": {("datasets", "digits", "skeleton"): {"channels": 0}},
    "a skeleton of strangers": {("datasets", "digits", "skeleton"): {"colour": 1}},
    "metrics as text": {("metrics",): "clean_acc"},
    "an unknown metric": {("metrics", 0, "name"): "loss"},
    "a metric in a list": {("metrics", 0, "name"): ["clean_acc"]},
    "an unknown split": {("metrics", 0, "split"): "train"},
    "a missing attack": {("metrics", 2, "attack"): None},
    "an attack as text": {("metrics", 2, "attack"): "pgd"},
    "a budget out of range": {("metrics", 2, "attack", "eps"): 8},
    "a budget beyond the floats": {("metrics", 2, "attack", "eps"): 10**400},
}


@pytest.mark.parametrize("name", WRONG_DESCRIPTIONS)
def test_a_wrong_description_is_a_table_error(name, small_table, tmp_path):
    metadata = {b"nasbench_robust": described(WRONG_DESCRIPTIONS[name])}
    path = tmp_path / "runs.parquet"
    write_table(small_table.replace_schema_metadata(metadata), path)
    with pytest.raises(TableError, match="its release description cannot be read") as caught:
        Reader(path).info()
    assert caught.value.path == str(path)


def test_a_table_without_a_description_is_not_a_runs_table(tmp_path):
    write_table(pa.table({"index": [1]}), tmp_path / "other.parquet")
    for source in (tmp_path / "other.parquet", pa.table({"index": [1]})):
        with pytest.raises(TableError, match="not a runs table of nasbench-robust"):
            Reader(source).info()


# ---------------------------------------------------------------------- reading in parts


@pytest.fixture(params=["file", "folder", "memory"])
def reader(request, small_table, small_file, tmp_path) -> Reader:
    if request.param == "memory":
        return Reader(small_table)
    if request.param == "file":
        return Reader(small_file)
    for number in range(4):
        write_table(small_table.slice(4 * number, 4), tmp_path / f"shard-{number}.parquet")
    return Reader(tmp_path)


def test_only_the_asked_columns_are_returned_in_the_asked_order(reader, small_table):
    for columns in (
        ["index"],
        ["clean_acc", "index"],
        ["dataset"],
        ["seed", "dataset"],
        small_table.schema.names[::-1],
    ):
        table = reader.read(columns)
        assert table.schema.names == columns
        assert table.to_pylist() == small_table.select(columns).to_pylist()


def test_only_the_asked_data_sets_rows_are_returned(reader, small_table):
    for dataset in INFO.datasets:
        expected = [facts for facts in small_table.to_pylist() if facts["dataset"] == dataset]
        assert reader.read(dataset=dataset).to_pylist() == expected
        seen = reader.read(["seed", "index"], dataset=dataset)
        assert seen.schema.names == ["seed", "index"]
        assert seen.to_pylist() == [{"seed": facts["seed"], "index": facts["index"]} for facts in expected]
    assert reader.read(["index"], dataset="cifar100").num_rows == 0


def test_a_column_that_is_not_there_is_named(reader):
    with pytest.raises(TableError, match="no column 'colour'"):
        reader.read(["index", "colour"])
    with pytest.raises(TableError, match="no column 'colour'"):
        reader.read(["colour"], dataset="digits")


def test_a_data_set_is_asked_of_a_table_without_the_column(small_table, tmp_path):
    table = small_table.drop_columns(["dataset"])
    write_table(table, tmp_path / "runs.parquet")
    for source in (table, tmp_path / "runs.parquet"):
        with pytest.raises(TableError, match="no column 'dataset'"):
            Reader(source).read(["index"], dataset="digits")


def test_columns_that_stand_twice_are_a_table_error(small_table):
    doubled = small_table.append_column("index", small_table.column("index"))
    with pytest.raises(TableError, match="index"):
        Reader(doubled).read(["index"])


def test_data_sets_have_row_groups_of_their_own(small_file):
    assert pq.ParquetFile(small_file).num_row_groups == 2


def test_data_sets_may_come_in_turns(small_table, tmp_path):
    mixed = small_table.take([0, 8, 1, 9, 2])
    write_table(mixed, tmp_path / "runs.parquet")
    assert pq.ParquetFile(tmp_path / "runs.parquet").num_row_groups == 5
    digits = read_table(tmp_path / "runs.parquet", dataset="digits")
    assert digits.to_pylist() == small_table.slice(0, 3).to_pylist()


def with_broken_chunk(path: Path, group: int, column: str, copy: Path) -> Path:
    """Copy a Parquet file with the values of one column in one row group spoilt, so that reading them fails."""
    row_group = pq.ParquetFile(path).metadata.row_group(group)
    chunk = next(c for n in range(row_group.num_columns) if (c := row_group.column(n)).path_in_schema == column)
    content = bytearray(path.read_bytes())
    start = chunk.data_page_offset
    if chunk.has_dictionary_page:
        start = chunk.dictionary_page_offset
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    copy.write_bytes(content)
    return copy


def test_other_columns_are_not_read(small_file, tmp_path):
    for column in set(pq.ParquetFile(small_file).schema_arrow.names) - {"dataset", "index"}:
        path = with_broken_chunk(small_file, 0, column, tmp_path / "broken.parquet")
        assert Reader(path).read(["index"]).num_rows == 16
        assert Reader(path).read(["index"], dataset="digits").num_rows == 8
        with pytest.raises(TableError, match="cut or damaged"):
            Reader(path).read([column])


def test_other_data_sets_are_not_read(small_file, tmp_path):
    for group, (sound, broken) in enumerate([("cifar10", "digits"), ("digits", "cifar10")]):
        path = with_broken_chunk(small_file, group, "clean_acc", tmp_path / "broken.parquet")
        assert Reader(path).read(["clean_acc"], dataset=sound).num_rows == 8
        with pytest.raises(TableError, match="cut or damaged"):
            Reader(path).read(["clean_acc"], dataset=broken)


# ---------------------------------------------------------------------- whole or not at all


class FullDiskError(OSError):
    pass


@pytest.mark.parametrize("stage", ["first part", "second part", "flush", "rename"])
@pytest.mark.parametrize("before", [None, b"what was there before"])
def test_a_writer_that_fails_leaves_nothing_behind(stage, before, small_table, tmp_path, monkeypatch):
    path = tmp_path / "runs.parquet"
    if before:
        path.write_bytes(before)

    def fail(*args: object, **named: object) -> None:
        raise FullDiskError

    if stage == "flush":
        monkeypatch.setattr("os.fsync", fail)
    elif stage == "rename":
        monkeypatch.setattr("os.replace", fail)
    else:
        write, left = pq.ParquetWriter.write_table, ["first part", "second part"].index(stage)

        def write_some(self, *args: object, **named: object) -> None:
            nonlocal left
            if not left:
                raise FullDiskError
            left -= 1
            write(self, *args, **named)

        monkeypatch.setattr(pq.ParquetWriter, "write_table", write_some)
    with pytest.raises(FullDiskError):
        write_table(small_table, path)
    assert [child.name for child in tmp_path.iterdir()] == ["runs.parquet"] * bool(before)
    assert not before or path.read_bytes() == before


def test_writing_replaces_what_was_there_and_makes_the_folder(small_table, tmp_path):
    path = tmp_path / "new" / "folder" / "runs.parquet"
    write_table(small_table.slice(0, 1), path)
    write_table(small_table, str(path))
    assert read_table(path).num_rows == small_table.num_rows
    assert [child.name for child in path.parent.iterdir()] == ["runs.parquet"]


# argv: the source, the target, the moment of death
DYING_WRITER = """
import os, signal, sys
import pyarrow.parquet as pq
from nasbench_robust.table.files import read_table, write_table

table = read_table(sys.argv[1])

def die(*args, **named):
    os.kill(os.getpid(), signal.SIGKILL)

write, replace, parts = pq.ParquetWriter.write_table, os.replace, []

def write_and_die(self, *args, **named):
    write(self, *args, **named)
    parts.append(args)
    if len(parts) == int(sys.argv[3][-1]):
        die()

def rename_and_die(*args):
    replace(*args)
    die()

if sys.argv[3] in ("part 1", "part 2"):
    pq.ParquetWriter.write_table = write_and_die
if sys.argv[3] == "flush":
    os.fsync = die
if sys.argv[3] == "before the rename":
    os.replace = die
if sys.argv[3] == "after the rename":
    os.replace = rename_and_die
write_table(table, sys.argv[2])
"""


@pytest.mark.parametrize("moment", ["part 1", "part 2", "flush", "before the rename", "after the rename"])
def test_a_writer_that_is_killed_leaves_all_or_nothing_under_the_name(moment, small_file, small_table, tmp_path):
    path = tmp_path / "runs.parquet"
    ran = subprocess.run([sys.executable, "-c", DYING_WRITER, str(small_file), str(path), moment], check=False)
    assert ran.returncode == -signal.SIGKILL
    if moment == "after the rename":
        assert [child.name for child in tmp_path.iterdir()] == ["runs.parquet"]
        assert read_table(tmp_path).to_pylist() == small_table.to_pylist()
        return
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1  # the unfinished file
    with pytest.raises(MissingDataError, match="no Parquet file in"):
        Reader(tmp_path)
    write_table(small_table, path)  # what was left behind is in nobody's way
    assert read_table(tmp_path).to_pylist() == small_table.to_pylist()


TIRELESS_WRITER = """
import sys
from nasbench_robust.table.files import read_table, write_table

tables = [read_table(path) for path in sys.argv[1:3]]
print("ready", flush=True)
while True:
    for table in tables:
        write_table(table, sys.argv[3])
"""


def test_a_writer_killed_at_any_time_leaves_a_whole_file(made_up_table, small_file, small_table, tmp_path):
    rng = random.Random(0)
    sizes = {small_table.num_rows, pq.ParquetFile(made_up_table).metadata.num_rows}
    for attempt in range(4):
        path = tmp_path / f"{attempt}.parquet"
        command = [sys.executable, "-c", TIRELESS_WRITER, str(small_file), str(made_up_table), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.15))
            writer.kill()
        assert not path.exists() or read_table(path).num_rows in sizes


def test_writers_of_one_file_do_not_disturb_each_other(small_table, tmp_path):
    path = tmp_path / "runs.parquet"
    parts = [small_table.slice(0, size) for size in (1, 5, 16)]
    threads = [
        threading.Thread(target=lambda part=part: [write_table(part, path) for _ in range(10)]) for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_table(path).num_rows in {1, 5, 16}
    assert [child.name for child in tmp_path.iterdir()] == ["runs.parquet"]


# ---------------------------------------------------------------------- folders of shards


def test_shards_are_read_in_the_order_of_their_names(small_table, tmp_path):
    for name, start in (("b", 4), ("a", 0), ("c", 8)):
        write_table(small_table.slice(start, 4), tmp_path / f"{name}.parquet")
    assert read_table(tmp_path).to_pylist() == small_table.slice(0, 12).to_pylist()
    assert Reader(tmp_path).info() == INFO
    assert [path.name for path in Reader(tmp_path).paths] == ["a.parquet", "b.parquet", "c.parquet"]


def test_files_that_are_no_shards_are_not_looked_at(small_table, tmp_path):
    write_table(small_table, tmp_path / "runs.parquet")
    for name in (".runs.parquet.123-abcd.tmp", ".hidden.parquet", "README.md", "runs.parquet.tmp", "runs.json"):
        (tmp_path / name).write_bytes(b"no Parquet")
    (tmp_path / "old").mkdir()
    write_table(small_table, tmp_path / "old" / "runs.parquet")
    assert read_table(tmp_path).num_rows == small_table.num_rows


@pytest.mark.parametrize(
    "other",
    [
        runs_table(dataclasses.replace(INFO, version="1.3"), []),
        runs_table(dataclasses.replace(INFO, metrics=INFO.metrics[:1]), []),
        runs_table(INFO, []).replace_schema_metadata(None),
        runs_table(INFO, []).drop_columns(["device"]),
        pa.table({"index": [1]}),
    ],
    ids=["version", "metrics", "no description", "a column less", "another table"],
)
def test_shards_of_different_tables_are_refused_with_both_names(other, small_table, tmp_path):
    write_table(small_table, tmp_path / "first.parquet")
    write_table(other, tmp_path / "second.parquet")
    with pytest.raises(TableError, match=r"second\.parquet.*differ.*first\.parquet"):
        Reader(tmp_path)


def test_a_damaged_shard_is_named(small_table, tmp_path):
    write_table(small_table, tmp_path / "first.parquet")
    (tmp_path / "second.parquet").write_bytes((tmp_path / "first.parquet").read_bytes()[:-9])
    with pytest.raises(TableError, match=r"second\.parquet: not readable as Parquet"):
        Reader(tmp_path)


def test_what_is_not_there_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=re.escape(f"no file or folder {tmp_path / 'absent'}")):
        Reader(tmp_path / "absent")
    with pytest.raises(MissingDataError, match=re.escape(f"no Parquet file in {tmp_path}")):
        Reader(str(tmp_path))


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"acc={}", bytes(1000), b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_is_refused(content, tmp_path):
    path = tmp_path / "runs.parquet"
    path.write_bytes(content)
    with pytest.raises(TableError, match="not readable as Parquet") as caught:
        Reader(path)
    assert caught.value.path == str(path)


def test_a_folder_that_is_called_like_a_file_is_refused(small_table, tmp_path):
    (tmp_path / "runs.parquet").mkdir()
    with pytest.raises(TableError, match=r"runs\.parquet: not readable as Parquet"):
        Reader(tmp_path)


def test_a_file_cut_anywhere_is_refused(small_file, tmp_path):
    content = small_file.read_bytes()
    path = tmp_path / "cut.parquet"
    for length in {*range(0, len(content), 13), *range(100), *range(len(content) - 300, len(content))}:
        path.write_bytes(content[:length])
        with pytest.raises(TableError, match="not readable as Parquet"):
            Reader(path)


# Damage to a footer may end the process, so it is tried in another one. Its input: a line "position bit" for every bit
# to be turned. It says which it tries, and what came out that should not: an error of another class, or other values.
FLIPPER = """
import os, sys
from nasbench_robust.errors import TableError
from nasbench_robust.table.files import Reader

source, target = sys.argv[1:3]
content = open(source, "rb").read()
values_start, values_end = 4, len(content) - 8 - int.from_bytes(content[-8:-4], "little")

def everything(path):
    reader = Reader(path)
    try:
        reader.info()
    except TableError:
        pass
    return reader.read().to_pylist(), reader.read(["index", "clean_acc"], dataset="digits").to_pylist()

expected = everything(source)
for line in sys.stdin:
    position, bit = map(int, line.split())
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    with open(target, "wb") as file:
        file.write(damaged)
    print("trying", position, bit, file=sys.stderr, flush=True)
    try:
        values = everything(target)
    except TableError:
        continue
    except Exception as error:
        print(f"{position} {bit}: {type(error).__name__}: {error}".splitlines()[0])
        continue
    if values_start <= position < values_end and values != expected:
        print(f"{position} {bit}: other values")
print("done")
"""


def flip(source: Path, target: Path, flips: list[tuple[int, int]]) -> None:
    lines = "".join(f"{position} {bit}\n" for position, bit in flips)
    command = [sys.executable, "-c", FLIPPER, str(source), str(target)]
    ran = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"the process died: {ran.stderr.splitlines()[-3:]}"
    assert ran.stdout.splitlines() == ["done"]


def footer_start(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def test_a_turned_bit_among_the_values_is_noticed_or_does_not_matter(small_file, tmp_path):
    rng = random.Random(0)
    end = footer_start(small_file.read_bytes())
    flip(small_file, tmp_path / "flipped.parquet", [(position, rng.randrange(8)) for position in range(end)])


def test_a_turned_bit_in_the_footer_is_noticed_or_leaves_the_file_readable(small_file, tmp_path):
    rng = random.Random(0)
    content = small_file.read_bytes()
    positions = range(footer_start(content), len(content), 3)
    flip(small_file, tmp_path / "flipped.parquet", [(position, rng.randrange(8)) for position in positions])


def test_a_turned_bit_beside_the_name_of_the_data_set_column_is_noticed_or_harmless(small_file, tmp_path):
    """There the footer says in which row groups a data set lies, which is looked at before anything is read."""
    content = small_file.read_bytes()
    names = [match.start() for match in re.finditer(b"dataset", content) if match.start() >= footer_start(content)]
    assert names
    flips = [(position, bit) for name in names for position in range(name - 12, name + 10) for bit in range(8)]
    flip(small_file, tmp_path / "flipped.parquet", flips)


# ---------------------------------------------------------------------- columns to NumPy

NUMBERS = {
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**53), 2**53),
    pa.uint8(): st.integers(0, 2**8 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
}


@pytest.mark.parametrize("type_", NUMBERS, ids=str)
@given(data=st.data())
def test_columns_equal_pyarrows_own_conversion(type_, data):
    lists = data.draw(st.lists(st.lists(NUMBERS[type_] | st.none(), max_size=20), max_size=4))
    column = pa.chunked_array([pa.array(values, type_) for values in lists], type=type_)
    start = data.draw(st.integers(0, len(column)))
    column = column.slice(start, data.draw(st.integers(0, len(column) - start)))
    values, valid = numpy_column(column)
    assert values.dtype == type_.to_pandas_dtype()
    assert valid.dtype == bool
    assert np.array_equal(valid, column.is_valid().to_numpy())
    expected = column.drop_null().to_numpy()
    assert np.array_equal(values[valid], expected, equal_nan=values.dtype.kind == "f")
    if values.dtype.kind == "f":
        assert np.isnan(values[~valid]).all()


@pytest.mark.parametrize("column", ["index", "seed", "seeds", "clean_acc", "clean_correct", "pgd_acc@0.1"])
def test_columns_of_a_file_equal_pyarrows_own_conversion(made_up_table, small_file, column):
    for path in (made_up_table, small_file):
        if column not in Reader(path).schema.names:
            continue
        read = read_table(path, [column]).column(column)
        values, valid = numpy_column(read)
        assert np.array_equal(np.where(valid, values, np.nan), read.cast(pa.float64()).to_numpy(), equal_nan=True)


def test_a_query_does_not_import_pandas(made_up_table):
    program = (
        "import sys; import nasbench_robust as nbr; bench = nbr.Benchmark(sys.argv[1]);"
        "bench.query(9930, 'cifar10', 'pgd_acc'); bench.lookup(5, 'cifar100', 'clean_acc');"
        "bench.query_many(range(15625), 'imagenet', 'autoattack_acc');"
        "print(sorted({'pandas', 'torch'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(made_up_table)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
