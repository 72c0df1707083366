"""Which runs are to be made, which are missing on the disk, and who makes which: the work list and its claims.

A unit of work is one cell and one seed. A work list is a text file with one task per line, a task being the units that
one process makes one after the other. A claim keeps two processes from making the same unit; it is a lock of the
operating system on a file, so it ends with the process however that ends. Results do not rest on claims: a row that is
there is never replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby
from pathlib import Path

from .. import cells
from ..cells import Cell
from ..checks import seed
from ..errors import InvalidValueError, NasbenchRobustError, TableError
from ..files import ONE_AT_A_TIME, parse_json, read_text, write_bytes
from ..skeletons import Skeleton
from ..table import OfDataset, present_runs, shard_name

_TRIES, _PAUSE_SECONDS = 4, 0.25
# What this process claims, by its number, since a fork copies this and not the locks. The system gives a process its
# own lock again and again, and takes it away when any of its descriptors of the file is closed.
_HELD: set[tuple[int, Path]] = set()


@dataclass(frozen=True)
class Unit:
    """One run: a representative's index and a seed."""

    index: int
    seed: int


def parse_cells(text: str) -> list[int]:
    """Return the representatives that a text names, ascending.

    Parameters
    ----------
    text : str
        ``"all"``; ``"every:4"``, every fourth of all, a sample spread over their indices; or indices and ranges
        separated by commas, ``"0-99,1234"``. Cells of one class count once.
    """
    everything = sorted(set(cells.representatives().tolist()))
    if text.strip() == "all":
        return everything
    if text.startswith("every:"):
        if not text[6:].isdecimal() or int(text[6:]) < 1:
            raise InvalidValueError("cells", text, "'every:' and a positive integer", "every:4")
        return everything[:: int(text[6:])]
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InvalidValueError("cells", text, "'all', or indices and ranges such as '0-99,1234'")
        lowest = Cell.from_text(first).index
        for index in range(lowest, (Cell.from_text(last).index if dash else lowest) + 1):
            chosen.add(Cell.from_index(index).representative)
    if not chosen:
        raise InvalidValueError("cells", text, "at least one cell")
    return sorted(chosen)


def find_missing(folder: str | os.PathLike[str], settings: OfDataset, units: Iterable[Unit]) -> list[Unit]:
    """Return the units whose run the folder does not hold, going by the names of its files."""
    present = present_runs(Path(folder))
    return [unit for unit in units if shard_name(settings, unit.index, unit.seed) not in present]


def make_tasks(units: Sequence[Unit], units_per_task: int, skeleton: Skeleton | None = None) -> list[list[Unit]]:
    """Cut units into tasks of so many; of so many on the average that train equally long, given the network."""
    if skeleton is None or units_per_task == 1:
        return [list(units[start : start + units_per_task]) for start in range(0, len(units), units_per_task)]
    costs = [step_cost(unit.index, skeleton) for unit in units]
    share = sum(costs) / max(1, -(-len(units) // units_per_task))
    ends = [end - cost / 2 for end, cost in zip(accumulate(costs), costs, strict=True)]
    numbered = groupby(zip(ends, units, strict=True), key=lambda pair: pair[0] // share)
    return [[unit for _, unit in task] for _, task in numbered]


def step_cost(index: int, skeleton: Skeleton) -> float:
    """Return about how long a step of training a cell takes beside others, in multiplications of a pass.

    What the plan computes: its multiplications, and ten for every value that an operation reads, writes and adds to a
    sum. That is between what a core of a CPU and what a GPU multiplies while it moves one.
    """
    cell = Cell.from_index(index)
    made = [name for name, node in zip(cell.operations, cell.plan.reads, strict=True) if node is not None]
    values = sum(width * size**2 for width, size in zip(skeleton.widths, skeleton.sizes, strict=True))
    moved = 3 * len(made) * skeleton.cells_per_stage * values
    return skeleton.flops(made.count("nor_conv_1x1"), made.count("nor_conv_3x3")) + 10 * moved


def write_worklist(tasks: Iterable[Sequence[Unit]], path: str | os.PathLike[str]) -> None:
    """Write one task per line, as JSON; the file appears whole or not at all."""
    lines = [json.dumps([[unit.index, unit.seed] for unit in task]) + "\n" for task in tasks]
    write_bytes("".join(lines).encode(), Path(path))


def read_task(path: str | os.PathLike[str], task: int) -> list[Unit]:
    """Return the units of one task, counted from 0.

    Raises
    ------
    MissingDataError, SourceFormatError, TableError, InvalidValueError
        If there is no work list, it cannot be read, or it has no such task.
    """
    lines = read_text(path, "the work list ").splitlines()
    if not 0 <= task < len(lines):
        raise InvalidValueError("task", task, f"a line of the work list, 0 to {len(lines) - 1}")
    pairs = parse_json(lines[task], path, f"line {task + 1}")
    try:
        return [Unit(Cell.from_index(index).index, seed("seed", number)) for index, number in pairs]
    except (ValueError, TypeError) as error:
        reason = f" ({error})" if isinstance(error, NasbenchRobustError) else ""
        raise TableError(path, f"line {task + 1} is not a list of [index, seed] pairs{reason}") from None


@contextlib.contextmanager
def claim(folder: str | os.PathLike[str], name: str) -> Iterator[bool]:
    """Claim a unit for the time of a ``with`` block.

    Parameters
    ----------
    folder : path
        The folder of runs.
    name : str
        What is claimed, for example the name of a shard.

    Yields
    ------
    bool
        Whether the claim was had; False if another process holds it. Where the file system knows no locks it is
        always had: then two processes may do the same work, and the row of the first one stays.
    """
    path = _real(os.fspath(folder)) / "claims" / f"{name}.lock"
    mine = (os.getpid(), path)
    with ONE_AT_A_TIME:
        taken = mine in _HELD
        _HELD.add(mine)
    if taken:
        yield False
        return
    try:
        yield from _claimed(path)
    finally:
        _HELD.discard(mine)


def _claimed(path: Path) -> Iterator[bool]:
    descriptor = _opened(path)
    try:
        had = _lock(descriptor)
        while had and not os.fstat(descriptor).st_nlink:  # its last holder removed it after it was opened here
            os.close(descriptor)
            descriptor = _opened(path)
            had = _lock(descriptor)
        if had:
            job = os.environ.get("SLURM_JOB_ID", "")
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "job": job}).encode())
        try:
            yield had
        finally:
            if had:
                with contextlib.suppress(OSError):
                    path.unlink()
    finally:
        os.close(descriptor)


@lru_cache(maxsize=16)  # of one folder for every unit of work
def _real(folder: str) -> Path:
    return Path(os.path.realpath(folder))


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o666)


def is_claimed(folder: str | os.PathLike[str], name: str) -> bool:
    """Return whether a process, this one too, holds the claim at this moment."""
    path = _real(os.fspath(folder)) / "claims" / f"{name}.lock"
    if (os.getpid(), path) in _HELD:
        return True
    try:
        with open(path) as file:  # to read is enough for a shared lock, so that anyone may ask
            return not _lock(file.fileno(), fcntl.LOCK_SH, tries=1)
    except FileNotFoundError:
        return False


def _lock(descriptor: int, kind: int = fcntl.LOCK_EX, tries: int = _TRIES) -> bool:
    """Take a lock, trying a few times: `is_claimed` holds it for a moment."""
    for attempt in range(tries):
        try:
            fcntl.lockf(descriptor, kind | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            if attempt + 1 < tries:
                time.sleep(_PAUSE_SECONDS)
        except OSError:
            return True  # no locks on this file system
        else:
            return True
    return False
