"""From the name of a release to a verified table on this disk: `load`.

``digits`` is part of the package: it is opened where it lies, nothing is written and nothing is asked for. Published
files are downloaded once, checked against a SHA-256 that stands here, converted to Parquet and kept under
``NASBENCH_ROBUST_HOME`` (by default the platform's cache folder). Everything works offline afterwards;
``NASBENCH_ROBUST_OFFLINE=1`` forbids the network altogether. A download appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import (
    DownloadError,
    InvalidValueError,
    MissingDataError,
    TableError,
    UnknownNameError,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from .benchmark import Benchmark

__all__ = [
    "BUNDLED",
    "RELEASES",
    "Release",
    "fetch",
    "fetch_from_hub",
    "home",
    "is_offline",
    "load",
    "locate",
    "release_names",
    "release_with",
]

log = logging.getLogger(__name__)

BUNDLED = "digits"  # the release that is part of the package, and what `load` opens by default
_BUNDLED_RUNS = Path(__file__).parent / "data" / BUNDLED / "runs.parquet"
HOME_VARIABLE = "NASBENCH_ROBUST_HOME"
OFFLINE_VARIABLE = "NASBENCH_ROBUST_OFFLINE"
_CONVERSION = 1  # to be raised whenever an importer makes another table of the same file
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Release:
    """A published file that can be downloaded and converted.

    Attributes
    ----------
    name : str
        What `load` is called with.
    url, sha256 : str
        Address of the file, and the hash of its content.
    importer : str
        Key of `importers.IMPORTERS`.
    datasets : tuple of str
        Canonical names of the data sets in it.
    """

    name: str
    url: str
    sha256: str
    importer: str
    datasets: tuple[str, ...] = ()

    @property
    def filename(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


_NATURAL = ("cifar10", "cifar100", "ImageNet16-120")
_PAGE = "https://tt2408.github.io/nasrobbench201hp/files/"
RELEASES = {
    release.name: release
    for release in (
        Release(
            "nas-robbench-201",
            _PAGE + "NAS-RobBench-201_html.json",
            "b3dc99b96324de07b1dd9f3c39830fe0f82aae7fbd1b20eb0a6885cabd4f2388",
            "page",
            _NATURAL,
        ),
        Release(
            "standard-training",
            _PAGE + "standard-training_acc.json",
            "1c8b7dfe4ed375843db5cdad99aa24df99f5aa377780ccdcb259007ab6317ed2",
            "standard",
            _NATURAL,
        ),
    )
}


def load(
    source: str | os.PathLike[str] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    url: str | None = None,
) -> Benchmark:
    """Open a release.

    Parameters
    ----------
    source : str or path
        The name of a release (``"digits"``, ``"nas-robbench-201"``, ``"standard-training"``), a repository of the
        Hugging Face Hub (``"hub:owner/name"`` or ``"hub:owner/name@revision"``), or a runs table: a Parquet file or a
        folder that holds ``runs.parquet`` or a folder ``runs`` of shards. Default: ``"digits"``, which is part of the
        package.
    path : path, optional
        With the name of a published release: a copy of its file, used in place of the download and checked just the
        same. Alone: a runs table, as `source`.
    url : str, optional
        With the name of a published release: another address of the same file. The hash is checked all the same.

    Returns
    -------
    Benchmark
        The first call downloads and converts a published release (about five seconds for nas-robbench-201); later
        calls, in this or another process, open the table on the disk in milliseconds.

    Raises
    ------
    UnknownNameError
        If `source` names neither a release nor a file.
    DownloadError
        If the download failed or has the wrong hash (of a repository: not that of its ``manifest.json``, where it has
        one). Nothing is kept then.
    MissingDataError
        If the network is needed and forbidden, or a file is missing.
    TableError, SourceFormatError
        If a table or a published file cannot be read.
    """
    from .benchmark import Benchmark

    return Benchmark(locate(source, path=path, url=url))


def locate(
    source: str | os.PathLike[str] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    url: str | None = None,
) -> Path:
    """Return the runs table that `load` opens; parameters and errors are the same."""
    if source is None and path is not None:
        return _runs_in(Path(path))
    if source is None or source == BUNDLED:
        return _bundled(path, url)
    if isinstance(source, str) and source in RELEASES:
        return fetch(RELEASES[source], path=path, url=url)
    if path is not None or url is not None:
        raise UnknownNameError("release", source, release_names())
    if isinstance(source, str) and source.startswith("hub:"):
        from . import hub

        return hub.download_table(source, home() / "hub", forbidden_by=OFFLINE_VARIABLE if is_offline() else None)
    if not isinstance(source, (str, os.PathLike)):
        raise InvalidValueError("source", source, "the name of a release or the path of a table")
    if Path(source).exists():
        return _runs_in(Path(source))
    if isinstance(source, os.PathLike) or os.sep in source or source.endswith(".parquet"):
        raise MissingDataError(f"no file or folder {os.fspath(source)}", "check the path")
    raise UnknownNameError("release", source, release_names())


def release_names() -> tuple[str, ...]:
    """Return the names of all releases that `load` knows."""
    return (BUNDLED, *RELEASES)


def release_with(dataset: str) -> str | None:
    """Return the name of the first release that has a data set, or None."""
    if dataset == BUNDLED:  # the release is called after its only data set
        return BUNDLED
    return next((release.name for release in RELEASES.values() if dataset in release.datasets), None)


def _bundled(path: object, url: object) -> Path:
    """Return the runs table in the package; ``curves.parquet`` and ``outcomes.parquet`` are beside it."""
    for name, given in (("path", path), ("url", url)):
        if given is not None:
            raise InvalidValueError(name, given, f"None: {BUNDLED} is part of the package")
    if not _BUNDLED_RUNS.is_file():
        remedy = "in a clone of the repository, python generation/make_digits.py makes it"
        raise MissingDataError(f"this copy of the package has no table {_BUNDLED_RUNS}", remedy)
    return _BUNDLED_RUNS


def home() -> Path:
    """Return the folder of downloads and converted releases; ``NASBENCH_ROBUST_HOME`` names another one."""
    named = os.environ.get(HOME_VARIABLE)
    if named:
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("nasbench-robust"))


def fetch(release: Release, *, path: str | os.PathLike[str] | None = None, url: str | None = None) -> Path:
    """Return the runs table of a published release on this disk, after downloading and converting it if need be.

    Parameters and errors are those of `load`.
    """
    folder = home() / "releases" / release.name / f"{release.sha256[:8]}-{_CONVERSION}"
    table = folder / "runs.parquet"
    if path is not None:
        _check_copy(Path(path), release)
    if _is_readable(table):
        return table
    published = Path(path) if path is not None else _download(release, url or release.url)
    _convert(published, release, folder)
    return table


def _is_readable(table: Path) -> bool:
    from .parquet import Reader

    try:
        Reader(table).info()
        if _sha256(table) != table.with_suffix(".sha256").read_text():
            raise TableError(table, "damaged: not what was written")
    except FileNotFoundError:
        return False
    except TableError as error:
        log.warning("%s; converting the published file again", error)
        return False
    return True


def _convert(published: Path, release: Release, folder: Path) -> None:
    from .importers import IMPORTERS
    from .parquet import Reader, write_table
    from .tables import cells_table

    log.info("converting %s", published)
    importer: Callable[[Path], pa.Table] = IMPORTERS[release.importer]
    runs = importer(published)
    # The runs come last: their presence says that the folder is complete.
    write_table(cells_table(Reader(runs).info()), folder / "cells.parquet")
    write_table(runs, folder / "runs.parquet")
    (folder / "runs.sha256").write_text(_sha256(folder / "runs.parquet"))


def _check_copy(path: Path, release: Release) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise MissingDataError(f"cannot read {path} ({error.strerror})", "check the path") from None
    if found != release.sha256:
        raise DownloadError(
            str(path),
            f"its SHA-256 is {found}, that of {release.name} is {release.sha256}; "
            f"for another version of the file use: nasbench-robust import {release.importer} {path} --out FOLDER",
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_offline() -> bool:
    """Return whether the environment forbids the network."""
    return os.environ.get(OFFLINE_VARIABLE, "").strip().lower() not in ("", "0", "false", "no")


def _download(release: Release, url: str) -> Path:
    """Download into the cache, in a few attempts; a copy that is there with the right hash is not asked for again."""
    import pooch
    import requests

    folder = home() / "downloads"
    target = folder / f"{release.sha256[:8]}-{release.filename}"
    if target.exists() and _sha256(target) == release.sha256:
        return target
    if is_offline():
        remedy = f"unset {OFFLINE_VARIABLE}, or pass a copy of {url} with path= or --path"
        raise MissingDataError(f"{release.name} is not on this machine and {OFFLINE_VARIABLE} is set", remedy)
    pooch.get_logger().setLevel("WARNING")
    problem = ""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            log.info("downloading %s (attempt %d of %d)", url, attempt, _ATTEMPTS)
            pooch.retrieve(
                url,
                known_hash=f"sha256:{release.sha256}",
                fname=target.name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_SECONDS),
            )
            return target
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code
            problem = f"the server answered {status} {error.response.reason}"
            if 400 <= status < 500:
                break
        except requests.exceptions.RequestException as error:
            problem = f"the connection failed ({type(error).__name__})"
        except ValueError:  # pooch: wrong hash, or an address that it cannot read
            problem = f"its content does not have the SHA-256 {release.sha256}"
        except OSError as error:
            problem = f"could not be stored in {folder} ({error.strerror or error})"
            break
    raise DownloadError(url, f"{problem}; nothing was kept. A copy from elsewhere can be passed with path= or --path")


def _runs_in(path: Path) -> Path:
    """Return the runs table that `path` is or holds."""
    if not path.is_dir():
        return path
    for child in (path / "runs.parquet", path / "runs"):
        if child.exists():
            return child
    return path


def fetch_from_hub(source: str, *patterns: str) -> Path:
    """Download files of a data set repository into the cache; parameters and errors are those of `hub.download`."""
    from . import hub

    return hub.download(source, patterns, home() / "hub", forbidden_by=OFFLINE_VARIABLE if is_offline() else None)
