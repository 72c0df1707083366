"""Which scores rank cells better than the parameter count: the leaderboard."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from kernels.compute import LEFT_OUT
from kernels.scores import PARAMETERS, Data, Name

NAME = ["kernel", "attack", "score"]
BEATS, OPEN, WORSE, SAME, LINE = "beats it", "cannot be told apart", "is worse", "same order", "line to beat"
COLUMNS = ["direction", "cells", "failed", "spearman", "low", "high", "gain", "gain_low", "gain_high", "verdict"]
COLUMNS += ["given_parameters", "given_low", "given_high", "kendall", "spearman_of_the_rest"]
COLUMNS += ["top_tenth_spearman", "top_tenth_low", "top_tenth_high", "seconds"]
COLUMNS += ["seeds", "seed_mean", "seed_sd", "between_seeds"]


def leaderboard(data: Data, results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per score, cells without a value being last: the parameter count, then the best score first."""
    dataset, metric = data.headlines[0]
    rows = results[(results["dataset"] == dataset) & (results["metric"] == metric)].set_index(NAME)
    whole = rows[(rows["subset"] == "all") & (rows["failures"] != LEFT_OUT)].copy()
    rest = rows[(rows["subset"] == "all") & (rows["failures"] == LEFT_OUT)]
    tenth = rows[(rows["subset"] == "top tenth") & (rows["failures"] != LEFT_OUT)]
    whole["spearman_of_the_rest"] = rest["spearman"]
    for column in ("spearman", "low", "high"):
        whole[f"top_tenth_{column}"] = tenth[column]
    whole["seconds"] = pd.Series({name: data.seconds.get(Name(*name), math.nan) for name in whole.index})
    whole["verdict"] = [_verdict(row) for _, row in whole.iterrows()]
    whole.loc[[PARAMETERS], "verdict"] = LINE
    whole["_first"] = whole["verdict"] == LINE
    return whole.sort_values(["_first", "spearman"], ascending=False, kind="stable")[COLUMNS].reset_index()


def _verdict(row: pd.Series[Any]) -> str:
    if row["gain_low"] == row["gain_high"] == 0:
        return SAME
    return BEATS if row["gain_low"] > 0 else WORSE if row["gain_high"] < 0 else OPEN
