"""What follows from the numbers: the tables of the manual, and whether what was aimed at holds."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from predictors.compute import ALL, HELD_OUT, OTHER_HALF, SCORED, SUBSETS
from predictors.rules import AIMS, COUNT, DIGITS, MOONSHOT, PARAMETERS, RULES, SMOOTHED

DATASETS = (*AIMS, "digits")
EVERYWHERE = (PARAMETERS, COUNT, DIGITS, DIGITS + SMOOTHED, *(rule.name for rule in RULES))


def print_conclusion(board: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Print the tables, the moonshot, and what was chosen on one half."""
    for lines in (everywhere(board), where_scored(board), held_out(board), few_labels(curves)):
        print("\n".join(lines), end="\n\n")
    for row in board[board["over"] == OTHER_HALF].to_dict("records"):
        print(f"{row['dataset']}, {row['cells']:,} cells of the other half: {_three(row)}  {row['line']}")
    print(f"\nThe moonshot: {MOONSHOT.name}")
    for sentence in moonshot(board):
        print(f"- {sentence}")


def everywhere(board: pd.DataFrame) -> list[str]:
    """Return the lines that have a value for all cells."""
    return list(_table(board[board["over"] == ALL], EVERYWHERE))


def where_scored(board: pd.DataFrame) -> list[str]:
    """Return the lines over the cells whose scores were computed: rules, and the best single scores on CIFAR-10."""
    rows = board[(board["over"] == SCORED) & (board["dataset"] != HELD_OUT)]
    single = rows[(rows["dataset"] == "cifar10") & ~rows["line"].isin(EVERYWHERE)].head(10)["line"]
    return list(_table(rows, (*EVERYWHERE, *single)))


def held_out(board: pd.DataFrame) -> list[str]:
    """Return what predicts the seed of the digits table that was held out."""
    rows = board[board["dataset"] == HELD_OUT]
    return list(_table(rows, tuple(rows["line"]), (HELD_OUT,)))


def few_labels(curves: pd.DataFrame) -> list[str]:
    """Return how far few labels go."""
    names = dict.fromkeys(zip(curves["line"], curves["labels"], strict=True))
    curves = curves.assign(
        name=[f"{line}, {labels}" for line, labels in zip(curves["line"], curves["labels"], strict=True)]
    )
    return list(
        _table(curves.drop(columns="line").rename(columns={"name": "line"}), [f"{line}, {n}" for line, n in names])
    )


def _table(rows: pd.DataFrame, lines: object, datasets: tuple[str, ...] = DATASETS) -> Iterator[str]:
    """Yield a table in Markdown: Spearman over all / top half / top tenth, then recall of the best tenth."""
    by_place = {(row["dataset"], row["line"]): row for row in rows.to_dict("records")}
    shown = [name for name in datasets if any(place[0] == name for place in by_place)]
    yield f"| | {' | '.join(shown)} |"
    yield "|---" * (len(shown) + 1) + "|"
    for line in dict.fromkeys(lines):
        places = [by_place.get((dataset, line)) for dataset in shown]
        if any(places):
            yield f"| {line} | {' | '.join('' if row is None else _three(row) for row in places)} |"


def moonshot(board: pd.DataFrame) -> list[str]:
    """Return for every line that was aimed at whether it holds, over all cells."""
    rows = board[(board["line"] == MOONSHOT.name) & (board["over"] == ALL)].set_index("dataset")
    sentences = []
    for dataset, aims in AIMS.items():
        if dataset not in rows.index:
            sentences.append(f"{dataset}: not known, since a column of the rule is missing")
            continue
        for what, aim in aims.items():
            value = rows.loc[dataset, what]
            verdict = "holds" if value >= aim else f"does not hold, by {aim - value:.3f}"
            sentences.append(f"{dataset}, {what}: {value:.3f}, aimed at {aim:.2f}: {verdict}")
    return sentences


def _three(row: dict[str, float]) -> str:
    rho = "/".join(f"{row[subset]:.3f}".replace("0.", ".", 1) for subset in SUBSETS)
    return f"{rho}, {row['recall']:.2f}".replace(" 0.", " .")
