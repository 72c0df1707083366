"""The command line: ``nasbench-robust COMMAND``. Exit code 0: done; 1: validation found errors; 2: the input was wrong.

Only what a command needs is imported inside it, so that ``--help`` is instant.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidValueError, NasbenchRobustError
from .files import write_bytes
from .registry import BUNDLED
from .version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from .table import Benchmark

DEFAULT_RELEASE = BUNDLED
DEFAULT_DOWNLOAD = "nas-robbench-201"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("nasbench_robust").setLevel(logging.WARNING if args.quiet else logging.INFO)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        code = command(args)
        sys.stdout.flush()
        return code
    except NasbenchRobustError as error:
        print(f"nasbench-robust: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, head for example, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = error.filename2 or error.filename or "output"  # of a rename, the second is what the user named
        print(f"nasbench-robust: {place}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nasbench-robust",
        description="Query, inspect and convert tables of adversarially trained NAS-Bench-201 cells.",
        epilog="example: nasbench-robust query 9930 --metric pgd_acc",
    )
    parser.add_argument("--version", action="version", version=f"nasbench-robust {__version__}")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing about downloads and conversions")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    query = _add(commands, "query", _query, "one accuracy, with its seeds and settings as --json")
    query.add_argument("arch", help="index (0 to 15624) or NAS-Bench-201 string of the cell")
    _add_release(query)
    _add_metric(query)
    query.add_argument("--seed", type=int, help="one training run; default: the mean over all there are")
    query.add_argument("--split", default="test", help="test (default) or validation")
    _add_json(query)

    info = _add(commands, "info", _info, "what a release holds")
    _add_release(info)
    _add_json(info)

    best = _add(commands, "best", _best, "the best cells by one metric")
    _add_release(best)
    _add_metric(best)
    best.add_argument("-k", type=int, default=10, help="how many (default: 10)")
    _add_json(best)

    download = _add(commands, "download", _download, "fetch and convert a published release, for use offline")
    download.add_argument("release", nargs="?", default=DEFAULT_DOWNLOAD, help=f"default: {DEFAULT_DOWNLOAD}")
    download.add_argument("--url", help="another address of the same file; the hash is checked all the same")
    download.add_argument("--path", help="a local copy of the file, instead of the network")

    importing = _add(commands, "import", _import, "convert a foreign result file to a table")
    importing.add_argument("format", choices=("page", "seeds", "standard"), help="what kind of file (docs/query.md)")
    importing.add_argument("file", help="the file")
    importing.add_argument("--out", required=True, help="folder to write runs.parquet and cells.parquet to")

    export = _add(commands, "export", _export, "write a release as csv, parquet or json, one row per cell")
    _add_release(export)
    export.add_argument("-d", "--dataset", help="only this data set")
    export.add_argument("-m", "--metrics", help="only these metrics, separated by commas")
    export.add_argument("--cells", default="representatives", help="representatives (default), connected or all")
    export.add_argument(
        "--format", choices=("csv", "parquet", "json"), help="default: by the ending of --out, else csv"
    )
    export.add_argument("--out", help="file to write; default: standard output")

    validate = _add(commands, "validate", _validate, "look for errors in a table; exit code 1 if there are any")
    validate.add_argument("table", help="a runs table, a folder, or the name of a release")
    _add_json(validate)

    publish = _add(commands, "publish", _publish, "write card and manifest of a release, and upload it with --repo")
    publish.add_argument("folder", help="folder with runs.parquet, as generation/collect.py writes it")
    publish.add_argument("--repo", help="owner/name of a data set repository of the Hugging Face Hub; made if need be")
    publish.add_argument("--out", help="folder to write to; default: the folder itself")
    publish.add_argument("--name", help="name of the release; default: as it says itself")
    publish.add_argument("--release-version", help="version of the release; default: as it says itself")
    publish.add_argument(
        "--licence", help="licence of the release, for example 'CC BY 4.0'; default: as it says itself"
    )
    publish.add_argument("--force", action="store_true", help="publish in spite of errors; the card lists them")
    return parser


def _add(commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=function)
    return parser


def _add_release(parser: argparse.ArgumentParser) -> None:
    text = "name of a release, path of a table, or hub:owner/name"
    parser.add_argument("-r", "--release", default=DEFAULT_RELEASE, help=f"{text} (default: {DEFAULT_RELEASE})")


def _add_metric(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--dataset", help="not needed where the release has one")
    parser.add_argument(
        "-m", "--metric", required=True, help="clean_acc, fgsm_acc, pgd_acc, autoattack_acc, pgd_acc@3/255"
    )
    parser.add_argument("--eps", help="budget of the attack, as 8/255 or 0.1; default: the data set's own")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _load(args: argparse.Namespace) -> Benchmark:
    from .releases import load

    return load(args.release)


def _query(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    arch = int(args.arch) if re.fullmatch(r"\s*-?[0-9]{1,18}\s*", args.arch) else args.arch
    result = _load(args).lookup(arch, args.dataset, args.metric, eps=args.eps, seed=args.seed, split=args.split)
    print(json.dumps(asdict(result)) if args.json else result.value)
    return 0


def _info(args: argparse.Namespace) -> int:
    bench = _load(args)
    metrics = bench.metrics()
    if args.json:
        about = {"name": bench.name, "version": bench.version, "title": bench.info.title, "licence": bench.info.licence}
        about |= {"source": bench.info.source, "citation": bench.cite()}
        print(json.dumps({**about, "metrics": _records(metrics)}))
        return 0
    print(f"{bench.info.title}\nrelease {bench.name}, version {bench.version}, {bench.info.licence}")
    print(f"source {bench.info.source}\n")
    columns = ["dataset", "long_name", "split", "test_images", "steps", "seeds", "cells"]
    table = metrics[columns].astype(object)
    print(table.where(table.notna(), "-").rename(columns={"long_name": "metric"}).to_string(index=False))
    print(f"\n{bench.cite()}")
    return 0


def _best(args: argparse.Namespace) -> int:
    frame = _load(args).best(args.dataset, args.metric, args.k, eps=args.eps)
    if args.json:
        print(json.dumps(_records(frame)))
    else:
        print(frame[["index", frame.columns[-1], "parameters", "arch"]].to_string(index=False))
    return 0


def _download(args: argparse.Namespace) -> int:
    from .errors import UnknownNameError
    from .registry import release_names
    from .releases import locate

    if args.release not in release_names():
        raise UnknownNameError("release", args.release, release_names())
    print(locate(args.release, path=args.path, url=args.url))
    return 0


def _import(args: argparse.Namespace) -> int:
    from .releases import IMPORTERS
    from .table import Reader, cells_table, write_table

    out = Path(args.out)
    if (out / "runs.parquet").exists():
        raise InvalidValueError("--out", args.out, "a folder without runs.parquet: nothing is overwritten")
    runs = IMPORTERS[args.format](args.file)
    write_table(cells_table(Reader(runs).info()), out / "cells.parquet")
    write_table(runs, out / "runs.parquet")
    print(out / "runs.parquet")
    return 0


def _export(args: argparse.Namespace) -> int:
    metrics = args.metrics.split(",") if args.metrics else None
    ending = Path(args.out or "").suffix.lstrip(".")
    form = args.format or (ending if ending in ("csv", "parquet", "json") else "csv")
    frame = _load(args).frame(args.dataset, metrics, args.cells)
    if form == "parquet":
        _export_parquet(frame, args.out)
        return 0
    text = frame.to_csv(index=False, lineterminator="\n") if form == "csv" else json.dumps(_records(frame)) + "\n"
    if args.out is None:
        sys.stdout.write(text)
    else:
        write_bytes(text.encode(), Path(args.out))
    return 0


def _export_parquet(frame: pd.DataFrame, out: str | None) -> None:
    import pyarrow as pa

    from .table import write_table

    if out is None:
        raise InvalidValueError("--out", None, "a file to write Parquet to")
    write_table(pa.Table.from_pandas(frame, preserve_index=False), out)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON takes them, with every digit; None where there is no value."""
    filled = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(filled.columns, row, strict=True)) for row in filled.itertuples(index=False)]


def _validate(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from .releases import locate
    from .table import validate

    findings = validate(locate(args.table))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(finding)
        errors = sum(finding.severity == "error" for finding in findings)
        print(f"{errors} error(s), {len(findings) - errors} warning(s)")
    return int(any(finding.severity == "error" for finding in findings))


def _publish(args: argparse.Namespace) -> int:
    from .errors import RefusedError
    from .releases import publish, upload

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


if __name__ == "__main__":
    sys.exit(main())
