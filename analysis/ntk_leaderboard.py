"""Which scores rank cells better than the parameter count: the leaderboard of ntk_correlation.py."""

from __future__ import annotations

import math

import pandas as pd
from ntk_scores import PARAMETERS, Data, Name, Target
from ntk_statistics import LEFT_OUT

from nasbench_robust.statistics import Interval

NAME = ["kernel", "attack", "score"]
BEATS, OPEN, WORSE, SAME, LINE = "beats it", "cannot be told apart", "is worse", "same order", "line to beat"
_SHOWN = 15  # scores in what is printed; the CSV has all


def leaderboard(data: Data, results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per score, cells without a value being last: the parameter count, then the best score first."""
    dataset, metric = data.headlines[0]
    rows = results[(results["dataset"] == dataset) & (results["metric"] == metric)].set_index(NAME)
    whole = rows[(rows["subset"] == "all") & (rows["failures"] != LEFT_OUT)].copy()
    parts = rows[(rows["subset"] == "all") & (rows["failures"] == LEFT_OUT)]
    tenth = rows[(rows["subset"] == "top tenth") & (rows["failures"] != LEFT_OUT)]
    whole["spearman_of_the_rest"] = parts["spearman"]
    for column in ("spearman", "low", "high"):
        whole[f"top_tenth_{column}"] = tenth[column]
    whole["seconds"] = pd.Series({name: data.seconds.get(Name(*name), math.nan) for name in whole.index})
    whole["verdict"] = [_verdict(row) for _, row in whole.iterrows()]
    whole.loc[[PARAMETERS], "verdict"] = LINE
    whole["_first"] = whole["verdict"] == LINE
    whole = whole.sort_values(["_first", "spearman"], ascending=False, kind="stable")
    kept = ["direction", "cells", "failed", "spearman", "low", "high", "gain", "gain_low", "gain_high", "verdict"]
    kept += ["given_parameters", "given_low", "given_high", "kendall", "spearman_of_the_rest"]
    kept += ["top_tenth_spearman", "top_tenth_low", "top_tenth_high", "seconds"]
    kept += ["seeds", "seed_mean", "seed_sd", "between_seeds"]
    return whole[kept].reset_index()


def _verdict(row: pd.Series) -> str:
    if row["gain_low"] == row["gain_high"] == 0:
        return SAME
    return BEATS if row["gain_low"] > 0 else WORSE if row["gain_high"] < 0 else OPEN


# ------------------------------------------------------------------ in words


def print_leaderboard(data: Data, board: pd.DataFrame) -> None:
    """Print the best scores, and which of all beat the parameter count."""
    target = _words(data.headlines[0])
    print(f"{len(data.index):,} cells, scored on {data.dataset}, against {' and '.join(data.tables)}; {_seeds(data)}.")
    print(f"Spearman with {target}; a cell without a value ranks last; 95 % intervals over cells:\n")
    head = ("score", "rho", "minus parameters", "given parameters", "top tenth", "failed", "s/cell")
    print(f"{head[0]:46} {head[1]:>6} {head[2]:>23} {head[3]:>23} {head[4]:>10} {head[5]:>7} {head[6]:>8}")
    for _, row in board.head(_SHOWN + 1).iterrows():
        print(_line(row))
    if len(board) > _SHOWN + 1:
        print(f"... and {len(board) - _SHOWN - 1} more in the CSV")
    print()
    for sentence in sentences(board, target):
        print(f"- {sentence}")


def _line(row: pd.Series) -> str:
    name = str(Name(row["kernel"], row["attack"], row["score"]))
    plain = row["verdict"] in (LINE, SAME)
    gain = row["verdict"] if plain else _interval(row, "gain", "gain_low", "gain_high")
    given = "" if plain else _interval(row, "given_parameters", "given_low", "given_high")
    numbers = f"{row['spearman']:6.3f} {gain:>23} {given:>23} {row['top_tenth_spearman']:10.3f} {row['failed']:7d}"
    return f"{name:46} {numbers} {row['seconds']:8.2g}"


def _interval(row: pd.Series, *names: str) -> str:
    return str(Interval(*(row[name] for name in names)))


def sentences(board: pd.DataFrame, target: str) -> list[str]:
    """Return what follows from the leaderboard."""
    others = board[~board["verdict"].isin([LINE, SAME])]
    count = others["verdict"].value_counts()
    found = [
        f"Of {len(others)} scores, {count.get(BEATS, 0)} rank the cells by {target} better than the parameter count "
        f"(interval of the difference above 0), {count.get(OPEN, 0)} cannot be told apart from it, "
        f"{count.get(WORSE, 0)} are worse. Each interval stands on its own, none is corrected for their number.",
        f"Better than the parameter count: {_names(board, BEATS)}.",
        f"Beside the parameter count, {(others['given_low'] > 0).sum()} tell something more "
        "(interval of the partial correlation above 0).",
    ]
    if (board["verdict"] == SAME).any():
        found.append(f"In the order of the parameter count, so not counted here: {_names(board, SAME)}.")
    turned = others[(others["high"] < 0) & others["direction"].notna()]
    if len(turned):
        kinds = ", ".join(dict.fromkeys(name.replace("_", " ") for name in turned["score"]))
        found.append(f"{len(turned)} point the other way than their source claims: {kinds}.")
    if others["failed"].any():
        most = others.loc[others["failed"].idxmax()]
        found.append(
            f"{(others['failed'] > 0).sum()} have no value for some cells, at most {most['failed']:,} of "
            f"{most['cells']:,} ({Name(*most[NAME])}); they rank last here, and the CSV has both ways."
        )
    if others["between_seeds"].notna().any():
        found.append(f"Between initial weights, scores agree with rho {others['between_seeds'].median():.2f} (median).")
    return found


def _names(board: pd.DataFrame, verdict: str) -> str:
    names = board.loc[board["verdict"] == verdict, NAME].itertuples(index=False)
    return "; ".join(str(Name(*name)) for name in names) or "none"


def _words(target: Target) -> str:
    return f"{target[1]} of {target[0]}"


def _seeds(data: Data) -> str:
    number = "one initial seed" if data.seeds_used == 1 else f"the mean of {data.seeds_used} initial seeds"
    more = len(data.seeds) - data.seeds_used
    return f"{number} per cell" + (f", {more} more of some cells" if more else "")
