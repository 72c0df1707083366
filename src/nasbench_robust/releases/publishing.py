"""From a release on this disk to one that others can load: `publish` writes card and manifest, `upload` sends it.

Nothing here depends on the time or on the machine: the same release gives the same bytes.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..arrays import Record
from ..errors import InvalidValueError, MissingDataError, NasbenchRobustError, RefusedError, UnreadableError
from ..files import MANIFEST, as_path, commit, expose, hub, is_there, latest, read_bytes
from ..table import (
    CURVES_SCHEMA,
    FORMAT,
    OUTCOMES_SCHEMA,
    Benchmark,
    Finding,
    Reader,
    ReleaseInfo,
    cells_table,
    is_run_folder,
    may_lack,
    read_table,
    runs_schema,
    validate,
    write_table,
)
from . import cards

CARD = "README.md"
UNPUBLISHED = "unpublished"
_OPTIONAL = {"curves": CURVES_SCHEMA, "outcomes": OUTCOMES_SCHEMA}


@dataclass(frozen=True, repr=False)
class Publication(Record):
    """A release that was written for others.

    Attributes
    ----------
    folder : Path
        Where it is.
    info : ReleaseInfo
        Its description.
    files : tuple of str
        Names of its files, the manifest last.
    findings : tuple of Finding
        What validation noticed.
    """

    folder: Path
    info: ReleaseInfo
    files: tuple[str, ...]
    findings: tuple[Finding, ...]


def publish(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    repository: str | None = None,
    name: str | None = None,
    version: str | None = None,
    licence: str | None = None,
    force: bool = False,
) -> Publication:
    """Check a release and write it with a dataset card (``README.md``) and ``manifest.json``.

    Parameters
    ----------
    folder : path
        A release as `collecting.collect` writes it: ``runs.parquet``, and ``cells.parquet``, ``curves.parquet`` and
        ``outcomes.parquet`` where there are such tables. Cells are added if they are not there.
    out : path, optional
        Folder to write to; default: `folder` itself.
    repository : str, optional
        ``owner/name`` of the repository that the card says the release is loaded from. Nothing is sent: see `upload`.
    name, version, licence : str, optional
        Replace what the release says about itself.
    force : bool
        Publish in spite of errors, which the card then lists, and replace a README.md of another origin.

    Raises
    ------
    MissingDataError
        If there is no ``runs.parquet``.
    RefusedError
        If validation finds errors.
    UnreadableError
        If a file cannot be read now.
    TableError
        If a table is damaged.
    InvalidValueError
        If `repository` is malformed, a replacement is empty, or a README.md of another origin is in the way.
    """
    source = as_path(folder, "folder")
    target = source if out is None else as_path(out, "out")
    if repository is not None:
        hub.check_repository(repository)
    if target != source and is_run_folder(target):
        raise InvalidValueError("out", str(target), "another folder than one of runs, which would be replaced")
    before, state = latest(target), latest(source)
    tables = source if state is None else state.folder
    if not is_there(tables / "runs.parquet") or is_run_folder(source):
        raise MissingDataError(f"no runs.parquet in {source}", "collect the runs first: nasbench-robust collect")
    if not force and is_there(target / CARD) and cards.MARK.encode() not in read_bytes(target / CARD):
        expected = f"a folder without a {CARD} of another origin (or force it to be replaced)"
        raise InvalidValueError("out", str(target), expected)
    findings = _check(tables)
    if not force and any(finding.severity == "error" for finding in findings):
        raise RefusedError(source, findings)
    described = _described(Reader(tables / "runs.parquet").info(), name=name, version=version, licence=licence)
    order: list[str] = []

    def write(folder: Path) -> dict[str, Any]:
        rows = _write_tables(tables, folder, described)
        runs = read_table(folder / "runs.parquet")
        rows = {**_write_plain(runs, folder / "table.parquet"), **rows}
        text = cards.card(described, runs, rows, findings, repository or "owner/name")
        (folder / CARD).write_text(text, encoding="utf-8")
        order[:] = (CARD, *(f"{table}.parquet" for table in rows), MANIFEST)
        return {"name": described.name, "version": described.version, "format": FORMAT}

    if commit(target, write, before) is None:  # others were faster, perhaps with other tables
        return publish(folder, out, repository=repository, name=name, version=version, licence=licence, force=force)
    expose(target)
    return Publication(target, described, tuple(order), tuple(findings))


def upload(publication: Publication, repository: str, *, force: bool = False) -> str:
    """Send a publication to a data set repository of the Hugging Face Hub as one commit and return the commit's hash.

    The repository is made if it is not there. The hub's client finds the token (``HF_TOKEN`` or ``hf auth login``).

    Raises
    ------
    InvalidValueError
        If `repository` is malformed, or the release has no licence and `force` is not set.
    UploadError
        If the hub does not take it, or the network is forbidden.
    MissingPackageError
        If huggingface_hub is not installed.
    """
    if publication.info.licence == UNPUBLISHED and not force:
        raise InvalidValueError("licence", UNPUBLISHED, "the licence under which others may use the table", "CC BY 4.0")
    message = f"{publication.info.name} {publication.info.version}"
    return hub.upload(publication.folder, publication.files, repository, message)


def _write_plain(runs: pa.Table, path: Path) -> dict[str, int]:
    """Write a row per data set and cell under plain names, as most readers want it; return its number of rows.

    A table with errors, published in spite of them, may have no such answers.
    """
    try:
        frame = Benchmark(runs).frame()
    except NasbenchRobustError:
        path.unlink(missing_ok=True)
        return {}
    measured = [column for column in frame.columns if column.partition("@")[0].partition("#")[0].endswith("_acc")]
    frame = frame.dropna(how="all", subset=measured)
    plain = pa.Table.from_pandas(frame.rename(columns=cards.plain_name), preserve_index=False)
    write_table(plain.replace_schema_metadata(None), path)
    return {"table": plain.num_rows}


def _described(info: ReleaseInfo, **renamed: str | None) -> ReleaseInfo:
    changes: dict[str, Any] = {name: value for name, value in renamed.items() if value is not None}
    for name, value in changes.items():
        if not value.strip():
            raise InvalidValueError(name, value, "some text")
    if "name" in changes and not re.fullmatch(r"[\w.-]+", changes["name"]):
        hint = re.sub(r"[^\w.-]+", "-", changes["name"])
        raise InvalidValueError("name", changes["name"], "letters, digits, '.', '_' and '-'", hint)
    return replace(info, **changes)


def _check(folder: Path) -> list[Finding]:
    """Validate the runs, and that the other tables are tables of the same runs."""
    findings = validate(folder / "runs.parquet")
    if any(finding.kind in ("unreadable", "schema") for finding in findings):
        return findings
    runs = Reader(folder / "runs.parquet")
    known = _keys(runs)
    for name, schema in _OPTIONAL.items():
        if is_there(folder / f"{name}.parquet"):
            findings.extend(_check_beside(folder / f"{name}.parquet", schema, known))
    if is_there(folder / "cells.parquet"):
        findings.extend(_check_cells(folder / "cells.parquet", runs.info()))
    return findings


def _keys(reader: Reader) -> set[tuple[str, str, int, int | None]]:
    table = reader.read(["release", "dataset", "index", "seed"])
    return set(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _check_beside(path: Path, schema: pa.Schema, known: set[tuple[str, str, int, int | None]]) -> Iterator[Finding]:
    try:
        reader = Reader(path)
        reader.read()
        if not reader.schema.remove_metadata().equals(_like(reader.schema, schema)):
            yield Finding("schema", "error", f"the columns of {path.name} are not those of the format")
            return
        strangers = _keys(reader) - known
    except UnreadableError:
        raise
    except NasbenchRobustError as error:
        yield Finding("unreadable", "error", str(error))
        return
    if strangers:
        indices = tuple(sorted({key[2] for key in strangers}))
        yield Finding("missing", "error", f"{path.name} has runs that runs.parquet has not", indices=indices)


def _like(stored: pa.Schema, expected: pa.Schema) -> pa.Schema:
    """Return the expected schema with strings encoded as the reader encodes them, but for what is of a later format."""
    expected = pa.schema(field for field in expected if field.name in stored.names or not may_lack(field.name, 1))
    if stored.get_field_index("dataset") < 0:
        return expected
    return expected.set(expected.get_field_index("dataset"), stored.field("dataset").with_nullable(False))


def _check_cells(path: Path, info: ReleaseInfo) -> Iterator[Finding]:
    try:
        stored = read_table(path)
    except UnreadableError:
        raise
    except NasbenchRobustError as error:
        yield Finding("unreadable", "error", str(error))
        return
    if not stored.replace_schema_metadata(None).equals(cells_table(info)):
        yield Finding("cell", "error", f"{path.name} is not the table of cells of this release's networks")


def _write_tables(source: Path, target: Path, described: ReleaseInfo) -> dict[str, int]:
    """Write or copy the tables and return their numbers of rows in the order of the card."""
    info, rows = Reader(source / "runs.parquet").info(), {}
    for name in ("runs", "cells", "curves", "outcomes"):
        path = source / f"{name}.parquet"
        if name == "cells" and not is_there(path):
            write_table(cells_table(described), target / path.name)
        elif not is_there(path):
            continue
        elif described == info or name == "cells":
            shutil.copyfile(path, target / path.name)
        else:
            _write_renamed(name, path, target / path.name, described)
        rows[name] = read_table(target / path.name).num_rows
    return rows


def _write_renamed(name: str, path: Path, target: Path, described: ReleaseInfo) -> None:
    """Write a table under the release's new description."""
    schema = runs_schema(described) if name == "runs" else _OPTIONAL[name]
    table = read_table(path)
    for column in schema:
        if column.name not in table.column_names:  # of an older format
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    table = table.select(schema.names)
    names = pa.array([described.name] * table.num_rows, pa.string())
    table = table.set_column(table.schema.get_field_index("release"), schema.field("release"), names)
    write_table(table.cast(schema), target)
