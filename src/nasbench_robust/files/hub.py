"""Files of a data set repository of the Hugging Face Hub, through its own client."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DownloadError, InvalidValueError, MissingDataError, MissingPackageError, UploadError
from .cache import OFFLINE_VARIABLE, home, is_offline
from .manifests import MANIFEST, mismatch

_REPOSITORY = r"[\w.-]+/[\w.-]+"


class AbsentFileError(DownloadError):
    """The repository is there and does not have the file."""


def download(source: str, *patterns: str) -> Path:
    """Download files of a repository, or find them in the cache of `cache.home`.

    Parameters
    ----------
    source : str
        ``"hub:owner/name"`` or ``"hub:owner/name@revision"``.
    *patterns : str
        The name of one file, or shell patterns (a star matches slashes too) that each match at least one.

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
    repository, revision = _parse(source)
    get = _getter(repository, revision, patterns)
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

    if _is_commit(revision) or is_offline():  # a commit never changes: no request if it is here
        try:
            return get(True)
        except HFValidationError as error:
            raise InvalidValueError("source", source, f"a name that the hub allows ({error})") from None
        except LocalEntryNotFoundError:
            if is_offline():
                problem = f"{source} is not on this machine and {OFFLINE_VARIABLE} is set"
                raise MissingDataError(problem, f"unset {OFFLINE_VARIABLE} and load it once") from None
    try:
        return get(False)
    except Exception as error:  # the hub's client raises many classes: HTTP, connection, missing repository or file
        absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
        raise (AbsentFileError if absent else DownloadError)(source, _first_line(error)) from None


def download_table(source: str) -> Path:
    """Return the runs table of a repository, checked against its manifest where it has one.

    Parameters and errors are those of `download`. A table that is not the one that was published is removed from the
    cache, with the manifest, so that the next call asks for both again.
    """
    manifest = _find_manifest(source)
    if manifest is not None:  # the branch may move at any moment: the table is to be of the same commit
        source = f"hub:{_parse(source)[0]}@{manifest.parent.name}"
    table = download(source, "runs.parquet") / "runs.parquet"
    problem = None if manifest is None else mismatch(manifest, table)
    if manifest is not None and problem is not None:
        for path in (table, manifest):
            path.resolve().unlink(missing_ok=True)  # the content, which the cache keeps elsewhere
            path.unlink(missing_ok=True)
        raise DownloadError(source, f"{problem}; nothing was kept")
    return table


def _find_manifest(source: str) -> Path | None:
    """Return the manifest on this disk, or None for a repository without one.

    It is asked for before the table: a table of that commit in the cache without one means that there is none.
    """
    repository, revision = _parse(source)
    local = _is_commit(revision) and _is_cached(repository, revision, "runs.parquet")
    if local and not _is_cached(repository, revision, MANIFEST):
        return None
    try:
        return download(source, MANIFEST) / MANIFEST
    except (AbsentFileError, MissingDataError):  # offline: the table itself may be here
        return None
    except DownloadError:
        if _is_cached(repository, revision, "runs.parquet"):  # the hub is out of reach: the table of last time
            return None
        raise


def _is_cached(repository: str, revision: str | None, name: str) -> bool:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        raise MissingPackageError("huggingface_hub", "hub") from None
    try:
        cached = try_to_load_from_cache(repository, name, cache_dir=_cache(), revision=revision, repo_type="dataset")
    except ValueError:  # a name that the hub does not allow; the download says so
        return False
    return isinstance(cached, str)


def check_repository(repository: str) -> None:
    """Raise `InvalidValueError` unless `repository` is ``owner/name``."""
    if not re.fullmatch(_REPOSITORY, repository):
        raise InvalidValueError("repository", repository, "owner/name")


def upload(folder: Path, files: Sequence[str], repository: str, message: str) -> str:
    """Send files to a data set repository as one commit and return its hash; the repository is made if need be.

    Raises
    ------
    InvalidValueError
        If `repository` is not ``owner/name``.
    UploadError
        If the hub does not take them, or the environment forbids the network.
    MissingPackageError
        If huggingface_hub is not installed.
    """
    check_repository(repository)
    if is_offline():
        raise UploadError(repository, f"nothing is sent while {OFFLINE_VARIABLE} is set")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError:
        raise MissingPackageError("huggingface_hub", "hub") from None
    try:
        api = HfApi()
        api.create_repo(repository, repo_type="dataset", exist_ok=True)
        additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in files]
        commit = api.create_commit(repository, additions, commit_message=message, repo_type="dataset")
        return str(commit.oid)
    except Exception as error:  # as for downloads, there are many classes
        raise UploadError(repository, _first_line(error)) from None


def _cache() -> Path:
    """Return the folder of the hub's client."""
    return home() / "hub"


def _parse(source: str) -> tuple[str, str | None]:
    """Return repository and revision."""
    matched = re.fullmatch(rf"hub:({_REPOSITORY})(?:@([\w./-]+))?", source)
    if matched is None:
        raise InvalidValueError("source", source, "hub:owner/name or hub:owner/name@revision")
    return matched[1], matched[2]


def _is_commit(revision: str | None) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision or "") is not None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _getter(repository: str, revision: str | None, patterns: Sequence[str]) -> Callable[[bool], Path]:
    """Return the call of the hub's client, which takes whether to look into the cache alone."""
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        raise MissingPackageError("huggingface_hub", "hub") from None
    options: dict[str, Any] = {"repo_type": "dataset", "revision": revision, "cache_dir": _cache()}

    def get_file(local: bool) -> Path:
        return Path(hf_hub_download(repository, patterns[0], local_files_only=local, **options)).parent

    def get_matching(local: bool) -> Path:
        cached = snapshot_download(repository, allow_patterns=list(patterns), local_files_only=local, **options)
        # The client is content with the folder of an earlier download, whatever that one was of.
        files = [path.relative_to(cached).as_posix() for path in Path(cached).rglob("*") if path.is_file()]
        if lacking := [pattern for pattern in patterns if not fnmatch.filter(files, pattern)]:
            raise LocalEntryNotFoundError(f"there is no file like {lacking[0]} in it")
        return Path(cached)

    # One file takes fewer requests than a listing.
    return get_file if len(patterns) == 1 and "*" not in patterns[0] else get_matching
