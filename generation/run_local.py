"""Make what is missing of a table on this machine: ``python generation/run_local.py --out DIR --workers 2``.

The same work list as on a cluster, shared by N processes; every process claims runs one after the other, first those of
its own share. Stop it with Ctrl-C and start it again: it goes on where it was.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common import add_table_arguments, add_train_arguments, read_table_arguments, train_command

from nasbench_robust.programs import guarded
from nasbench_robust.runs import OfDataset, Unit, find_missing, write_worklist

EXIT_INTERRUPTED = 130  # as a shell says after Ctrl-C
Command = Callable[[argparse.Namespace, Path], tuple[str, ...]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add_table_arguments(parser)
    add_train_arguments(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    args = parser.parse_args(arguments)
    return guarded("run_local.py", lambda: _run(args), args.out)


def _run(args: argparse.Namespace) -> int:
    return make(args, *read_table_arguments(args))


def make(
    args: argparse.Namespace,
    settings: OfDataset,
    units: Sequence[Unit],
    kind: str = "runs",
    command: Command = train_command,
) -> int:
    """Make the units that ``args.out`` lacks by ``args.workers`` processes, and return the exit code.

    Parameters
    ----------
    args : Namespace
        Has what `command` takes, too.
    settings, units, kind
        What is to be there, as for `worklists.find_missing`.
    command : callable
        Given `args` and a work list, returns the command that makes a line of it, but for the number of the line.
    """
    missing = find_missing(args.out, settings, units, kind)
    print(f"{len(units)} {kind}, {len(units) - len(missing)} there, {len(missing)} missing", file=sys.stderr)
    if not missing:
        return 0
    worklist = Path(args.out) / "jobs" / "local.jsonl"
    workers = max(1, args.workers)
    write_worklist(_share(missing, workers), worklist)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for worker in range(workers):  # one by one, so that those that run are known wherever this is interrupted
            processes += [subprocess.Popen([*command(args, worklist), "--task", str(worker)])]
        codes = [process.wait() for process in processes]
    except KeyboardInterrupt:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait()
        codes = [EXIT_INTERRUPTED]
    left = find_missing(args.out, settings, units, kind)
    print(f"{len(left)} missing", file=sys.stderr)
    return max(map(abs, codes)) if left else 0  # of a process that was killed, the negative number of the signal


def _share(units: list[Unit], workers: int) -> list[list[Unit]]:
    """Return a task for every worker: a share of its own, and behind it what the others may have left to do."""
    shares = [units[worker::workers] for worker in range(workers)]
    return [[unit for share in shares[worker:] + shares[:worker] for unit in share] for worker in range(workers)]


if __name__ == "__main__":
    sys.exit(main())
