"""What follows from the numbers, in words: of the leaderboard, of a combination, of the kernels of attacked images."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from kernels.attacked import MINUS_CLEAN
from kernels.leaderboard import BEATS, LINE, NAME, OPEN, SAME, WORSE
from kernels.scores import Data, Name
from nasbench_robust.statistics import Interval
from tables import Target

_SHOWN = 15  # scores of the leaderboard; the CSV has all


def print_leaderboard(data: Data, board: pd.DataFrame) -> None:
    """Print the best scores, and which of all beat the parameter count."""
    dataset, metric = data.headlines[0]
    target = f"{metric} of {dataset}"
    print(f"{len(data.index):,} cells, scored on {data.dataset}, against {' and '.join(data.tables)}; {_seeds(data)}.")
    print(f"Spearman with {target}; a cell without a value ranks last; 95 % intervals over cells:\n")
    head = ("score", "rho", "minus parameters", "given parameters", "top tenth", "failed", "s/cell")
    print("{:46} {:>6} {:>23} {:>23} {:>10} {:>7} {:>8}".format(*head))
    for _, row in board.head(_SHOWN + 1).iterrows():
        print(_line(row))
    if len(board) > _SHOWN + 1:
        print(f"... and {len(board) - _SHOWN - 1} more in the CSV")
    print()
    for sentence in _about_scores(board, target):
        print(f"- {sentence}")


def _seeds(data: Data) -> str:
    number = "one initial seed" if data.seeds_used == 1 else f"the mean of {data.seeds_used} initial seeds"
    more = len(data.seeds) - data.seeds_used
    return f"{number} per cell" + (f", {more} more of some cells" if more else "")


def _line(row: pd.Series[Any]) -> str:
    name = str(Name(*row[NAME]))
    plain = row["verdict"] in (LINE, SAME)
    gain = row["verdict"] if plain else str(Interval(*row[["gain", "gain_low", "gain_high"]]))
    partial = "" if plain else str(Interval(*row[["given_parameters", "given_low", "given_high"]]))
    numbers = f"{row['spearman']:6.3f} {gain:>23} {partial:>23} {row['top_tenth_spearman']:10.3f} {row['failed']:7d}"
    return f"{name:46} {numbers} {row['seconds']:8.2g}"


def _about_scores(board: pd.DataFrame, target: str) -> list[str]:
    """Return what follows from the leaderboard."""
    others = board[~board["verdict"].isin([LINE, SAME])]
    count = others["verdict"].value_counts()
    sentences = [
        f"Of {len(others)} scores, {count.get(BEATS, 0)} rank the cells by {target} better than the parameter count "
        f"(interval of the difference above 0), {count.get(OPEN, 0)} cannot be told apart from it, "
        f"{count.get(WORSE, 0)} are worse. Each interval stands on its own, none is corrected for their number.",
        f"Better than the parameter count: {_names(board, BEATS)}.",
        f"Beside the parameter count, {(others['given_low'] > 0).sum()} tell something more "
        "(interval of the partial correlation above 0).",
    ]
    if (board["verdict"] == SAME).any():
        sentences.append(f"In the order of the parameter count, so not counted here: {_names(board, SAME)}.")
    turned = others[(others["high"] < 0) & others["direction"].notna()]
    if len(turned):
        kinds = ", ".join(dict.fromkeys(name.replace("_", " ") for name in turned["score"]))
        sentences.append(f"{len(turned)} point the other way than their source claims: {kinds}.")
    if others["failed"].any():
        most = others.loc[others["failed"].idxmax()]
        sentences.append(
            f"{(others['failed'] > 0).sum()} have no value for some cells, at most {most['failed']:,} of "
            f"{most['cells']:,} ({Name(*most[NAME])}); they rank last here, and the CSV has both ways."
        )
    agreement = others["between_seeds"].median()
    if not math.isnan(agreement):
        sentences.append(f"Between initial weights, scores agree with rho {agreement:.2f} (median).")
    return sentences


def _names(board: pd.DataFrame, verdict: str) -> str:
    names = board.loc[board["verdict"] == verdict, NAME].itertuples(index=False)
    return "; ".join(str(Name(*name)) for name in names) or "none"


def print_combination(tested: pd.DataFrame, headline: Target, where: str) -> None:
    """Print how the combination did on a headline, and on how many columns it beats the parameter count."""
    rows = tested[(tested["dataset"] == headline[0]) & (tested["metric"] == headline[1])]
    print(f"\nMean ranks of scores, chosen on digits, {where}; {headline[1]} of {headline[0]}:")
    print(f"  {rows['parameters'].iloc[0]:.3f}  parameter count")
    for _, row in rows.iterrows():
        gain = Interval(row["gain"], row["gain_low"], row["gain_high"])
        print(f"  {row['spearman']:.3f}  {row['combination']}; minus parameters {gain}")
    largest = tested.groupby(["dataset", "metric"], sort=False).tail(1)
    better, worse = (largest["gain_low"] > 0).sum(), (largest["gain_high"] < 0).sum()
    print(
        f"- The whole combination ranks better than the parameter count for {better} of {len(largest)} columns, worse "
        f"for {worse}; for {len(largest) - better - worse} the interval of the difference contains 0."
    )


def print_attacked(points: pd.DataFrame, data: Data) -> None:
    """Print whether kernels of attacked images rank better than the clean one, and than the parameter count."""
    dataset, metric = data.own_headline
    rows = points[(points[["dataset", "bn", "metric"]] == [dataset, data.bn, metric]).all(axis=1)]
    line = rows["parameters"].iloc[0]
    about = f"{len(data.index):,} cells, {data.bn}, {_seeds(data)}; {metric} of {dataset}"
    print(f"- {about}: the parameter count has rho {line:.3f}.")
    for (scalar, attack), part in rows.groupby(["scalar", "attack"], sort=False):
        numbers = [
            f"{row['kernel'].replace('_', ' ')} {row['spearman']:.3f}"
            + ("" if row["kernel"] == "clean" else f" (minus clean {Interval(*row[list(MINUS_CLEAN.values())])})")
            for _, row in part.iterrows()
        ]
        print(f"- {scalar}, {attack}: {', '.join(numbers)}.")
    others = rows[rows["kernel"] != "clean"]
    right = others["spearman"] > 0
    better, worse = ((others["minus_clean_low"] > 0) & right).sum(), ((others["minus_clean_high"] < 0) & right).sum()
    print(
        f"- Of {len(others)} numbers of kernels with attacked images, {better} rank better than the same number of the "
        f"clean kernel, {worse} worse (intervals of the difference off 0, none corrected for their number); "
        f"{(~right).sum()} rank the wrong way, higher values going with lower accuracy."
    )
    kind = others["attack"].str.partition("@")[0]
    pairs = [part["minus_clean"].to_numpy() for _, part in others.groupby(["scalar", "kernel", kind]) if len(part) > 1]
    if pairs:
        grown = sum(values[-1] > values[0] for values in pairs)
        print(f"- For {grown} of {len(pairs)} the difference to the clean kernel is higher at the largest eps.")
