"""Processes and signals: whatever ends a program ends all that it started, soon, and what was done is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from conftest import ROOT
from processes import PATIENCE, started, wait_for
from run_folders import rows_in

from nasbench_robust.engines import Step, stop_if_asked, tell, watching
from nasbench_robust.errors import RunInterruptedError
from nasbench_robust.native import is_available
from nasbench_robust.runs import EXIT_REQUEUE, Unit, make_locally

# Seconds that a program may take to end, on digits; more where others use the processors.
SOON = 15.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
LONG = {"epochs": 100000, "skeleton": {"channels": 2}, "attack": {"steps": 1}}
# Training is nothing, a measurement takes minutes.
SLOW_MEASUREMENT = {
    **LONG,
    "epochs": 1,
    "evaluation": [{"name": "autoattack", "eps": 0.1, "steps": 1000, "restarts": 1, "queries": 5000}],
}
native = pytest.mark.skipif(not is_available(), reason="no native engine")
# What a user may start, with what keeps it busy for long; the folder is added.
PROGRAMS = {
    "train": ("train_cell.py", SLOW_MEASUREMENT, ["--index", "9930", "--engine", "torch"]),
    "run": ("run_local.py", LONG, ["--cells", "0-20", "--seeds", "0", "--workers", "2", "--engine", "torch"]),
    "score": ("score_cells.py", None, ["--cells", "0-300", "--workers", "2"]),
    "search": ("search_supernet.py", {"epochs": 100000, "skeleton": {"channels": 2}}, []),
    "genotype": ("train_genotype.py", {"epochs": 100000}, []),
    "digits": ("make_digits.py", None, ["--workers", "2"]),
    "sample": ("make_digits.py", None, ["--workers", "2", "--sample", "50%"]),
}


def start(name: str, folder: Path, **options: object) -> AbstractContextManager[subprocess.Popen[bytes]]:
    program, settings, arguments = PROGRAMS[name]
    command = [sys.executable, str(ROOT / "generation" / program), *arguments, "--out", str(folder / "out")]
    if settings is not None:
        (folder / "settings.json").write_text(json.dumps(settings))
        command += ["--settings", str(folder / "settings.json")]
    return started(command, stderr=subprocess.PIPE, **options)


def descendants(parent: int) -> set[int]:
    """Return the processes that a process started, and those started by these."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                parents[int(entry.name)] = int(fields[1])
    found, new = set[int](), {parent}
    while new:
        new = {child for child, above in parents.items() if above in new} - found
        found |= new
    return found


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_at_work(name: str, folder: Path, process: int) -> bool:
    """Return whether a program is in the middle of what it does."""
    if name == "sample":
        return len(descendants(process)) >= 3  # two workers and what looks after them
    return any((folder / "out" / "claims").glob("*.lock"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("name", [pytest.param(name, marks=native) for name in PROGRAMS])
def test_the_whole_tree_ends_soon_after_sigterm(name: str, tmp_path: Path) -> None:
    with start(name, tmp_path) as process:
        wait_for(lambda: is_at_work(name, tmp_path, process.pid))
        time.sleep(1)
        family = descendants(process.pid)
        assert len(family) >= (2 if "--workers" in PROGRAMS[name][2] else 0)
        process.terminate()
        said = process.communicate(timeout=SOON)[1].decode()
    wait_for(lambda: not any(map(is_alive, family)), 5)
    assert process.returncode == (-signal.SIGTERM if name == "sample" else EXIT_REQUEUE)
    assert "Traceback" not in said


@native
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process that its parent ended")
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with start("run", tmp_path) as process:
        wait_for(lambda: is_at_work("run", tmp_path, process.pid))
        family = descendants(process.pid)
        process.kill()
        process.communicate()
    assert len(family) == 2
    wait_for(lambda: not any(map(is_alive, family)), SOON)


def test_the_exit_code_is_that_of_what_is_missing(tmp_path: Path) -> None:
    """Workers that end well, since another process is at their units, make no table whole."""
    said: list[str] = []
    calm = ("sh", "-c", "exit 0")
    assert make_locally(tmp_path, [Unit(0, 0)], 1, lambda _: calm, list, say=said.append) == EXIT_REQUEUE
    assert said == ["1 runs, 0 there, 1 missing", "1 missing"]
    made: list[Unit] = []

    def find_missing(units: object) -> list[Unit]:
        made.append(Unit(0, 0))
        return [] if len(made) > 1 else [Unit(0, 0)]

    assert make_locally(tmp_path, [Unit(0, 0)], 1, lambda _: ("sh", "-c", "exit 3"), find_missing, say=said.append) == 0


def test_every_call_has_a_work_list_of_its_own_and_leaves_none(tmp_path: Path) -> None:
    lists = []
    for _ in range(2):

        def command(path: Path) -> tuple[str, ...]:
            lists.append((path, path.read_text()))
            return ("sh", "-c", "exit 0")

        make_locally(tmp_path, [Unit(len(lists), 0)], 1, command, list, say=lambda _: None)
    (one, first), (other, second) = lists
    assert one != other
    assert (first, second) == ("[[0, 0]]\n", "[[1, 0]]\n")
    assert not list((tmp_path / "jobs").iterdir())


def test_workers_are_spread_over_devices(tmp_path: Path) -> None:
    script = f'echo "$@" >> {tmp_path}/said'
    command = ("sh", "-c", script, "sh", "--device", "cuda")
    units = [Unit(index, 0) for index in range(3)]
    make_locally(tmp_path, units, 3, lambda _: command, list, say=lambda _: None, devices=["cuda:0", "cuda:1"])
    said = sorted((tmp_path / "said").read_text().splitlines())
    assert [line.split()[-1] for line in said] == ["cuda:0", "cuda:1", "cuda:0"]


def test_two_local_runs_of_one_folder_each_make_their_own(tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({**LONG, "epochs": 1, "evaluation": []}))
    command = [sys.executable, str(ROOT / "generation" / "run_local.py"), "--out", str(tmp_path / "out")]
    command += ["--settings", str(settings), "--engine", "torch"]
    with started([*command, "--cells", "9930", "--seeds", "0", "1"]) as one:
        wait_for((tmp_path / "out" / "jobs").exists)
        with started([*command, "--cells", "2581", "--seeds", "0"]) as other:
            assert (one.wait(PATIENCE), other.wait(PATIENCE)) == (0, 0)
    submit = [command[0], str(ROOT / "generation" / "submit.py"), *command[2:], "--cells", "7", "--dry-run"]
    said = subprocess.run(submit, capture_output=True, text=True, check=True).stdout
    assert "--mem=" in said  # as much as is known of such runs
    assert "--cpus-per-task=1" in said
    rows = rows_in(tmp_path / "out", ["index", "seed"])
    assert {(row["index"], row["seed"]) for row in rows} == {(9930, 0), (9930, 1), (2581, 0)}


# ------------------------------------------------------------------ the watch


def test_a_watch_is_asked_and_told_and_ends_with_its_block() -> None:
    told: list[Step] = []
    tell(Step("nobody listens", 0, 1))
    stop_if_asked()
    with watching(tell=told.append), watching(lambda: len(told) > 1):
        tell(Step("work", 1, 2))
        with pytest.raises(RunInterruptedError, match="stopped on request"):
            stop_if_asked()  # tells the same again, and is told to stop
    stop_if_asked()
    assert told == [Step("work", 1, 2)] * 2
    assert os.environ.get("NASBENCH_ROBUST_QUIET") is None
