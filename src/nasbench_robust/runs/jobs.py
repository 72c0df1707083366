"""Units of work, made one after the other: claimed, made unless they are there, written, reported. Once for all.

A job says what its units are. `make` does the rest: two processes never make the same unit, what is there is not made
again, and a process that is asked to stop keeps what it has in a checkpoint, from which the next call goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..engines import watching
from ..errors import RunInterruptedError
from ..files import is_folder
from ..table import RUNS
from . import slurm
from .worklists import claim

EXIT_INTERRUPTED = 130  # as a shell says after Ctrl-C
EXIT_REQUEUE = 75  # EX_TEMPFAIL: not done, try again
_SUBFOLDERS = (RUNS, "claims", "checkpoints")  # they may be another user's
_ROOM = 1 << 16

Unit = TypeVar("Unit", contravariant=True)
Result = TypeVar("Result")
# Given the number of epochs of a unit and its label, shows how far it is; what is yielded is called with every epoch
# and every `Step`.
Bar = Callable[[int, str], contextlib.AbstractContextManager[Callable[[Any], None]]]


class Job(Protocol[Unit, Result]):
    """A kind of work. The results of its units are files in one folder."""

    @property
    def folder(self) -> Path:
        """Where the results go."""

    @property
    def epochs(self) -> int:
        """How many epochs a unit has, for a bar of progress."""

    def name(self, unit: Unit) -> str:
        """Return the name of a unit's files, which no other unit has."""

    def label(self, unit: Unit) -> str:
        """Return what a unit is called where it is reported."""

    def is_done(self, unit: Unit) -> bool:
        """Return whether the folder holds the unit already; raise `InvalidValueError` if it is another job's."""

    def run(
        self, unit: Unit, checkpoint: Path, progress: Callable[[Any], None], should_stop: Callable[[], bool]
    ) -> Result:
        """Make a unit; raise `RunInterruptedError` if `should_stop` said yes, with the state in the checkpoint."""

    def write(self, unit: Unit, result: Result) -> Path:
        """Write the result of a unit, whole or not at all, and return its path."""

    def summary(self, result: Result) -> str:
        """Return what is reported of a result."""


class Signals:
    """Remembers that the process was asked to stop; the unit under way asks after every step.

    With `ctrl_c` a first Ctrl-C asks too, for units that keep a checkpoint; a second one is a KeyboardInterrupt.
    """

    def __init__(self, *, ctrl_c: bool = False) -> None:
        self.received: set[int] = set()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._receive)
        if ctrl_c and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as for workers, whose parent is asked
            signal.signal(signal.SIGINT, self._receive)

    def _receive(self, number: int, _: object) -> None:
        self.received.add(number)
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)

    def should_stop(self) -> bool:
        """Return whether a signal has come."""
        return bool(self.received)


def make(
    job: Job[Unit, Result],
    units: Iterable[Unit],
    signals: Signals,
    *,
    say: Callable[[str], None],
    bar: Bar,
    tell_there: bool = True,
) -> int:
    """Make units one after the other, but those that are there or that another process is at; return the exit code.

    Parameters
    ----------
    job : Job
        Its folder is tried out before the first unit.
    units : iterable
    signals : Signals
        SIGTERM and SIGUSR1 end the work with a checkpoint and `EXIT_REQUEUE`, Ctrl-C with `EXIT_INTERRUPTED`; on
        SIGUSR1, which Slurm sends before the time limit, the job is queued again.
    say : callable
        Takes a line about every unit.
    bar : callable
        Shows how far a unit is.
    tell_there : bool
        Whether to say which units are there already.
    """
    check_folder(job.folder)
    for unit in units:
        if signals.should_stop() or not _make(job, unit, signals, say, bar, tell_there):
            return stopped(signals)
    return stopped(signals) if signals.should_stop() else 0


def _make(
    job: Job[Unit, Result], unit: Unit, signals: Signals, say: Callable[[str], None], bar: Bar, tell_there: bool
) -> bool:
    """Make one unit; return False if it was asked to stop."""
    name, label = job.name(unit), job.label(unit)
    with claim(job.folder, name) as had:
        if not had or job.is_done(unit):
            if tell_there:
                say(f"{label}: " + (f"already in {job.folder}" if had else "another process is making it"))
            return True
        checkpoint = job.folder / "checkpoints" / f"{name}.ckpt"
        with bar(job.epochs, label) as progress, watching(signals.should_stop, progress):
            try:
                result = job.run(unit, checkpoint, progress, signals.should_stop)
            except RunInterruptedError:
                say(f"{label}: stopped on request")
                return False
        path = job.write(unit, result)
        checkpoint.unlink(missing_ok=True)
    say(f"{label}: {job.summary(result)} -> {path}")
    return True


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Find out before the work, not after it, that the results cannot be written: not allowed, or no room."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for place in (Path(folder), *(Path(folder) / name for name in _SUBFOLDERS)):
        if is_folder(place):
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(bytes(_ROOM))
                file.flush()
                os.fsync(file.fileno())  # a quota may be looked at no sooner


def stopped(signals: Signals) -> int:
    """Ask Slurm to run the job again if it was about to end it; say to the caller that there is more to do."""
    job = os.environ.get("SLURM_JOB_ID")
    if signal.SIGUSR1 in signals.received and job:
        slurm.requeue(job)
    return EXIT_INTERRUPTED if signal.SIGINT in signals.received else EXIT_REQUEUE
