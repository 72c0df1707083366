"""The program that scores cells: for real, interrupted, on a cluster's work list, and with arguments that are wrong."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
from processes import PATIENCE, started

from nasbench_robust.cells import Cell
from nasbench_robust.runs import Unit, parse_cells, read_task, shard_name, write_worklist
from nasbench_robust.scores import FOLDER, ScoreJob, ScoreSettings, read_scores, score_settings_for
from nasbench_robust.settings import read_settings
from nasbench_robust.table import Reader

GENERATION = Path(__file__).parents[2] / "generation"
QUICK = {
    "skeleton": {"channels": 2, "cells_per_stage": 1},
    "images": 16,
    "attacks": [{"name": "pgd", "eps": 0.1, "steps": 1, "step_size": 0.1, "random_start": True}],
    "proxies": ["params", "naswot", "zen"],
}
MANY = "0-24"  # cells, enough to be interrupted on the way

Values = dict[tuple[int, int, str | None, str | None, str], tuple[float | None, str | None]]
Call = Callable[..., int]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "settings.json"
    path.write_text(json.dumps(QUICK))
    return path


@pytest.fixture
def settings(quick: Path) -> ScoreSettings:
    return read_settings(quick, score_settings_for("digits"))


@pytest.fixture(scope="module")
def program() -> Iterator[ModuleType]:
    """The program as a module; to call it here saves importing torch again and again."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(GENERATION)
        patch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
        yield importlib.import_module("score_cells")
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def call(program: ModuleType, quick: Path) -> Call:
    def call(*arguments: object) -> int:
        given = [str(argument) for argument in arguments]
        return program.main(given if "--settings" in given else ["--settings", str(quick), *given])

    return call


