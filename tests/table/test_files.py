"""Tables on disk: read back in parts too; files appear whole or not at all; damage is noticed."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_tables import TWO
from processes import started

from nasbench_robust.errors import MissingDataError, TableError
from nasbench_robust.table import Reader, read_table, runs_table, write_table


def names(folder):
    return sorted(child.name for child in folder.iterdir())


# ---------------------------------------------------------------------- reading in parts


@pytest.fixture(params=["file", "folder", "memory"])
def reader(request, two_table, two_file, sharded) -> Reader:
    sources = {"file": lambda: two_file, "folder": lambda: sharded(two_table, 4), "memory": lambda: two_table}
    return Reader(sources[request.param]())


def test_a_table_is_read_back_as_it_was_written(reader, two_table):
    assert reader.read().to_pylist() == two_table.to_pylist()
    assert reader.read().schema.names == two_table.schema.names
    assert reader.info() == TWO


def test_only_the_asked_columns_are_returned_in_the_asked_order(reader, two_table):
    for columns in (["index"], ["clean_acc", "index"], ["dataset"], ["seed", "dataset"], two_table.schema.names[::-1]):
        table = reader.read(columns)
        assert table.schema.names == columns
        assert table.to_pylist() == two_table.select(columns).to_pylist()


def test_only_the_asked_data_sets_rows_are_returned(reader, two_table):
    for dataset in TWO.datasets:
        expected = [facts for facts in two_table.to_pylist() if facts["dataset"] == dataset]
        assert reader.read(dataset=dataset).to_pylist() == expected
        seen = reader.read(["seed", "index"], dataset=dataset)
        assert seen.schema.names == ["seed", "index"]
        assert seen.to_pylist() == [{"seed": facts["seed"], "index": facts["index"]} for facts in expected]
    assert reader.read(["index"], dataset="cifar100").num_rows == 0


def test_a_column_that_is_not_there_is_named(reader):
    for question in ({"columns": ["index", "colour"]}, {"columns": ["colour"], "dataset": "digits"}):
        with pytest.raises(TableError, match="no column 'colour'"):
            reader.read(**question)


def test_a_data_set_is_asked_of_a_table_without_the_column(two_table, tmp_path):
    table = two_table.drop_columns(["dataset"])
    write_table(table, tmp_path / "runs.parquet")
    for source in (table, tmp_path / "runs.parquet"):
        with pytest.raises(TableError, match="no column 'dataset'"):
            Reader(source).read(["index"], dataset="digits")


def test_columns_that_stand_twice_are_a_table_error(two_table):
    doubled = two_table.append_column("index", two_table.column("index"))
    with pytest.raises(TableError, match="column 'index' stands twice"):
        Reader(doubled).read(["index"])


def test_a_table_without_rows_has_none_of_a_data_set(tmp_path):
    write_table(runs_table(TWO, []), tmp_path / "runs.parquet")
    assert read_table(tmp_path / "runs.parquet", ["index"], dataset="digits").num_rows == 0


def test_data_sets_have_row_groups_of_their_own_and_may_come_in_turns(two_table, two_file, tmp_path):
    assert pq.ParquetFile(two_file).num_row_groups == 2
    write_table(two_table.take([0, 8, 1, 9, 2]), tmp_path / "runs.parquet")
    assert pq.ParquetFile(tmp_path / "runs.parquet").num_row_groups == 5
    digits = read_table(tmp_path / "runs.parquet", dataset="digits")
    assert digits.to_pylist() == two_table.slice(0, 3).to_pylist()


def with_broken_chunk(path, group, column, copy):
    """Copy a Parquet file with the values of one column in one row group spoilt, so that reading them fails."""
    row_group = pq.ParquetFile(path).metadata.row_group(group)
    chunk = next(c for n in range(row_group.num_columns) if (c := row_group.column(n)).path_in_schema == column)
    content = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    content[start : start + chunk.total_compressed_size] = bytes(chunk.total_compressed_size)
    copy.write_bytes(content)
    return copy


def test_other_columns_are_not_read(two_file, tmp_path):
    for column in set(pq.ParquetFile(two_file).schema_arrow.names) - {"dataset", "index"}:
        path = with_broken_chunk(two_file, 0, column, tmp_path / "broken.parquet")
        assert Reader(path).read(["index"]).num_rows == 16
        assert Reader(path).read(["index"], dataset="digits").num_rows == 8
        with pytest.raises(TableError, match="cut or damaged"):
            Reader(path).read([column])


def test_other_data_sets_are_not_read(two_file, tmp_path):
    for group, (sound, broken) in enumerate([("cifar10", "digits"), ("digits", "cifar10")]):
        path = with_broken_chunk(two_file, group, "clean_acc", tmp_path / "broken.parquet")
        assert Reader(path).read(["clean_acc"], dataset=sound).num_rows == 8
        with pytest.raises(TableError, match="cut or damaged"):
            Reader(path).read(["clean_acc"], dataset=broken)


# ---------------------------------------------------------------------- whole or not at all


PART = "pyarrow.parquet.ParquetWriter.write_table"


@pytest.mark.parametrize(("function", "calls"), [(PART, 0), (PART, 1), ("os.fsync", 0), ("os.replace", 0)])
@pytest.mark.parametrize("before", [None, b"what was there before"])
def test_a_writer_that_fails_leaves_nothing_behind(function, calls, before, two_table, tmp_path, monkeypatch):
    path = tmp_path / "runs.parquet"
    if before:
        path.write_bytes(before)

    doing = iter([pq.ParquetWriter.write_table] * calls + [Mock(side_effect=OSError("no space left"))])
    monkeypatch.setattr(function, lambda *args, **named: next(doing)(*args, **named))
    with pytest.raises(OSError, match="no space left"):
        write_table(two_table, path)
    assert names(tmp_path) == ["runs.parquet"] * bool(before)
    assert not before or path.read_bytes() == before


def test_writing_replaces_what_was_there_and_makes_the_folder(two_table, tmp_path):
    path = tmp_path / "new" / "folder" / "runs.parquet"
    write_table(two_table.slice(0, 1), path)
    write_table(two_table, str(path))
    assert read_table(path).num_rows == two_table.num_rows
    assert names(path.parent) == ["runs.parquet"]


def test_a_table_that_is_there_stays_where_it_is_not_to_be_replaced(two_table, tmp_path):
    path = tmp_path / "runs.parquet"
    assert write_table(two_table.slice(0, 1), path, replace=False)
    assert not write_table(two_table, path, replace=False)
    assert read_table(path).num_rows == 1
    assert write_table(two_table, path)
    assert read_table(path).num_rows == two_table.num_rows


# argv: the source, the target, a function and after how many of its calls to die
DYING_WRITER = """
import os, signal, sys
import pyarrow.parquet as pq
from nasbench_robust.table.files import read_table, write_table

