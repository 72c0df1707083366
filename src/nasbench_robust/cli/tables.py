"""Commands that ask a table: query, info, best, pareto, export, validate."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidValueError
from ..registry import BUNDLED
from .command import Command

if TYPE_CHECKING:
    import pandas as pd

    from ..table import Benchmark


FORMS = ("csv", "parquet", "json")
_TO_QUOTE = re.compile('[,"\r\n]')


def _add_release(parser: argparse.ArgumentParser) -> None:
    text = "name of a release, path of a table, or hub:owner/name"
    parser.add_argument("-r", "--release", default=BUNDLED, help=f"{text} (default: {BUNDLED})")


def _add_metric(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--dataset", help="not needed where the release has one")
    parser.add_argument(
        "-m", "--metric", required=True, help="clean_acc, fgsm_acc, pgd_acc, autoattack_acc, pgd_acc@3/255"
    )
    parser.add_argument("--eps", help="budget of the attack, as 8/255 or 0.1; default: the data set's own")


def _add_split(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", help="test (default) or validation")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _load(args: argparse.Namespace) -> Benchmark:
    from ..releases import load

    return load(args.release)


def _query_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arch", help="index (0 to 15624) or NAS-Bench-201 string of the cell")
    _add_release(parser)
    _add_metric(parser)
    parser.add_argument("--seed", type=int, help="one training run; default: the mean over all there are")
    _add_split(parser)
    _add_json(parser)


def _query(args: argparse.Namespace) -> int:
    from ..cells import index_or_string

    bench, arch = _load(args), index_or_string(args.arch)
    ask: Callable[..., Any] = bench.lookup if args.json else bench.query
    answer = ask(arch, args.dataset, args.metric, eps=args.eps, seed=args.seed, split=args.split)
    print(json.dumps(_fields(answer)) if args.json else answer)
    return 0


def _fields(record: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(record)


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    _add_release(parser)
    _add_json(parser)


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


def _best_arguments(parser: argparse.ArgumentParser) -> None:
    _add_release(parser)
    _add_metric(parser)
    parser.add_argument("-k", type=int, default=10, help="how many (default: 10)")
    _add_view(parser)
    _add_split(parser)
    _add_json(parser)


def _best(args: argparse.Namespace) -> int:
    metric = f"{args.metric}#{args.split}" if args.split else args.metric
    from ..table import frames

    store = _store(args)
    best = frames.best(store, args.dataset, metric, args.k, args.eps, args.cells)
    return _print_cells(frames.chosen(store, best), 1, args.json)


def _store(args: argparse.Namespace) -> Any:
    """Return what the data frames of a release are made of; importing pandas takes longer than all else together."""
    return _load(args)._store


def _print_cells(columns: dict[str, Any], metrics: int, as_json: bool) -> int:
    """Print cells with their last columns, the metrics."""
    lists = _lists(columns)
    if as_json:
        print(json.dumps(_rows(lists)))
    else:
        print(_aligned({name: lists[name] for name in ("index", *list(lists)[-metrics:], "parameters", "arch")}))
    return 0


def _lists(columns: dict[str, Any]) -> dict[str, list[Any]]:
    """Return columns as plain values; None where there is none."""
    lists = {name: column.tolist() for name, column in columns.items()}
    for name, column in columns.items():
        if getattr(column, "dtype", None) == "float64" and (column != column).any():
            lists[name] = [None if value != value else value for value in lists[name]]
    return lists


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return rows as JSON takes them, with every digit."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _aligned(columns: dict[str, list[Any]]) -> str:
    """Return columns as a table of text, floats with up to six decimals."""
    texts = []
    for name, values in columns.items():
        column = [f"{value:.6f}" if isinstance(value, float) else str(value) for value in values]
        while column and all(re.fullmatch(r"-?\d+\.\d+0", text) for text in column):  # zeros that all of them end in
            column = [text[:-1] for text in column]
        column.insert(0, name if name == "arch" else f" {name}")
        width = max(map(len, column))
        texts.append([text.rjust(width) for text in column])
    return "\n".join(map(" ".join, zip(*texts, strict=True)))


def _pareto_arguments(parser: argparse.ArgumentParser) -> None:
    _add_release(parser)
    parser.add_argument("-d", "--dataset", help="not needed where the release has one")
    default = "clean_acc,pgd_acc"
    parser.add_argument(
        "-m", "--metrics", default=default, help=f"two or more, separated by commas (default: {default})"
    )
    _add_json(parser)


def _pareto(args: argparse.Namespace) -> int:
    metrics = args.metrics.split(",")
    from ..table import frames

    store = _store(args)
    return _print_cells(frames.chosen(store, frames.pareto(store, args.dataset, metrics)), len(metrics), args.json)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    _add_release(parser)
    parser.add_argument("-d", "--dataset", help="only this data set")
    parser.add_argument("-m", "--metrics", help="only these metrics, separated by commas")
    _add_view(parser)
    parser.add_argument("--format", choices=FORMS, help="default: by the ending of --out, else csv")
    parser.add_argument(
        "--out", help="file to write, .csv, .json or .parquet; .gz, .bz2 or .xz behind it; default: standard output"
    )


def _add_view(parser: argparse.ArgumentParser) -> None:
    text = "representatives (default), connected, smallest (the smallest member of each class) or all"
    parser.add_argument("--cells", default="representatives", help=text)


def _export(args: argparse.Namespace) -> int:
    metrics = args.metrics.split(",") if args.metrics else None
    form, compress = _form(args)
    if form == "parquet":
        _export_parquet(_load(args).frame(args.dataset, metrics, args.cells), args.out)
        return 0
    from ..table import frames

    columns = _lists(frames.everything(_store(args), args.dataset, metrics, args.cells))
    text = _csv(columns) if form == "csv" else json.dumps(_rows(columns)) + "\n"
    if args.out is None:
        sys.stdout.write(text)
    else:
        from ..files import write_output

        write_output(compress(text.encode()), Path(args.out))
    return 0


def _csv(columns: dict[str, list[Any]]) -> str:
    """Return columns as CSV; what a column has many times, as cells of one class do, is written out once."""
    texts = [[_quoted([name])[0], *_fields_of(values)] for name, values in columns.items()]
    return "\n".join(map(",".join, zip(*texts, strict=True))) + "\n"


def _fields_of(values: list[Any]) -> Iterable[str]:
    """Return the values of a column, which are of one type or None, as fields of CSV."""
    different = list(dict.fromkeys(values))
    texts = ["" if value is None else str(value) for value in different]
    if any(isinstance(value, str) for value in different[:2]):  # of two different ones, one is not None
        texts = _quoted(texts)
    return texts if len(texts) == len(values) else map(dict(zip(different, texts, strict=True)).__getitem__, values)


def _quoted(texts: list[str]) -> list[str]:
    """Return texts, in quotation marks where CSV wants them."""
    if not _TO_QUOTE.search(" ".join(texts)):
        return texts
    return ['"{}"'.format(text.replace('"', '""')) if _TO_QUOTE.search(text) else text for text in texts]


def _form(args: argparse.Namespace) -> tuple[str, Callable[[bytes], bytes]]:
    """Return the format that ``--format`` or the ending of ``--out`` names, and what compresses the file."""
    import bz2
    import gzip
    import lzma

    compressions: dict[str, Callable[[bytes], bytes]] = {
        ".gz": partial(gzip.compress, mtime=0),
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    endings = [ending.lower() for ending in Path(args.out or "").suffixes[-2:]]
    compress = compressions.get(endings.pop()) if endings and endings[-1] in compressions else None
    ending = endings[-1][1:] if endings else ""
    form = args.format or ending or "csv"
    if form not in FORMS or (form != ending and ending in FORMS) or (compress and form == "parquet"):
        wanted = [f".{each}" for each in ([args.format] if args.format else FORMS)]
        wanted += [each + packed for each in wanted if each != ".parquet" for packed in compressions]
        expected = f"a name that ends in {' or '.join(wanted)}{' as --format says' if args.format else ''}"
        raise InvalidValueError("--out", args.out, expected)
    return form, compress or bytes


def _export_parquet(frame: pd.DataFrame, out: str | None) -> None:
    import pyarrow as pa

    from ..files import is_stream
    from ..table import write_table

    if out is None:
        raise InvalidValueError("--out", None, "a file to write Parquet to")
    if is_stream(Path(out)):
        raise InvalidValueError("--out", out, "a file: Parquet is not written to a pipe")
    write_table(pa.Table.from_pandas(frame, preserve_index=False), os.path.realpath(out))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON takes them, with every digit; None where there is no value."""
    filled = frame.astype(object).where(frame.notna(), None)
    return [dict(zip(filled.columns, row, strict=True)) for row in filled.itertuples(index=False)]


def _validate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", help="a runs table, a folder, or the name of a release")
    _add_json(parser)


def _validate(args: argparse.Namespace) -> int:
    from ..releases import locate
    from ..table import validate

    findings = validate(locate(args.table))
    if args.json:
        print(json.dumps([_fields(finding) for finding in findings]))
    else:
        for finding in findings:
            print(finding)
        errors = sum(finding.severity == "error" for finding in findings)
        print(f"{errors} error(s), {len(findings) - errors} warning(s)")
    return int(any(finding.severity == "error" for finding in findings))


COMMANDS = (
    Command("query", "one accuracy, with its seeds and settings as --json", _query_arguments, _query),
    Command("info", "what a release holds", _info_arguments, _info),
    Command("best", "the best cells by one metric", _best_arguments, _best),
    Command("pareto", "the cells that no other beats in all of several metrics", _pareto_arguments, _pareto),
    Command("export", "write a release as csv, parquet or json, one row per cell", _export_arguments, _export),
    Command("validate", "look for errors in a table; exit code 1 if there are any", _validate_arguments, _validate),
)
