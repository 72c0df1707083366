"""A work list made by several processes of this machine: the same commands as the tasks of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .worklists import Unit, write_worklist

EXIT_INTERRUPTED = 130  # as a shell says after Ctrl-C


def make_locally(
    folder: str | os.PathLike[str],
    units: Sequence[Unit],
    workers: int,
    command: Callable[[Path], Sequence[str]],
    find_missing: Callable[[Sequence[Unit]], list[Unit]],
    *,
    what: str = "runs",
    say: Callable[[str], None],
) -> int:
    """Make the units that a folder lacks and return the exit code.

    Every process claims units one after the other, first those of its own share. After Ctrl-C all are stopped, and the
    next call goes on where they were.

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
    """
    missing = find_missing(units)
    say(f"{len(units)} {what}, {len(units) - len(missing)} there, {len(missing)} missing")
    if not missing:
        return 0
    worklist = Path(folder) / "jobs" / "local.jsonl"
    write_worklist(_share(missing, workers), worklist)
    codes = _run([[*command(worklist), "--task", str(worker)] for worker in range(workers)])
    left = find_missing(missing)
    say(f"{len(left)} missing")
    return max(map(abs, codes)) if left else 0  # of a process that was killed, the negative number of the signal


def _run(commands: Sequence[Sequence[str]]) -> list[int]:
    """Run commands side by side and return their exit codes; Ctrl-C stops them all."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:  # one by one, so that those that run are known wherever this is interrupted
            processes += [subprocess.Popen(command)]  # noqa: S603
        return [process.wait() for process in processes]
    except KeyboardInterrupt:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
        return [EXIT_INTERRUPTED]


def _share(units: list[Unit], workers: int) -> list[list[Unit]]:
    """Return a task for every worker: a share of its own, and behind it what the others may have left to do."""
    shares = [units[worker::workers] for worker in range(workers)]
    return [[unit for share in shares[worker:] + shares[:worker] for unit in share] for worker in range(workers)]