table, name, left = read_table(sys.argv[1]), sys.argv[3], int(sys.argv[4])
home = pq.ParquetWriter if name == "write_table" else os
real = getattr(home, name)

def dying(*args, **named):
    global left
    if left:
        real(*args, **named)
        left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

setattr(home, name, dying)
write_table(table, sys.argv[2])
"""


@pytest.mark.parametrize(
    ("function", "calls"), [("write_table", 1), ("write_table", 2), ("fsync", 0), ("replace", 0), ("replace", 1)]
)
def test_a_writer_that_is_killed_leaves_all_or_nothing_under_the_name(function, calls, two_file, two_table, tmp_path):
    path = tmp_path / "runs.parquet"
    command = [sys.executable, "-c", DYING_WRITER, str(two_file), str(path), function, str(calls)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    if (function, calls) == ("replace", 1):
        assert names(tmp_path) == ["runs.parquet"]
    else:
        assert not path.exists()
        assert len(names(tmp_path)) == 1  # the unfinished file
        with pytest.raises(MissingDataError):
            Reader(tmp_path)
        write_table(two_table, path)  # what was left behind is in nobody's way
    assert read_table(tmp_path).to_pylist() == two_table.to_pylist()


TIRELESS_WRITER = """
import sys
from nasbench_robust.table.files import read_table, write_table

tables = [read_table(path) for path in sys.argv[1:3]]
print("ready", flush=True)
while True:
    for table in tables:
        write_table(table, sys.argv[3])
