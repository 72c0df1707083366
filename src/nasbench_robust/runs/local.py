"""A work list made by several processes of this machine: the same commands as the tasks of a cluster."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .jobs import EXIT_INTERRUPTED, EXIT_REQUEUE
from .progress import QUIET_VARIABLE, total_progress
from .worklists import Unit, write_worklist

POLL_SECONDS = 0.5
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # looked up here: little may be done between fork and exec

Show = Callable[[int], None]


def make_locally(
    folder: str | os.PathLike[str],
    units: Sequence[Unit],
    workers: int,
    command: Callable[[Path], Sequence[str]],
    find_missing: Callable[[Sequence[Unit]], list[Unit]],
    *,
    what: str = "runs",
    say: Callable[[str], None],
    devices: Sequence[str] = (),
) -> int:
    """Make the units that a folder lacks and return the exit code: 0 if nothing is missing afterwards.

    Every process claims units one after the other, first those of its own share. After Ctrl-C and SIGTERM all keep what
    they have and end, after a second one at once, and the next call goes on where they were. They end with this process
    however it ends (on Linux).

    Parameters
    ----------
    folder : path
        Of the shards.
    units : sequence of Unit
        What is to be there.
    workers : int
        How many processes.
    command : callable
        Given a work list, returns the command that makes a line of it, but for ``--task`` and the number of the line.
    find_missing : callable
        Returns those of some units that the folder lacks.
    what : str
        What units are called where they are counted.
    say : callable
        Takes a line about how far it is.
    devices : sequence of str
        Where there are several, the workers are spread over them: ``--device`` is added to their commands.
    """
    missing = find_missing(units)
    there = len(units) - len(missing)
    say(f"{len(units)} {what}, {there} there, {len(missing)} missing")
    if not missing:
        return 0
    worklist = Path(folder) / "jobs" / f"local-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}.jsonl"
    write_worklist(_share(missing, workers), worklist)
    commands = [[*command(worklist), "--task", str(worker)] for worker in range(workers)]
    for worker in range(workers if devices else 0):
        commands[worker] += ["--device", devices[worker % len(devices)]]
    try:
        with total_progress(len(units), there, what) as show:
            codes = _run(commands, lambda: show(len(units) - len(find_missing(missing))))
    finally:
        worklist.unlink(missing_ok=True)
    left = find_missing(missing)
    say(f"{len(left)} missing")
    # Of a process that was killed, the code is the negative number of the signal; where all ended well and something is
    # missing, another process is at it.
    return (max(map(abs, codes)) or EXIT_REQUEUE) if left else 0


def _run(commands: Sequence[Sequence[str]], look: Callable[[], None]) -> list[int]:
    """Run commands side by side and return their exit codes; the signals that end this process end them all."""
    processes: list[subprocess.Popen[bytes]] = []
    with _ended_by_signals(processes) as received:
        environment = {**os.environ, QUIET_VARIABLE: "1"}
        on_terminal = sys.stdout.isatty() and sys.stderr.isatty()  # there is a bar, which lines would tear
        for command in commands:
            processes.append(
                subprocess.Popen(  # noqa: S603
                    command,
                    env=environment,
                    stdout=subprocess.DEVNULL if on_terminal else None,
                    preexec_fn=functools.partial(_begin, os.getpid()),
                )
            )
            if received:  # while it was being started
                processes[-1].terminate()
                break
        pause = POLL_SECONDS
        for process in processes:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(pause)
                start = time.monotonic()
                if not received:
                    look()
                pause = max(POLL_SECONDS, 50 * (time.monotonic() - start))  # to look takes 2 % of the time at most
        if received:
            return [EXIT_INTERRUPTED if signal.SIGINT in received else EXIT_REQUEUE]
        return [process.wait() for process in processes]


@contextlib.contextmanager
def _ended_by_signals(processes: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Hand signals that end this process to those it started: the first asks them to stop, the next one kills them."""
    received: list[int] = []

    def forward(number: int, _frame: object) -> None:
        received.append(number)
        for process in processes:
            process.send_signal(signal.SIGTERM if len(received) == 1 else signal.SIGKILL)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks for
                before[number] = signal.signal(number, forward)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """Let this process end, by SIGTERM, when its parent does, however that ends; on Linux only."""
    if _prctl is not None:
        _prctl(_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended already
            os._exit(EXIT_REQUEUE)


def _begin(parent: int) -> None:
    """Prepare the process of a worker: Ctrl-C, which a terminal sends to all, is left to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def _share(units: list[Unit], workers: int) -> list[list[Unit]]:
    """Return a task for every worker: a share of its own, and behind it what the others may have left to do."""
    shares = [units[worker::workers] for worker in range(workers)]
    return [[unit for share in shares[worker:] + shares[:worker] for unit in share] for worker in range(workers)]