def start(*arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, str(GENERATION / "score_cells.py"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return started(command, **pipes)


def values_in(folder: Path) -> Values:
    columns = ("index", "seed", "kernel", "attack", "score", "value", "failure")
    rows = [tuple(row[name] for name in columns) for row in Reader(folder).read(columns).to_pylist()]
    values = {row[:5]: row[5:] for row in rows}
    assert len(values) == len(rows)  # each once
    return values


def state(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / FOLDER).iterdir()}


@pytest.fixture(scope="module")
def undisturbed(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Values:
    out = tmp_path_factory.mktemp("undisturbed")
    assert call("--out", out, "--cells", MANY, "--write-worklist", out / "work", "--per-task", 1000) == 0
    assert call("--out", out, "--work", out / "work", "--task", 0) == 0
    return values_in(out / FOLDER)


def test_two_workers_make_everything_once(call, quick, settings, undisturbed, tmp_path, capfd):
    out, table = tmp_path / "out", tmp_path / "scores.parquet"
    arguments = ["--out", out, "--cells", "0,2-5", "--table", table]
    with start("--settings", quick, "--workers", 2, *arguments) as process:
        printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "scores, 0 there, " in errors
    made = parse_cells("0,2-5")
    assert {path.name for path in (out / FOLDER).iterdir()} == {shard_name(settings, index, 0) for index in made}
    values = values_in(table)
    assert values == {key: value for key, value in undisturbed.items() if key[0] in made}
    assert f"{len(values)} rows, 0 damaged shards set aside -> {table}" in printed
    frame, facts = read_scores(table)
    assert ScoreSettings.from_dict(facts) == settings
    assert sorted(set(frame["index"])) == made

    before = state(out)
    kept = table.read_bytes()
    assert call(*arguments) == 0  # again
    assert f"{len(made)} of {len(made)} are in {table}" in capfd.readouterr().err
    assert state(out) == before
    assert call("--out", tmp_path / "elsewhere", *arguments[2:]) == 0  # the table is enough
    assert table.read_bytes() == kept
    assert call(*arguments[:-2]) == 0
    assert f"{len(made)} scores, {len(made)} there, 0 missing" in capfd.readouterr().err


def test_a_new_proxy_is_added_and_nothing_made_again(call, undisturbed, tmp_path, capfd):
    fewer, first, second = tmp_path / "fewer.json", tmp_path / "first", tmp_path / "second"
    fewer.write_text(json.dumps({**QUICK, "proxies": ["params", "naswot"]}))
    arguments = ["--cells", "0,2,3", "--table", tmp_path / "table"]
    expected = {key: value for key, value in undisturbed.items() if key[0] in (0, 2, 3)}
    assert call("--settings", fewer, "--out", first, *arguments) == 0
    before = Reader(tmp_path / "table").read()
    assert call("--out", second, *arguments) == 0  # the old rows are in the table alone
    assert "0 of 3 are in" in capfd.readouterr().err
    assert {key[2:] for key in values_in(second / FOLDER)} == {(None, None, "zen")}
    after = Reader(tmp_path / "table").read()
    old = [name != "zen" for name in after["score"].to_pylist()]
    assert after.filter(pa.array(old)).equals(before)  # dates and seconds too
    assert values_in(tmp_path / "table") == expected
    assert call("--out", first, *arguments[:2]) == 0  # and here in their shards
    assert "3 scores, 0 there, 3 missing" in capfd.readouterr().err
    assert values_in(first / FOLDER) == expected
    before_again = state(first)
    assert call("--out", first, "--settings", fewer, *arguments) == 0
    assert "3 of 3 are in" in capfd.readouterr().err
    assert state(first) == before_again


# --- interrupted


def interrupt(number: signal.Signals, quick: Path, out: Path) -> tuple[int, str]:
    """Send a signal to a worker that has made a cell or more; return its exit code and what it said."""
    write_worklist([[Unit(index, 0) for index in parse_cells(MANY)]], out / "work")
    with start("--settings", quick, "--out", out, "--work", out / "work", "--task", 0) as process:
        while not any((out / FOLDER).glob("[!.]*.parquet")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors


def finish(call: Call, out: Path, undisturbed: Values) -> None:
    """Take the work up again: what is there stays, the rest has the values that it would have had."""
    before = state(out)
    assert 0 < len(before) < len(parse_cells(MANY))
    assert call("--out", out, "--work", out / "work", "--task", 0) == 0
    assert before.items() <= state(out).items()
    assert values_in(out / FOLDER) == undisturbed


def test_worker_that_is_killed_loses_nothing(call, quick, undisturbed, tmp_path):
    assert interrupt(signal.SIGKILL, quick, tmp_path)[0] == -signal.SIGKILL
    finish(call, tmp_path, undisturbed)


def test_ctrl_c_stops_at_once_and_leaves_no_part(call, quick, undisturbed, tmp_path):
    assert interrupt(signal.SIGINT, quick, tmp_path) == (130, "")
    assert not list(tmp_path.rglob("*.tmp"))
    finish(call, tmp_path, undisturbed)


def test_worker_that_is_asked_to_stop_finishes_its_cell(call, tmp_path, monkeypatch):
    write = ScoreJob.write

    def write_and_ask(*arguments: object) -> Path:
        os.kill(os.getpid(), signal.SIGTERM)
        return write(*arguments)

    monkeypatch.setattr(ScoreJob, "write", write_and_ask)
    call("--out", tmp_path, "--cells", "0,2,3", "--write-worklist", tmp_path / "work")
    assert call("--out", tmp_path, "--work", tmp_path / "work", "--task", 0) == 75
    assert len(state(tmp_path)) == 1
    assert call("--out", tmp_path, "--work", tmp_path / "work", "--task", 0) == 75
    assert len(state(tmp_path)) == 2


def test_damaged_shard_is_made_again(call, settings, undisturbed, tmp_path, capfd, caplog):
    arguments = ["--out", tmp_path, "--cells", "0,2", "--table", tmp_path / "table"]
    call(*arguments[:4], "--write-worklist", tmp_path / "work")
    task = ["--out", tmp_path, "--work", tmp_path / "work", "--task", 0]
    assert call(*task) == 0
    shard = tmp_path / FOLDER / shard_name(settings, 2, 0)
    shard.write_bytes(shard.read_bytes()[:-40])
    assert call(*arguments) == 1
    assert "1 damaged shards set aside" in capfd.readouterr().out
    assert f"{shard}: not readable as Parquet" in caplog.text
    assert call(*task) == 0
    assert call(*arguments) == 0
    assert values_in(tmp_path / "table") == {key: value for key, value in undisturbed.items() if key[0] in (0, 2)}


# --- work lists


def units_in(work: Path) -> list[Unit]:
    return [unit for task in range(len(work.read_text().splitlines())) for unit in read_task(work, task)]


def test_work_list_has_what_is_missing_task_by_task(call, settings, tmp_path, capsys):
    out, work = tmp_path / "out", tmp_path / "work"
    arguments = ["--out", out, "--cells", "0-4", "--seeds", "7", "1", "--write-worklist", work, "--per-task", 4]
    cells = parse_cells("0-4")
    units = [Unit(index, seed) for seed in (7, 1) for index in cells]
    assert call(*arguments) == 0
    assert capsys.readouterr().out == f"{len(units)} missing, {-(-len(units) // 4)} tasks -> {work}\n"
    assert units_in(work) == units
    assert call("--out", out, "--work", work, "--task", 1) == 0
    assert {path.name for path in (out / FOLDER).iterdir()} == {
        shard_name(settings, unit.index, unit.seed) for unit in units[4:8]
    }
    assert call(*arguments) == 0
    assert [unit for task in range(-(-(len(units) - 4) // 4)) for unit in read_task(work, task)] == units[:4] + units[
        8:
    ]


def test_array_task_says_which_line(call, settings, tmp_path, monkeypatch):
    call("--out", tmp_path, "--cells", "0-3", "--write-worklist", tmp_path / "work", "--per-task", 1)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert call("--out", tmp_path, "--work", tmp_path / "work") == 0
    (unit,) = read_task(tmp_path / "work", 2)
    assert list(state(tmp_path)) == [shard_name(settings, unit.index, 0)]


def test_member_of_a_class_in_a_work_list_counts_for_its_class(call, settings, tmp_path):
    (tmp_path / "work").write_text("[[1234, 0]]\n")
    assert call("--out", tmp_path, "--work", tmp_path / "work", "--task", 0) == 0
    assert list(state(tmp_path)) == [shard_name(settings, Cell.from_index(1234).representative, 0)]


@pytest.mark.parametrize("step", [1, 100, 6466, 10_000])
def test_every_nth_cell(step):
    every = parse_cells("all")
    assert parse_cells(f"every:{step}") == [index for position, index in enumerate(every) if position % step == 0]


# --- errors


TASK = ["--work", "work", "--task"]
WRONG = [
    (["--cells", "1;2"], "cells is '1;2', expected 'all', or indices and ranges such as '0-99,1234'"),
    (["--cells", "20000"], "cell index"),
    (["--cells", "every:0"], "cells is 'every:0', expected 'every:' and a positive integer; did you mean every:4?"),
    (["--cells", "every:two"], "cells is 'every:two', expected 'every:' and a positive integer"),
    (["--cells", "7-5"], "cells is '7-5', expected at least one cell"),
    (["--settings", "nothing.json"], "cannot read nothing.json (No such file or directory); check the path"),
    (["--dataset", "digit"], "unknown data set 'digit'; did you mean 'digits'? (known: "),
    (["--work", "nothing", "--task", "0"], "cannot read the work list nothing (No such file or directory)"),
    (["--settings", "broken.json"], "broken.json: not JSON: Expecting property name"),
    (["--settings", "misspelt.json"], "unknown entry of settings 'imags'; did you mean 'images'?"),
    ([*TASK, "1"], "task is 1, expected a line of the work list, 0 to 0"),
    ([*TASK, "0", "--device", "gpu"], "device is 'gpu', expected cpu, cuda or cuda:0; did you mean cpu?"),
    (["--work", "nothing"], "no --task is given, expected a line of the work list, or a Slurm array task"),
]


def one_sentence(errors: str) -> str:
    assert errors.startswith("score_cells.py: ")
    assert errors.count("\n") == 1
    return errors.removeprefix("score_cells.py: ")


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_arguments_are_one_sentence_and_code_2(call, arguments, message, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name, content in (("broken.json", "{"), ("misspelt.json", '{"imags": 8}'), ("work", "[[0, 0]]\n")):
        (tmp_path / name).write_text(content)
    assert call("--out", "out", *arguments) == 2
    assert message in one_sentence(capfd.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "-1"], "argument --seeds: -1 is no seed: expected an integer in 0..2147483647"),
        (["--seeds", "2147483648"], "argument --seeds: 2147483648 is no seed"),
        (["--engine", "jax"], "argument --engine: invalid choice: 'jax'"),
        (["--task", "two"], "argument --task: invalid int value: 'two'"),
    ],
)
def test_arguments_of_the_wrong_kind(call, arguments, message, tmp_path, capfd):
    with pytest.raises(SystemExit) as caught:
        call("--out", tmp_path, *arguments)
    assert caught.value.code == 2
    assert message in capfd.readouterr().err


def test_folder_of_other_settings_is_refused(call, settings, tmp_path, capfd):
    (tmp_path / "work").write_text("[[0, 0]]\n")
    task = ["--out", tmp_path, "--work", tmp_path / "work", "--task", 0]
    assert call(*task) == 0
    before = state(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({**QUICK, "draw": 1}))
    assert call(*task, "--settings", tmp_path / "settings.json") == 2
    message = one_sentence(capfd.readouterr().err)
    assert f"folder is '{tmp_path}', expected a new folder, or one of scores with settings" in message
    assert state(tmp_path) == before
