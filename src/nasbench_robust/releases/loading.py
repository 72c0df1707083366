"""From the name of a release to a verified table on this disk: `load`.

``digits`` is part of the package: it is opened where it lies, and nothing is asked for. Published files are downloaded
once, checked against a SHA-256 that stands here, converted to Parquet and kept under ``NASBENCH_ROBUST_HOME`` (by
default the platform's cache folder). Everything works offline afterwards; ``NASBENCH_ROBUST_OFFLINE=1`` forbids the
network altogether. A download appears whole or not at all. The numbers of releases that have a name are unpacked once,
so that the next process answers without pyarrow; the table is checked against its hash all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import (
    DownloadError,
    InvalidValueError,
    MissingDataError,
    NasbenchRobustError,
    UnknownNameError,
)
from ..registry import BUNDLED, EARLIER, RELEASES, Release, release_names

if TYPE_CHECKING:
    import logging

    import pyarrow as pa

    from ..table import Benchmark

_DATA = Path(__file__).parents[1] / "data"
_CONVERSION = 2  # to be raised whenever an importer makes another table of the same file


def load(
    source: str | os.PathLike[str] | None = None, *, path: str | os.PathLike[str] | None = None, url: str | None = None
) -> Benchmark:
    """Open a release.

    Parameters
    ----------
    source : str or path
        The name of a release (``"digits"``, ``"nas-robbench-201"``, ``"standard-training"``), a repository of the
        Hugging Face Hub (``"hub:owner/name"`` or ``"hub:owner/name@revision"``), or a runs table: a Parquet file or a
        folder that holds ``runs.parquet`` or a folder ``runs``. Default: ``"digits"``, which is part of the
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
    UnreadableError
        If a file cannot be read now.
    TableError, SourceFormatError
        If a table or a published file is damaged, or is none.
    """
    from ..table import Benchmark, unpack

    table = locate(source, path=path, url=url)
    if table.parent.parent == _DATA or (isinstance(source, str) and source in RELEASES):
        digest, commit = files.checked(table)  # one that was converted has no manifest, and was looked at by `fetch`
        return Benchmark(unpack(table, digest or files.checksum(table), commit))
    if table.parent.parent.name != files.COMMITS:
        return Benchmark(table)
    return files.read_steadily(table.parents[2], lambda: Benchmark(locate(source, path=path, url=url)))


def locate(
    source: str | os.PathLike[str] | None = None, *, path: str | os.PathLike[str] | None = None, url: str | None = None
) -> Path:
    """Return the runs table that `load` opens; parameters and errors are the same."""
    if source is None and path is not None:
        return _runs_in(files.as_path(path))
    if source is None or (isinstance(source, str) and source in (BUNDLED, *EARLIER)):
        return _bundled(str(source or BUNDLED), path, url)
    if isinstance(source, str) and source in RELEASES:
        return fetch(RELEASES[source], path=path, url=url)
    if path is not None or url is not None:
        raise UnknownNameError("release", source, release_names())
    if isinstance(source, str) and source.startswith("hub:"):
        from ..files import hub

        return hub.download_table(source)
    if not isinstance(source, (str, os.PathLike)) or source == "":
        raise InvalidValueError("source", source, "the name of a release or the path of a table")
    if files.is_there(there := files.as_path(source, "source")):
        return _runs_in(there)
    if isinstance(source, os.PathLike) or os.sep in source or source.endswith(".parquet"):
        raise MissingDataError(f"no file or folder {os.fspath(source)}", "check the path")
    raise UnknownNameError("release", source, release_names())


def _bundled(release: str, path: object, url: object) -> Path:
    """Return a runs table in the package; ``curves.parquet`` and ``outcomes.parquet`` are beside the newest."""
    for name, argument in (("path", path), ("url", url)):
        if argument is not None:
            raise InvalidValueError(name, argument, f"None: {release} is part of the package")
    table = _DATA / release / "runs.parquet"
    if not files.is_there(table):
        remedy = "in a clone of the repository, python generation/make_digits.py makes it"
        raise MissingDataError(f"this copy of the package has no table {table}", remedy)
    return table


def fetch(release: Release, *, path: str | os.PathLike[str] | None = None, url: str | None = None) -> Path:
    """Return the runs table of a published release on this disk, after downloading and converting it if need be.

    Parameters and errors are those of `load`.
    """
    table = _converted(release)
    if path is not None:
        _check_copy(files.as_path(path), release)
    if (problem := _problem(table)) is None:
        return table
    published = _published(release, url, problem) if path is None else files.as_path(path)
    if problem:
        _log().warning("%s; converting the published file again", problem)
    try:
        _convert(published, release, table.parent)
    except OSError as error:
        if isinstance(error, NasbenchRobustError):
            raise
        unstored = f"{release.name} could not be stored in {table.parent} ({error.strerror or error})"
        raise MissingDataError(
            unstored, f"let {files.HOME_VARIABLE} name a folder with room that can be written to"
        ) from None
    return table


def _published(release: Release, url: str | None, problem: str) -> Path:
    """Return the published file, downloaded if need be; `problem` is why what was made of it is of no use, if it is."""
    filename, title = f"{release.sha256[:8]}-{release.filename}", f"the published file of {release.name}"
    try:
        return files.download(url or release.url, release.sha256, filename, title, release.size)
    except MissingDataError as error:
        if not problem:
            raise
        raise MissingDataError(f"{problem}, and {error.what}", error.remedy) from None


def is_here(release: Release) -> bool:
    """Return whether a published release is on this disk, so that `load` needs no network."""
    return _problem(_converted(release)) is None


def _converted(release: Release) -> Path:
    return files.home() / "releases" / release.name / f"{release.sha256[:8]}-{_CONVERSION}" / "runs.parquet"


def _log() -> logging.Logger:
    import logging  # which takes a tenth of a first query

    return logging.getLogger(__name__)


def _problem(table: Path) -> str | None:
    """Return what is wrong with a converted table, nothing where there is none, None where it can be used."""
    if not files.is_there(table):
        return ""
    hash_file = table.with_suffix(".sha256")
    try:
        agree = files.checksum(table).encode() == files.read_bytes(hash_file)
    except FileNotFoundError:
        return f"{table} has no {hash_file.name} beside it"
    return None if agree else f"{table} and {hash_file.name} beside it do not agree: one of them is damaged"


def _convert(published: Path, release: Release, folder: Path) -> None:
    from ..table import Reader, cells_table, write_table
    from .importers import IMPORTERS

    files.sweep_unfinished(folder)
    _log().info("converting %s", published)
    importer: Callable[[Path], pa.Table] = IMPORTERS[release.importer]
    runs = importer(published)
    # The hash of the runs comes last: its presence says that the folder is complete.
    write_table(cells_table(Reader(runs).info()), folder / "cells.parquet")
    write_table(runs, folder / "runs.parquet")
    files.write_bytes(files.checksum(folder / "runs.parquet").encode(), folder / "runs.sha256")


def _check_copy(path: Path, release: Release) -> None:
    if not files.is_file(path):
        raise MissingDataError(f"cannot read {path} (there is no such file)", "check the path")
    digest = files.checksum(path)
    if digest != release.sha256:
        raise DownloadError(
            str(path),
            f"its SHA-256 is {digest}, that of {release.name} is {release.sha256}; "
            f"for another version of the file use: nasbench-robust import {release.importer} {path} --out FOLDER",
        )


def _runs_in(path: Path) -> Path:
    """Return the runs table that `path` is or holds; of a folder in which one is being made, the folder."""
    from ..table import is_run_folder

    if not files.is_folder(path) or is_run_folder(path):
        return path
    if (state := files.latest(path)) is not None:
        return state.folder / "runs.parquet"
    return path / "runs.parquet" if files.is_there(path / "runs.parquet") else path
