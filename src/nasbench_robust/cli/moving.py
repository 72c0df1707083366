"""Commands about tables as people move them: merge, split, compact, verify, repair."""

from __future__ import annotations

import argparse

from .command import Command, add_cells, add_seeds

_FOLDER = "a release, or a folder of runs"


def _merge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", help="folders of runs of the same settings, or releases")
    parser.add_argument("--out", required=True, help="the folder that they are put together in")


def _merge(args: argparse.Namespace) -> int:
    from ..runs import merge

    report = merge(args.folders, args.out)
    print(f"{report.runs} runs, {report.repeated} repeated, {len(report.quarantined)} files set aside -> {args.out}")
    return 0


def _split_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help=_FOLDER)
    parser.add_argument("--out", required=True, help="folder of the new release")
    parser.add_argument("--datasets", nargs="+", metavar="DATASET", help="data sets, as the release names them")
    add_cells(parser, None)
    add_seeds(parser, None, "default: all")


def _split(args: argparse.Namespace) -> int:
    from ..runs import parse_cells, split

    cells = None if args.cells is None else parse_cells(args.cells)
    runs = split(args.folder, args.out, datasets=args.datasets, cells=cells, seeds=args.seeds)
    print(f"{runs} runs -> {args.out}")
    return 0


def _compact_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", help="folder of runs")


def _compact(args: argparse.Namespace) -> int:
    from ..runs import compact

    report = compact(args.out)
    print(f"{report.runs} runs, {len(report.quarantined)} files of damaged runs set aside")
    return 0


def _verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", help=f"{_FOLDER}, or the name of a release")


def _verify(args: argparse.Namespace) -> int:
    from ..files import is_folder
    from ..releases import locate
    from ..table import verify

    place = locate(args.table)
    problems = verify(place if is_folder(place) else place.parent)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problem(s)")
    return int(bool(problems))


def _repair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", help=_FOLDER)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, do nothing")


def _repair(args: argparse.Namespace) -> int:
    from ..runs import repair

    report, would = repair(args.out, dry_run=args.dry_run), "would be " if args.dry_run else ""
    print(f"{report.runs} runs are whole")
    for text, paths in (
        (f"damaged, {would}set aside", report.quarantined),
        ("not whole, its run counts as missing", report.incomplete),
        (f"{would}removed", report.removed),
    ):
        for path in paths:
            print(f"{text}: {path}")
    for problem in report.problems:
        print(problem)
    if report.quarantined or report.incomplete:
        print("what counts as missing is made again by nasbench-robust run or submit")
    return int(bool(report.problems))


COMMANDS = (
    Command("merge", "put folders of runs together in one that can be worked on", _merge_arguments, _merge),
    Command("split", "write some runs of a table as a release of their own", _split_arguments, _split),
    Command(
        "compact",
        "move the runs of a folder into a few files",
        _compact_arguments,
        _compact,
        "Others may go on making runs in it, and compact it as well. What was compacted is as it was for all commands.",
    ),
    Command(
        "verify",
        "check every hash of a table, and make every accuracy again from its outcomes",
        _verify_arguments,
        _verify,
        "The exit code is 1 if something is wrong.",
    ),
    Command(
        "repair",
        "set aside what is damaged in a folder, remove what dead processes left, say what is to be done",
        _repair_arguments,
        _repair,
        "The exit code is 1 if something is left that only a person can repair.",
    ),
)
