"""The command that compares: two releases, or saved searches beside the methods of this package."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidValueError, MissingDataError, MissingResultError, NasbenchRobustError
from .command import Command
from .tables import _add_json, _records

if TYPE_CHECKING:
    import pandas as pd

    from ..search import Repeats

FILES = ("comparison.csv", "comparison.tex", "comparison.png", "comparison.svg")


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="two releases, by name or path, or files that Repeats.save wrote"
    )
    parser.add_argument("--baselines", nargs="*", metavar="METHOD", help="methods beside the searches; default: three")
    parser.add_argument("-r", "--release", help="the table that was searched, where it is not one that has a name")
    parser.add_argument("--out", help=f"folder for {', '.join(FILES)}; of searches")
    _add_json(parser)


def _compare(args: argparse.Namespace) -> int:
    searches = _searches(args.names, args.release)
    if args.out and searches:
        Path(args.out).mkdir(parents=True, exist_ok=True)  # find out before the work
    if searches:
        from ..search import comparison, with_baselines

        everything = with_baselines(searches, args.baselines)
        table = comparison(everything)
    else:
        if args.out or args.release or args.baselines is not None:
            expected = "files that Repeats.save wrote, to go with --out, --release and --baselines"
            raise InvalidValueError("names", args.names, expected)
        table = _two_releases(args.names)
    _print(table, args.json)
    if args.out:
        for path in _write(Path(args.out), table, everything):
            print(f"-> {path}")
    return 0


def _print(table: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(_records(table)))
    else:
        print(table.to_string(index=False, float_format="{:.4f}".format))


def _searches(names: list[str], release: str | None) -> dict[str, Repeats]:
    """Return saved searches by the names of their files; none where the names are those of releases."""
    from ..releases import load
    from ..search import SEARCHERS, Repeats, holds_searches

    held = [name for name in names if holds_searches(name)]
    for name in names:
        if len(names) != 2 and name not in held and name.endswith(".parquet") and not Path(name).exists():
            raise MissingDataError(f"no file {name}", "check the path")
    if len(set(held)) < len(held):
        raise InvalidValueError("names", names, "every file once")
    if held and len(held) < len(names):
        other = next(name for name in names if name not in held)
        raise InvalidValueError("names", other, f"a file of searches, as {held[0]} is")
    stems = [Path(name).stem for name in held]
    labels = stems if len(set(stems)) == len(held) else held
    taken = [label for label in labels if label in SEARCHERS]
    if taken:
        expected = "another name: a method of the package has it, and is what searches are compared with"
        raise InvalidValueError("names", f"{taken[0]}.parquet", expected)
    bench = load(release) if release and held else None
    return {label: Repeats.load(name, bench) for label, name in zip(labels, held, strict=True)}


def _two_releases(names: list[str]) -> pd.DataFrame:
    """Return what two releases say of the metrics that both have."""
    import pandas as pd

    from ..releases import load

    if len(names) != 2:
        raise InvalidValueError("names", names, "two releases, or files that Repeats.save wrote")
    benches = [load(name) for name in names]
    joined = benches[0].join(benches[1])
    titles = list(dict.fromkeys(joined.columns.get_level_values("release")))
    rows = []
    for dataset, metric in joined[titles[0]].columns.intersection(joined[titles[1]].columns):
        both = pd.DataFrame({title: joined[title, dataset, metric] for title in titles}).dropna()
        first, second = (both[title] for title in titles)
        rank = float(first.rank().corr(second.rank()))
        row = {"dataset": dataset, "metric": metric, "cells": len(both), "first": first.mean(), "second": second.mean()}
        rows.append({**row, "largest difference": (first - second).abs().max(), "rank correlation": rank})
    if not rows:
        what = f"{titles[0]} and {titles[1]} have no metric on one data set in common"
        raise MissingResultError(what, [column for bench in benches for column in bench.datasets], "data sets")
    return pd.DataFrame(rows)


def _write(folder: Path, table: pd.DataFrame, searches: dict[str, Repeats]) -> list[Path]:
    """Write table and figure; the figure where matplotlib is there."""
    from ..files import write_bytes

    texts = (table.to_csv(index=False, float_format="%.6g"), _latex(table))
    paths = [folder / name for name in FILES[:2]]
    for path, text in zip(paths, texts, strict=True):
        write_bytes(text.encode(), path)
    try:
        return paths + _draw(folder, searches)
    except NasbenchRobustError as error:
        print(f"no figure: {error}")
        return paths


def _draw(folder: Path, searches: dict[str, Repeats]) -> list[Path]:
    import io

    from .. import plots
    from ..files import write_bytes

    axes = plots.trajectories(searches)
    paths = [folder / name for name in FILES[2:]]
    for path in paths:
        content = io.BytesIO()
        axes.figure.savefig(content, format=path.suffix[1:], dpi=300)
        write_bytes(content.getvalue(), path)
    return paths


def _latex(table: pd.DataFrame) -> str:
    """Return a table for a paper, with the booktabs package: regrets and accuracies in per cent."""
    judges = list(table.columns[6:])
    head = ["method", "repeats", "queries", "regret", "best found", *judges]
    rows = []
    for row in table.to_dict("records"):
        spread = "" if row["sd"] != row["sd"] else rf" $\pm$ {100 * row['sd']:.2f}"
        numbers = [f"{100 * row['regret']:.2f}{spread}", *(f"{100 * row[name]:.2f}" for name in ("found", *judges))]
        rows.append([_escaped(row["method"]), str(row["repeats"]), str(row["queries"]), *numbers])
    lines = [" & ".join(map(_escaped, head)), *(" & ".join(row) for row in rows)]
    body = [rf"{line} \\" for line in lines]
    columns = "l" + "r" * (len(head) - 1)
    parts = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", body[0], r"\midrule", *body[1:]]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    """Return text as LaTeX prints it."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, rf"\{letter}" if letter in "&%$#_{}" else letter) for letter in text)


COMMANDS = (
    Command(
        "compare",
        "two releases on the metrics that both have, or saved searches beside baselines",
        _compare_arguments,
        _compare,
        "Regret is what is missing to the best cell of the table, found the share of repeats that found it.",
    ),
)
