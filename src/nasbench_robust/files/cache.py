"""Where downloads are kept, whether the network may be asked, and the one download of a file by its hash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from ..errors import DownloadError, MissingDataError
from .atomic import checksum, write_with
from .reading import as_path

HOME_VARIABLE = "NASBENCH_ROBUST_HOME"
OFFLINE_VARIABLE = "NASBENCH_ROBUST_OFFLINE"
ATTEMPTS, PAUSE_SECONDS = 3, 1.0  # the pause doubles from one attempt to the next
MOST_BYTES = 64 * 2**20  # of a file whose size is not known


def home() -> Path:
    """Return the folder of downloads and of what was made of files; ``NASBENCH_ROBUST_HOME`` names another one."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        if (path := as_path(named, HOME_VARIABLE)).is_file():
            raise MissingDataError(f"{HOME_VARIABLE} names {path}, a file", "let it name a folder")
        return path
    from platformdirs import user_cache_dir

    try:
        folder = Path(user_cache_dir("nasbench-robust"))
    except (KeyError, RuntimeError):  # the system knows no home
        folder = Path("~")
    if not folder.is_absolute():  # a "~" that nobody could expand: a user without a home
        raise MissingDataError("this user has no home folder to keep downloads in", f"set {HOME_VARIABLE} to a folder")
    return folder


def is_offline() -> bool:
    """Return whether the environment forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def download(url: str, hash_: str, filename: str, title: str, size: int | None = None) -> Path:
    """Download a file in a few attempts; a copy that is there with the right hash is not asked for again.

    Parameters
    ----------
    url, hash_ : str
        Address of the file, and the SHA-256 of its content.
    filename, title : str
        What it is called in the cache, and in messages.
    size : int, optional
        Its bytes; no more are read. Where they are not known, 64 MiB are the most.

    Raises
    ------
    MissingDataError
        If it is not in the cache and the network is forbidden.
    DownloadError
        If it cannot be had, or has another hash. Nothing is kept then.
    """
    import logging  # like the client, not needed where a release is at hand

    from .fetching import FetchError, fetch

    log, folder = logging.getLogger(__name__), home() / "downloads"
    target = folder / filename
    try:
        if target.exists() and checksum(target) == hash_:
            return target
        _sweep(folder)
    except OSError as error:
        raise DownloadError(url, f"{folder} cannot be read ({error.strerror or error}); nothing was kept") from None
    if is_offline():
        remedy = f"unset {OFFLINE_VARIABLE}, or pass a copy of {url} with path= or --path"
        problem = f"{target} is damaged" if target.exists() else f"{title} is not on this machine"
        raise MissingDataError(f"{problem} and {OFFLINE_VARIABLE} is set", remedy)
    problem = ""
    for attempt in range(1, ATTEMPTS + 1):
        log.info("downloading %s (attempt %d of %d)", url, attempt, ATTEMPTS)
        try:
            write_with(target, lambda beside: fetch(url, beside, MOST_BYTES if size is None else size, hash_))
            return target
        except FetchError as error:
            problem = str(error)
            if error.final:
                break
        except OSError as error:
            problem = f"could not be stored in {folder} ({error.strerror or error})"
            break
        if attempt < ATTEMPTS:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
    raise DownloadError(url, f"{problem}; nothing was kept. A copy from elsewhere can be passed with path= or --path")


def _sweep(folder: Path) -> None:
    """Remove what downloads left that were killed: a download under way holds a lock on its file."""
    for path in [*folder.glob(".*.tmp"), *folder.glob("tmp*")]:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
