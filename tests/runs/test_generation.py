"""Work lists, claims and the programs around them, without a cluster."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import run_program
from processes import PATIENCE, started
from run_folders import QUICK, file_of, old_file_of, rows_in

from nasbench_robust import load
from nasbench_robust.errors import (
    InvalidValueError,
    MissingDataError,
    SourceFormatError,
    TableError,
    UnknownNameError,
)
from nasbench_robust.runs import (
    ArrayJob,
    Unit,
    array_jobs,
    claim,
    compact,
    find_missing,
    is_claimed,
    make_tasks,
    parse_cells,
    read_task,
    render,
    shard_name,
    write_run,
    write_worklist,
)
from nasbench_robust.settings import TrainingSettings, read_settings, settings_for


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(QUICK.to_dict()))
    return path


# --- which cells, which units


def test_cells_are_named_by_indices_ranges_and_all():
    assert parse_cells("3, 5-7,3") == [3, 5, 6, 7]
    assert parse_cells("1234") == [172]  # its representative
    assert len(parse_cells("all")) == 6466
    assert parse_cells("every:4") == parse_cells("all")[::4]


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1;2", "15625", "7-5"])
def test_cells_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match=r"cells|cell index"):
        parse_cells(text)


def test_missing_is_what_has_no_row(folder):
    units = [Unit(index, seed) for seed in (0, 1, 2) for index in (3, 4, 9930)]
    missing = find_missing(folder, QUICK, units)
    assert missing == [Unit(4, 0), Unit(4, 1), Unit(3, 2), Unit(4, 2), Unit(9930, 2)]
    assert find_missing(folder / "nothing", QUICK, units) == units
    compact(folder)
    assert find_missing(folder, QUICK, units) == missing


def test_a_run_of_the_first_layout_is_there_if_it_is_whole(old_folder):
    units = [Unit(index, seed) for seed in (0, 1) for index in (3, 4, 9930)]
    assert find_missing(old_folder, QUICK, units) == [Unit(4, 0), Unit(4, 1)]
    old_file_of(old_folder, QUICK, 3, 0, "curves").unlink()
    old_file_of(old_folder, QUICK, 9930, 1, "outcomes").unlink()
    assert find_missing(old_folder, QUICK, units) == [Unit(3, 0), Unit(4, 0), Unit(4, 1), Unit(9930, 1)]


def test_tasks_take_about_equally_long() -> None:
    """By the seconds that the bundled table recorded: of the seed that was disturbed least."""
    skeleton, bench = settings_for("digits").skeleton, load("digits")
    recorded = np.min([bench.values("digits", "train_seconds", seed=seed) for seed in range(3)], axis=0)
    units = [Unit(index, 0) for index in parse_cells("every:5")]

    def spread(tasks: list[list[Unit]]) -> float:
        assert [unit for task in tasks for unit in task] == units
        taken = np.array([recorded[[unit.index for unit in task]].sum() for task in tasks])
        return taken.std() / taken.mean()

    by_cost = make_tasks(units, 10, skeleton)
    assert len(by_cost) == -(-len(units) // 10)
    assert spread(by_cost) < 0.7 * spread(make_tasks(units, 10))
    assert make_tasks(units, 1, skeleton) == [[unit] for unit in units]
    assert make_tasks([], 10, skeleton) == []


def test_work_list_comes_back_task_by_task(tmp_path):
    units = [Unit(index, 0) for index in range(7)]
    tasks = make_tasks(units, 3)
    write_worklist(tasks, tmp_path / "work.jsonl")
    assert [read_task(tmp_path / "work.jsonl", number) for number in range(3)] == tasks
    assert [unit for task in tasks for unit in task] == units
    with pytest.raises(InvalidValueError, match="task is 3, expected a line of the work list, 0 to 2"):
        read_task(tmp_path / "work.jsonl", 3)
    with pytest.raises(InvalidValueError, match="task is -1, expected a line of the work list, 0 to 2"):
        read_task(tmp_path / "work.jsonl", -1)
    with pytest.raises(MissingDataError, match="cannot read the work list"):
        read_task(tmp_path / "other", 0)
    (tmp_path / "work.jsonl").write_text("[[1]]\n")
    with pytest.raises(TableError, match="line 1 is not a list of"):
        read_task(tmp_path / "work.jsonl", 0)


# --- claims


HOLDER = """
import sys
from nasbench_robust.runs.worklists import claim
with claim(sys.argv[1], "unit") as had:
    print(had, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the claim."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "True\n"
        yield process
        process.stdin.close()


def test_claim_of_another_process_is_respected_and_ends_with_it(holder, tmp_path):
    assert is_claimed(tmp_path, "unit")
    with claim(tmp_path, "unit") as had:
        assert not had
    with claim(tmp_path, "other") as had:
        assert had
    holder.kill()
    holder.wait()
    assert not is_claimed(tmp_path, "unit")
    with claim(tmp_path, "unit") as had:
        assert had


def test_row_that_is_there_is_never_replaced(runs, tmp_path):
    path = write_run(runs[0], QUICK, tmp_path)
    before = path.read_bytes()
    write_run(replace(runs[0], row={**runs[0].row, "train_seconds": 1e9}), QUICK, tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.rglob("*.*")] == [shard_name(QUICK, 9930, 0)]


# --- settings from a file


def test_settings_file_overrides_entry_by_entry(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text('epochs = 3\n[skeleton]\nchannels = 8\n[[evaluation]]\nname = "fgsm"\neps = 0.1\nsteps = 1\n')
    if sys.version_info < (3, 11):
        pytest.skip("reading TOML needs Python 3.11")
    settings = read_settings(path, settings_for("digits"))
    assert (settings.epochs, settings.skeleton.channels, settings.skeleton.image_size) == (3, 8, 8)
    assert [attack.name for attack in settings.evaluation] == ["fgsm"]
    assert settings.hash != settings_for("digits").hash


def test_settings_round_trip():
    for settings in (TrainingSettings(), settings_for("digits"), QUICK):
        assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('{"epoch": 3}', UnknownNameError, "did you mean 'epochs'"),
        ('{"attack": {"step": 3}}', UnknownNameError, "did you mean 'steps'"),
        ('{"epochs": 0}', InvalidValueError, "epochs is 0"),
        ('{"epochs": "3"}', InvalidValueError, "epochs is '3'"),
        ('{"attack": 3}', InvalidValueError, "attack is 3"),
        ('{"evaluation": [{"name": "pgd"}]}', InvalidValueError, "complete table"),
        ("{", SourceFormatError, "not JSON"),
        ("[]", SourceFormatError, "expected settings by name"),
    ],
)
def test_wrong_settings_files_are_explained(text, error, message, tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_settings(path, settings_for("digits"))


# --- the script and the programs

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=nasbench-robust
#SBATCH --array=0-4%2
#SBATCH --output=logs/%A_%a.log
#SBATCH --time=12:00:00
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --partition=gpu

# exec: the signals of Slurm reach the program itself.
exec python train_cell.py --work 'a list' --task $((SLURM_ARRAY_TASK_ID + 1000))
"""


def test_script_reads_as_expected():
    command = ("python", "train_cell.py", "--work", "a list")
    job = ArrayJob(command, 5, 1000, "logs", throttle=2, options=("--partition=gpu",))
    assert render(job) == SCRIPT
    parts = list(array_jobs(replace(job, tasks=25, offset=0), 10))
    assert [(part.tasks, part.offset) for part in parts] == [(10, 0), (10, 10), (5, 20)]
    parts = list(array_jobs(replace(job, tasks=15), 10))
    assert [(part.tasks, part.offset) for part in parts] == [(10, 1000), (5, 1010)]
    with pytest.raises(InvalidValueError, match="an sbatch option"):
        render(replace(job, options=("partition\n#SBATCH --x",)))


def test_local_run_makes_everything_once_and_goes_on(folder, settings, tmp_path):
    arguments = ["--out", folder, "--settings", settings, "--cells", "3-6", "--seeds", 0]
    before = file_of(folder, QUICK, 3, 0).stat().st_mtime_ns
    done = run_program("run_local.py", *arguments, "--workers", 2, "--engine", "torch-fast")
    assert done.returncode == 0, done.stderr
    assert "4 runs, 1 there, 3 missing" in done.stderr
    assert file_of(folder, QUICK, 3, 0).stat().st_mtime_ns == before
    made = [row for row in rows_in(folder) if row["engine"] == "torch-fast"]
    assert sorted((row["index"], row["seed"]) for row in made) == [(index, 0) for index in (4, 5, 6)]
    state = run_program("status.py", *arguments).stdout
    assert "done      4" in state
    assert "missing   0" in state
    state = run_program("status.py", "--out", folder, "--settings", settings, "--cells", 3, "--seeds", 0).stdout
    assert re.search(r"others    [0-9]+ runs that were not asked for are there, such as digits-", state)
    assert run_program("run_local.py", *arguments).stderr == "4 runs, 4 there, 0 missing\n"


MAKER = """
import sys
from nasbench_robust.runs import Unit, make_locally
say = lambda line: print(line, file=sys.stderr)
out, script = sys.argv[1:]
sys.exit(make_locally(out, [Unit(0, 0)], 2, lambda _: ("sh", "-c", script), list, say=say))
"""


def make_by(script: str, out: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start a local run whose workers are a shell script."""
    command = [sys.executable, "-c", MAKER, str(out), script]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return started(command, start_new_session=True, **pipes)


@pytest.mark.parametrize(("script", "code"), [("kill -9 $$", 9), ('test "$1" = 0 || kill -9 $$', 9), ("exit 2", 2)])
def test_local_run_whose_workers_end_too_early_says_so(script, code, tmp_path):
    with make_by(script, tmp_path) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert errors == "1 runs, 0 there, 1 missing\n1 missing\n"


def test_local_run_ends_with_ctrl_c(tmp_path):
    with make_by("echo started; exec sleep 600", tmp_path) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["started\n"] * 2
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_index_comes_from_the_array_task(settings, tmp_path):
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "5"}
    arguments = ["--settings", str(settings), "--out", str(tmp_path / "out")]
    done = run_program("train_cell.py", *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "out" / "runs").rglob("*.*")] == [shard_name(QUICK, 5, 0)]


def test_nothing_to_do_is_said(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_ARRAY_TASK_ID"}
    done = run_program("train_cell.py", "--out", str(tmp_path), env=environment)
    assert done.returncode == 2
    assert "no --index is given, expected the index of a cell, or a Slurm array task" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    point = tmp_path / "disk"
    point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(point)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small file system here")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_full_disk_loses_nothing_and_leaves_no_part(small_disk, settings, tmp_path):
    arguments = ["--index", "9930", "--settings", str(settings), "--out", str(small_disk)]
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (1 << 20) if not ballast.exists() else b"")  # all but nothing is left
    done = run_program("train_cell.py", *arguments)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(small_disk.rglob("*.parquet"))
    assert not list(small_disk.rglob("*.tmp"))
    ballast.unlink()
    assert run_program("train_cell.py", *arguments).returncode == 0
    assert len(rows_in(small_disk)) == 1
