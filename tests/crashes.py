"""Let commands die before and after every operation on files, and look whether anything is lost: all or a sample.

``python tests/crashes.py [COMMAND ...] [--every N]`` prints how many points a command has and how many held; the exit
code is 1 if one did not. A point holds if after the death

- a reader finds the old or the new state of every table, each whole, and `verify` has nothing against it;
- the same command, given again, ends in the undisturbed result, but for times and dates of what was made again;
- nothing that was there is lost, and after `repair` nothing is left of what the dead had begun.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from crash_commands import COMMANDS, HOME, PAGE, RELEASE, TINY, Command, provide_page
from file_steps import small_tables, watched
from processes import PATIENCE
from servers import serving

from nasbench_robust.cli import main
from nasbench_robust.engines import running
from nasbench_robust.errors import MissingDataError, NasbenchRobustError
from nasbench_robust.files import latest
from nasbench_robust.releases import locate
from nasbench_robust.runs import local, repair
from nasbench_robust.table import (
    RUN_COLUMNS,
    Benchmark,
    is_run_folder,
    loose_runs,
    read_loose,
    read_table,
    tables_of,
    verify,
)

MEMORY = "/dev/shm"  # where to flush costs nothing
NOTES = "notes.txt"  # of somebody, in every folder
_mkdir = os.mkdir  # as it is when nobody watches
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux: processes that lose their parent become children of this one


# ------------------------------------------------------------------ processes


class Steps:
    """Counts the operations of one process, and ends it at one of them."""

    def __init__(self, die_at: int, mark: Path, others: Callable[[int], object]) -> None:
        self.count, self.die_at, self.mark, self.others, self.victim = 0, die_at, mark, others, os.getpid()

    def __call__(self, _: str) -> None:
        if os.getpid() == self.victim:
            self.count += 1
            self.victim, victim = 0, self.victim  # what others do is not counted
            self.others(self.count)
            self.victim = victim
            if self.count == self.die_at:
                _mkdir(self.mark)
                os.kill(victim, signal.SIGKILL)


def run(command: Command, folder: Path, die_at: int = 0) -> int:
    """Run a command in a folder, in a fork of this process, wait for all that it started, return its exit code."""
    first = os.fork()
    if not first:
        _end_with(partial(_run, command, folder, die_at))
    code, end = 0, time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == first:
                code = os.waitstatus_to_exitcode(status)
            if not ended:
                time.sleep(0.001)
            if time.monotonic() > end:
                os.killpg(first, signal.SIGKILL)
    return code


def _run(command: Command, folder: Path, die_at: int) -> int:
    os.setsid()
    os.chdir(folder)
    os.dup2(os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.dup2(2, 1)
    steps = Steps(die_at, Path(f"{folder}.died"), partial(command.others, folder))
    if command.in_worker:
        steps.victim = 0
    fields = {"DEVNULL": subprocess.DEVNULL, "TimeoutExpired": subprocess.TimeoutExpired}
    local.subprocess = SimpleNamespace(Popen=partial(Forked, steps), **fields)
    with watched(steps) if die_at else contextlib.nullcontext():
        return main(command.arguments)


def _end_with(work: Callable[[], int]) -> None:
    code = 70
    try:
        code = work()
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Forked:
    """What `subprocess.Popen` is to the command run: a worker, which need not import everything again."""

    def __init__(self, steps: Steps, command: Sequence[str], preexec_fn: Callable[[], None], **_: Any) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            steps.victim = steps.victim or os.getpid()
            with contextlib.suppress(ProcessLookupError):
                while steps.victim not in (
                    os.getpid(),
                    os.getppid(),
                ):  # another worker is to die, and does all until then
                    os.kill(steps.victim, 0)
                    time.sleep(0.001)
            _end_with(lambda: preexec_fn() or main(command[3:]))
        steps.victim = steps.victim or self.pid

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, seconds: float = PATIENCE) -> int:
        end = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("", seconds)
            time.sleep(0.001)
        return code


# ------------------------------------------------------------------ what there is


def look(place: Path) -> dict[str, Any]:
    """Return what a reader finds: every run, what it says of itself and who it is; files by name; what is wrong."""
    try:
        runs, wrong = _runs(place), verify(place)
    except NasbenchRobustError:
        runs, wrong = {"nothing that can be loaded": ()}, []
    plain = {path.name: _hash(path) for path in place.glob("[!.]*") if path.is_file()} if place.is_dir() else {}
    return {"runs": runs, "files": plain, "wrong": wrong}


def _runs(place: Path) -> dict[Any, tuple[str, str]]:
    reader, state = Benchmark(locate(place))._store.reader, latest(place)
    base = place if state is None else state.folder
    tables = [reader.read()]
    tables += [read_table(path) for name in ("curves", "outcomes") if (path := base / f"{name}.parquet").exists()]
    known = {_key(row) for row in read_table(base / "runs.parquet").to_pylist()} if state else set()
    loose = [read_loose(place, path) for path in loose_runs(place).values()] if is_run_folder(place) else []
    if new := [run for run in loose if run is not None and _key(run.row) not in known]:
        tables += list(tables_of(new, reader.info()).values())[1:]
    found: dict[Any, list[str]] = {}
    for each in tables:
        for row in each.to_pylist():
            facts = {name: value for name, value in row.items() if value is not None and not _circumstance(name)}
            found.setdefault(_key(row), []).append(json.dumps(facts, default=str, sort_keys=True))
    who = {_key(row): str(row.get("run")) for row in tables[0].to_pylist()}
    assert len(who) == tables[0].num_rows, "runs stand twice"
    return {key: ("\n".join(texts), who[key]) for key, texts in found.items()}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["dataset"], row["index"], row["seed"], row.get("seeds") or 1


def _circumstance(name: str) -> bool:
    return name in RUN_COLUMNS and RUN_COLUMNS[name].circumstance


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _but_for(made: Collection[Any], runs: dict[Any, Any]) -> dict[Any, Any]:
    """Return runs without who those are that were made again."""
    return {key: run[:1] if key in made else run for key, run in runs.items()}


def complaint(now: dict[str, Any], old: dict[str, Any], new: dict[str, Any], grows: bool) -> str | None:
    """Return what is wrong with a state between an old and a new one."""
    if now["wrong"] not in ([], old["wrong"]):
        return f"verify says {now['wrong']}"
    if grows:
        lost = [key for key, run in old["runs"].items() if now["runs"].get(key) != run and run]
        strange = [key for key, run in now["runs"].items() if run and run[:1] != new["runs"].get(key, ())[:1]]
        if lost or strange:
            return f"lost or changed: {lost}, strange: {strange}"
    elif now["runs"] not in (old["runs"], new["runs"]):
        return f"neither the old nor the new runs: {len(now['runs'])}, {list(now['runs'])[:4]}"
    wrong = [
        name for name in old["files"] if now["files"].get(name) not in (old["files"][name], new["files"].get(name))
    ]
    wrong += [
        name for name in now["files"].keys() - old["files"].keys() if now["files"][name] != new["files"].get(name)
    ]
    return f"files at the top that are neither old nor new: {wrong}" if wrong else None


# ------------------------------------------------------------------ the points


class Enumeration:
    """All points of one command."""

    def __init__(self, command: Command, work: Path) -> None:
        self.command, self.work = command, work
        self.prepared = work / "prepared"
        self.prepared.mkdir(parents=True)
        (self.prepared / "tiny.json").write_text(json.dumps(TINY))
        command.prepare(self.prepared)
        for place in self._places(self.prepared):
            if place.is_dir():
                (place / NOTES).write_text("of somebody")
        self.old = self._states(self.prepared)
        undisturbed = self._copy("undisturbed")
        self._let_others(undisturbed)
        self.codes = [run(command, undisturbed)]
        assert self.codes[0] < 2, Path(f"{undisturbed}.log").read_text()
        self.new, self.aside = self._states(undisturbed), _set_aside(undisturbed)
        self.codes.append(run(command, undisturbed))
        self.points = 0
        self.faults: list[str] = []

    def check(self, every: int) -> None:
        """Let it die at every point, or at one of so many."""
        die_at = 1
        while self._dies_at(die_at):
            die_at += every

    def _dies_at(self, die_at: int) -> bool:
        """Let it die at a point and look; return False if it ended before."""
        folder = self._copy(str(die_at))
        run(self.command, folder, die_at)
        if not Path(f"{folder}.died").exists():
            return False
        self.points += 1
        if problem := self._problem(folder, mend_first=self.points % 2 == 0):
            said = Path(f"{folder}.log").read_text().strip().replace("\n", "\n      ")
            self.faults.append(f"point {die_at}: {problem}\n      {said}")
        else:
            shutil.rmtree(folder)
        return True

    def _problem(self, folder: Path, mend_first: bool) -> str | None:
        """Return what does not hold in a folder in which the command died."""
        if problem := self._neither(folder):
            return f"after the death: {problem}"
        if mend_first:
            self._mend(folder)
            if problem := self._neither(folder):
                return f"after repair: {problem}"
        self._let_others(folder)
        if (code := run(self.command, folder)) not in self.codes:
            return f"repeated: exit code {code}"
        for place, now, old, new in zip(self.command.places, self._states(folder), self.old, self.new, strict=True):
            if now["files"] != new["files"] or now["wrong"] != new["wrong"]:
                return f"repeated: {place}: other files, {now['files']}, or {now['wrong']}"
            made = new["runs"].keys() - old["runs"].keys() if self.command.grows else ()
            if _but_for(made, now["runs"]) != _but_for(made, new["runs"]):
                return f"repeated: {place}: other runs, {list(now['runs'])}"
        self._mend(folder)
        left = [path for path in folder.rglob("*") if path.name.endswith(".tmp") or path.name.startswith("tmp")]
        if left:
            return f"left behind: {left}"
        if (aside := _set_aside(folder)) != self.aside:
            return f"set aside: {aside}"
        return None

    def _neither(self, folder: Path) -> str | None:
        """Return what in a folder is neither of the old nor of the new state."""
        for place, now, old, new in zip(self.command.places, self._states(folder), self.old, self.new, strict=True):
            if problem := complaint(now, old, new, self.command.grows):
                return f"{place}: {problem}"
        return None

    def _mend(self, folder: Path) -> None:
        for place in self._places(folder):
            with contextlib.suppress(MissingDataError):
                if HOME not in place.parts:  # nobody repairs what is fetched
                    repair(place)

    def _states(self, folder: Path) -> list[dict[str, Any]]:
        return [look(place) for place in self._places(folder)]

    def _places(self, folder: Path) -> list[Path]:
        return [next(folder.glob(place), folder / place) for place in self.command.places]

    def _copy(self, name: str) -> Path:
        return Path(shutil.copytree(self.prepared, self.work / name, symlinks=True))

    def _let_others(self, folder: Path) -> None:
        self.command.others(folder, 10**6)


def _set_aside(folder: Path) -> list[str]:
    """Return what lies in quarantine, by its path and content."""
    return sorted(
        f"{path.relative_to(folder)} {_hash(path)}" for path in folder.rglob("quarantine/**/*.*") if path.is_file()
    )


def enumerate_all(arguments: Sequence[str] | None = None) -> int:
    """Look at the points of all commands, or of some, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=", ".join(command.name for command in COMMANDS))
    parser.add_argument("--every", type=int, default=1, help="look at one of so many points (default: all)")
    args = parser.parse_args(arguments)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    running.SPARING = 0.0  # a checkpoint of every epoch and metric
    points = held = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        chosen = [command for command in COMMANDS if not args.commands or command.name in args.commands]
        with small_tables(), contextlib.ExitStack() as stack:
            if any(PAGE in command.arguments or RELEASE in command.arguments for command in chosen):
                stack.enter_context(serving(provide_page(Path(folder))))
            for command in chosen:
                start = time.monotonic()
                found = Enumeration(command, Path(folder) / command.name.replace(" ", "-"))
                found.check(args.every)
                sound = found.points - len(found.faults)
                print(f"{command.name:25}{found.points:5} points, {sound:5} held, {time.monotonic() - start:6.1f} s")
                print(*(f"  {fault}\n" for fault in found.faults), sep="", end="", flush=True)
                points, held = points + found.points, held + sound
    print(f"{'all':25}{points:5} points, {held:5} held")
    return int(held < points)


if __name__ == "__main__":
    sys.exit(enumerate_all())
