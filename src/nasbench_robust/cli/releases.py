"""Commands about whole releases: download, import, publish."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import InvalidValueError
from .command import Command

DEFAULT_DOWNLOAD = "nas-robbench-201"


def _download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", nargs="?", default=DEFAULT_DOWNLOAD, help=f"default: {DEFAULT_DOWNLOAD}")
    parser.add_argument("--url", help="another address of the same file; the hash is checked all the same")
    parser.add_argument("--path", help="a local copy of the file, instead of the network")


def _download(args: argparse.Namespace) -> int:
    from ..errors import UnknownNameError
    from ..registry import release_names
    from ..releases import locate

    if args.release not in release_names():
        raise UnknownNameError("release", args.release, release_names())
    print(locate(args.release, path=args.path, url=args.url))
    return 0


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("format", choices=("page", "seeds", "standard"), help="what kind of file (docs/query.md)")
    parser.add_argument("file", help="the file")
    parser.add_argument("--out", required=True, help="folder to write runs.parquet and cells.parquet to")


def _import(args: argparse.Namespace) -> int:
    from ..files import is_there
    from ..releases import IMPORTERS
    from ..table import Reader, cells_table, write_table

    out = Path(args.out)
    if is_there(out / "runs.parquet"):
        raise InvalidValueError("--out", args.out, "a folder without runs.parquet: nothing is overwritten")
    runs = IMPORTERS[args.format](args.file)
    write_table(cells_table(Reader(runs).info()), out / "cells.parquet")
    write_table(runs, out / "runs.parquet")
    print(out / "runs.parquet")
    return 0


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder with runs.parquet, as the command collect writes it")
    parser.add_argument("--repo", help="owner/name of a data set repository of the Hugging Face Hub; made if need be")
    parser.add_argument("--out", help="folder to write to; default: the folder itself")
    parser.add_argument("--name", help="name of the release; default: as it says itself")
    parser.add_argument("--release-version", help="version of the release; default: as it says itself")
    parser.add_argument("--licence", help="licence of the release, 'CC BY 4.0' say; default: as it says itself")
    parser.add_argument("--force", action="store_true", help="publish in spite of errors; the card lists them")


def _publish(args: argparse.Namespace) -> int:
    from ..errors import RefusedError
    from ..releases import publish, upload

    changes = {"name": args.name, "version": args.release_version, "licence": args.licence}
    try:
        publication = publish(args.folder, args.out, repository=args.repo, force=args.force, **changes)
    except RefusedError as error:
        for finding in error.findings:
            print(finding)
        print("nasbench-robust: not published; --force publishes in spite of the errors", file=sys.stderr)
        return 1
    for finding in publication.findings:
        print(finding)
    for name in publication.files:
        print(publication.folder / name)
    if args.repo is not None:
        commit = upload(publication, args.repo, force=args.force)
        print(f'commit {commit}\nnasbench_robust.load("hub:{args.repo}@{commit}")')
    return 0


def _releases(args: argparse.Namespace) -> int:
    from ..files import home
    from ..registry import BUNDLED, EARLIER, RELEASES

    kept = home() / "releases"
    rows = [(name, "digits", "part of the package") for name in (BUNDLED, *EARLIER)]
    for release in RELEASES.values():
        there = any((kept / release.name).glob(f"{release.sha256[:8]}-*/runs.parquet"))
        rows.append((release.name, ", ".join(release.datasets), "on this machine" if there else "to be downloaded"))
    if args.json:
        print(json.dumps([dict(zip(("name", "datasets", "where"), row, strict=True)) for row in rows]))
    else:
        for name, datasets, where in rows:
            print(f"{name:18} {where:20} {datasets}")
    return 0


def _releases_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


COMMANDS = (
    Command("releases", "which releases there are, and which are on this machine", _releases_arguments, _releases),
    Command("download", "fetch and convert a published release, for use offline", _download_arguments, _download),
    Command("import", "convert a foreign result file to a table", _import_arguments, _import),
    Command("publish", "write card and manifest of a release, and upload it with --repo", _publish_arguments, _publish),
)
