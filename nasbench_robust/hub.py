"""Files of a data set repository of the Hugging Face Hub, through its own client."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .errors import DownloadError, InvalidValueError, MissingDataError, MissingPackageError

__all__ = ["download"]


def download(source: str, patterns: Sequence[str], cache: Path, *, forbidden_by: str | None = None) -> Path:
    """Download files of a repository, or find them in the cache.

    Parameters
    ----------
    source : str
        ``"hub:owner/name"`` or ``"hub:owner/name@revision"``.
    patterns : sequence of str
        The name of one file, or shell patterns (a star matches slashes too) that each match at least one.
    cache : Path
        Folder for the client's cache.
    forbidden_by : str, optional
        The environment variable that forbids the network: only the cache is asked then.

    Returns
    -------
    Path
        Folder of the repository's files at that revision.

    Raises
    ------
    InvalidValueError
        If `source` does not have that form.
    DownloadError
        If the hub does not deliver.
    MissingDataError
        If the network is needed and forbidden.
    MissingPackageError
        If huggingface_hub is not installed.
    """
    matched = re.fullmatch(r"hub:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", source)
    if matched is None:
        raise InvalidValueError("source", source, "hub:owner/name or hub:owner/name@revision")
    get = _getter(matched[1], matched[2], patterns, cache)
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    pinned = re.fullmatch(r"[0-9a-f]{40}", matched[2] or "") is not None
    if pinned or forbidden_by:  # a commit never changes: no request if it is here; a branch or tag may have moved
        try:
            return get(True)
        except HFValidationError as error:
            raise InvalidValueError("source", source, f"a name that the hub allows ({error})") from None
        except LocalEntryNotFoundError:
            if forbidden_by:
                problem = f"{source} is not on this machine and {forbidden_by} is set"
                raise MissingDataError(problem, f"unset {forbidden_by} and load it once") from None
    try:
        return get(False)
    except Exception as error:  # the hub's client raises many classes: HTTP, connection, missing repository or file
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DownloadError(source, first_line) from None


def _getter(repository: str, revision: str | None, patterns: Sequence[str], cache: Path) -> Callable[[bool], Path]:
    """Return the call of the hub's client, which takes whether to look into the cache alone."""
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        raise MissingPackageError("huggingface_hub", "hub") from None
    options: dict[str, Any] = {"repo_type": "dataset", "revision": revision, "cache_dir": cache}

    def get_file(local: bool) -> Path:
        return Path(hf_hub_download(repository, patterns[0], local_files_only=local, **options)).parent

    def get_matching(local: bool) -> Path:
        found = snapshot_download(repository, allow_patterns=list(patterns), local_files_only=local, **options)
        # The client is content with the folder of an earlier download, whatever that one was of.
        files = [path.relative_to(found).as_posix() for path in Path(found).rglob("*") if path.is_file()]
        if lacking := [pattern for pattern in patterns if not fnmatch.filter(files, pattern)]:
            raise LocalEntryNotFoundError(f"there is no file like {lacking[0]} in it")
        return Path(found)

    # One file takes fewer requests than a listing.
    return get_file if len(patterns) == 1 and "*" not in patterns[0] else get_matching
