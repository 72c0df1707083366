"""Folders whose files change as one: numbered commits, each a folder that appears whole and never changes.

``commits/00000003/`` holds the files of the third state and a manifest with their hashes. It is written under another
name and gets its own by one rename, which fails where that name is taken: of two writers that build on one state, the
second begins again. No lock is needed, no hard link, and no clock. A reader takes the highest number that there is; the
state before it is kept for readers under way.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import MissingDataError, NasbenchRobustError
from .atomic import flush, flush_folder, naming, sweep_unfinished, unfinished, write_with
from .manifests import MANIFEST, manifest_text
from .reading import entries, is_there, read_bytes

COMMITS = "commits"
_PAUSES = (0.0, 0.0, 0.0, 0.1, 0.3, 0.6, 1.0)  # seconds between tries: over a network names are seen late
T = TypeVar("T")


class Commit(NamedTuple):
    """One state of a folder.

    Attributes
    ----------
    number : int
        From 1.
    folder : Path
        Of its files.
    """

    number: int
    folder: Path

    def problem(self) -> str | None:
        """Return what is missing of it, after an interrupted copy say, or None: hashes are looked at elsewhere."""
        try:
            names = list(json.loads(read_bytes(self.folder / MANIFEST))["files"])
        except FileNotFoundError:
            names = [MANIFEST]
        except (ValueError, TypeError, KeyError, RecursionError):
            return f"its {MANIFEST} is damaged"
        lacking = [name for name in names if not is_there(self.folder / name)]
        return f"{lacking[0]} is missing" if lacking else None

    @property
    def files(self) -> list[str]:
        """Names of its files, the manifest last."""
        return sorted((entry.name for entry in entries(self.folder)), key=lambda name: name == MANIFEST)


def latest(folder: Path) -> Commit | None:
    """Return the state that holds now, or None where there is no commit."""
    numbers = _numbers(folder / COMMITS)
    return Commit(numbers[-1], folder / COMMITS / f"{numbers[-1]:08d}") if numbers else None


def read_steadily(folder: Path, read: Callable[[], T]) -> T:
    """Return what `read` finds in a folder; again where it failed, or took so long, that its state may be gone.

    Raises
    ------
    MissingDataError
        If the folder changes too fast, beside what `read` raises.
    """
    for pause in _PAUSES:
        before = latest(folder)
        try:
            found = read()
        except (OSError, NasbenchRobustError) as error:
            is_gone = isinstance(error, FileNotFoundError) and not isinstance(error, MissingDataError)
            if not is_gone and latest(folder) == before:
                raise
            time.sleep(pause)
        else:
            now = latest(folder)
            if now == before or (now is not None and now.number < 2 + (before.number if before else 0)):
                return found
    raise MissingDataError(f"{folder} changes faster than it can be read", "try again")


def commit(folder: Path, write: Callable[[Path], dict[str, Any]], after: Commit | None) -> Commit | None:
    """Add a state.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    write : callable
        Writes the files to the folder that it is given, and returns what the manifest says beside their hashes.
    after : Commit or None
        The state that the new one is made from.

    Returns
    -------
    Commit or None
        None where another writer was faster: `after` holds no longer, nothing was changed.
    """
    commits = folder / COMMITS
    commits.mkdir(parents=True, exist_ok=True)
    number = 1 if after is None else after.number + 1
    mine = Commit(number, commits / f"{number:08d}")
    beside = unfinished(mine.folder)
    try:
        with naming(folder, beside):
            beside.mkdir()
            about = write(beside)
            text = manifest_text(about, beside, [path.name for path in beside.iterdir()])
            (beside / MANIFEST).write_text(text, encoding="utf-8")
            for path in beside.iterdir():
                flush(path)
            flush_folder(beside)
            try:
                beside.rename(mine.folder)
            except OSError:  # file systems differ in what they say where the name is taken
                if not is_there(mine.folder):
                    raise
                if is_there(beside) or read_bytes(mine.folder / MANIFEST) != text.encode():
                    return None  # and else it was renamed, and over a network the answer was lost
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    flush_folder(commits)
    if _numbers(commits)[-1:] > [number]:  # others went on meanwhile, and removed the state of this number
        shutil.rmtree(mine.folder, ignore_errors=True)
        return None
    with suppress(OSError):  # the next one sweeps
        sweep(folder)
    return mine


def sweep(folder: Path) -> list[Path]:
    """Remove states older than the last two, and what writers left that are dead; return what was removed."""
    commits, removed = folder / COMMITS, []
    for number in _numbers(commits)[:-2]:
        aside = unfinished(commits / f"{number:08d}")
        with suppress(OSError):
            (commits / f"{number:08d}").rename(aside)  # in one step, so that no reader finds a part of it
            shutil.rmtree(aside)
            removed.append(commits / f"{number:08d}")
    return removed + sweep_unfinished(commits)


def expose(folder: Path) -> None:
    """Give the files of the state that holds plain names in the folder itself, for readers that know of no commits.

    They are links to the files, or copies where the system has no links. They change one after the other.
    """
    exposed = None
    while (state := latest(folder)) is not None and state != exposed:  # others may go on, or be at this as well
        with suppress(FileNotFoundError):  # a state that is gone
            _expose(folder, state)
        exposed = state


def expose_again(folder: Path) -> None:
    """Let plain names follow the state of a folder, if it has them."""
    if (folder / MANIFEST).is_symlink():
        expose(folder)


def _expose(folder: Path, state: Commit) -> None:
    names = set(state.files)
    for path in folder.iterdir():
        if path.name not in names and path.is_symlink() and str(path.readlink()).startswith(f"{COMMITS}/"):
            path.unlink()
    for name in state.files:
        target = state.folder / name

        def link(beside: Path, target: Path = target) -> None:
            try:
                beside.symlink_to(target.relative_to(folder))
            except OSError:
                shutil.copyfile(target, beside)

        write_with(folder / name, link)


def _numbers(commits: Path) -> list[int]:
    return [int(entry.name) for entry in entries(commits) if re.fullmatch(r"\d{8}", entry.name)]