"""


def test_a_writer_killed_at_any_time_leaves_a_whole_file(made_up_table, two_file, two_table, tmp_path):
    rng = random.Random(0)
    sizes = {two_table.num_rows, pq.ParquetFile(made_up_table).metadata.num_rows}
    for attempt in range(4):
        path = tmp_path / f"{attempt}.parquet"
        command = [sys.executable, "-c", TIRELESS_WRITER, str(two_file), str(made_up_table), str(path)]
        with started(command, stdout=subprocess.PIPE, text=True) as writer:
            writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.15))
            writer.kill()
        assert not path.exists() or read_table(path).num_rows in sizes


def test_writers_of_one_file_do_not_disturb_each_other(two_table, tmp_path):
    path = tmp_path / "runs.parquet"
    parts = [two_table.slice(0, size) for size in (1, 5, 16)]
    threads = [
        threading.Thread(target=lambda part=part: [write_table(part, path) for _ in range(10)]) for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_table(path).num_rows in {1, 5, 16}
    assert names(tmp_path) == ["runs.parquet"]


# ---------------------------------------------------------------------- folders of shards


def test_shards_are_read_in_the_order_of_their_names(two_table, tmp_path):
    for name, start in (("b", 4), ("a", 0), ("c", 8)):
        write_table(two_table.slice(start, 4), tmp_path / f"{name}.parquet")
    assert read_table(tmp_path).to_pylist() == two_table.slice(0, 12).to_pylist()
    assert [path.name for path in Reader(tmp_path).paths] == ["a.parquet", "b.parquet", "c.parquet"]


def test_files_that_are_no_shards_are_not_looked_at(two_table, tmp_path):
    write_table(two_table, tmp_path / "runs.parquet")
    for name in (".runs.parquet.123-abcd.tmp", ".hidden.parquet", "README.md", "runs.parquet.tmp", "runs.json"):
        (tmp_path / name).write_bytes(b"no Parquet")
    write_table(two_table, tmp_path / "old" / "runs.parquet")
    assert read_table(tmp_path).num_rows == two_table.num_rows


@pytest.mark.parametrize(
    "other",
    [
        runs_table(replace(TWO, version="3"), []),
        runs_table(replace(TWO, metrics=TWO.metrics[:1]), []),
        runs_table(TWO, []).replace_schema_metadata(None),
        runs_table(TWO, []).replace_schema_metadata({b"nasbench_robust": b"{"}),
        runs_table(TWO, []).drop_columns(["device"]),
        pa.table({"index": [1]}),
    ],
    ids=["version", "metrics", "no description", "no JSON", "a column less", "another table"],
)
def test_shards_of_different_tables_are_refused_with_both_names(other, two_table, tmp_path):
    write_table(two_table, tmp_path / "first.parquet")
    write_table(other, tmp_path / "second.parquet")
    with pytest.raises(TableError, match=r"second\.parquet.*differ.*first\.parquet"):
        Reader(tmp_path)


def test_what_is_not_there_is_missing_data(tmp_path):
    with pytest.raises(MissingDataError, match=re.escape(f"no file or folder {tmp_path / 'absent'}")):
        Reader(tmp_path / "absent")
    with pytest.raises(MissingDataError, match=re.escape(f"no Parquet file in {tmp_path}")):
        Reader(str(tmp_path))


# ---------------------------------------------------------------------- damage


def refuse(source, path):
    with pytest.raises(TableError, match=r"\.parquet: not readable as Parquet") as caught:
        Reader(source)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"acc={}", bytes(1000), b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_parquet_is_refused(content, tmp_path):
    path = tmp_path / "runs.parquet"
    path.write_bytes(content)
    refuse(path, path)


def test_a_folder_that_is_called_like_a_file_is_refused(tmp_path):
    (tmp_path / "runs.parquet").mkdir()
    refuse(tmp_path, tmp_path / "runs.parquet")


def test_a_file_cut_anywhere_is_refused_among_shards_too(two_file, tmp_path):
    content = two_file.read_bytes()
    path = tmp_path / "second.parquet"
    for length in {*range(0, len(content), 13), *range(100), *range(len(content) - 300, len(content))}:
        path.write_bytes(content[:length])
        refuse(path, path)
    (tmp_path / "first.parquet").write_bytes(content)
    refuse(tmp_path, path)


# Damage to a footer may end the process, so it is tried in another one. Its input: a line "position bit" for every bit
# to be turned. It says which it tries, and what came out that should not: an error of another class, or other values.
FLIPPER = """
import contextlib, sys
from pathlib import Path
from nasbench_robust.errors import TableError
from nasbench_robust.table.files import Reader

source, target = map(Path, sys.argv[1:3])
content = source.read_bytes()
values_start, values_end = 4, len(content) - 8 - int.from_bytes(content[-8:-4], "little")

def everything(path):
    reader = Reader(path)
    with contextlib.suppress(TableError):
        reader.info()
    return reader.read().to_pylist(), reader.read(["index", "clean_acc"], dataset="digits").to_pylist()

expected = everything(source)
for line in sys.stdin:
    position, bit = map(int, line.split())
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    target.write_bytes(damaged)
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


@pytest.mark.parametrize("where", ["values", "footer", "name"])
def test_a_turned_bit_is_noticed_or_does_not_matter(where, two_file, tmp_path):
    """In the footer it may leave the file readable.

    Beside the name of the data set column it says in which row groups a data set lies, which is looked at first.
    """
    rng = random.Random(0)
    content = two_file.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    places = [match.start() for match in re.finditer(b"dataset", content) if match.start() >= footer]
    flips = {
        "values": [(position, rng.randrange(8)) for position in range(footer)],
        "footer": [(position, rng.randrange(8)) for position in range(footer, len(content), 3)],
        "name": [(place + offset, bit) for place in places for offset in range(-12, 10) for bit in range(8)],
    }[where]
    assert flips
    lines = "".join(f"{position} {bit}\n" for position, bit in flips)
    command = [sys.executable, "-c", FLIPPER, str(two_file), str(tmp_path / "flipped.parquet")]
    ran = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"the process died: {ran.stderr.splitlines()[-3:]}"
    assert ran.stdout.splitlines() == ["done"]
