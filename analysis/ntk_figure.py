"""Two numbers of the kernels against accuracies: whether kernels of attacked images rank cells better.

A drawing, from this project's scores, of a figure of Wu et al., Robust NAS under adversarial training (ICLR 2024): for
every attack of a table of scores, the rank correlation of the minimum eigenvalue and of the Frobenius norm of clean,
robust, cross and robust-twice kernels with every accuracy on the same data set, and that of the parameter count. Run:
``python analysis/ntk_figure.py SCORES.parquet``. It writes the numbers as CSV, the figure as PNG and SVG, and prints
what follows from them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from ntk_correlation import add_tables
from ntk_figure_drawing import draw
from ntk_scores import Data, Floats, Name, Target, read_data
from ntk_statistics import correlate, failures_last, intervals

from nasbench_robust.cli.command import guarded
from nasbench_robust.errors import MissingResultError
from nasbench_robust.metrics import parse_eps
from nasbench_robust.statistics import Interval

PROGRAM = "ntk_figure.py"
KERNELS = ("clean", "robust", "cross", "robust_twice")
SCALARS = {  # a cross kernel is not symmetric: its smallest singular value stands for the minimum eigenvalue
    "minimum eigenvalue": dict.fromkeys(KERNELS, "minimum_eigenvalue") | {"cross": "smallest_singular_value"},
    "Frobenius norm": dict.fromkeys(KERNELS, "frobenius_norm"),
}
COLUMNS = ["dataset", "metric", "attack", "scalar", "kernel", "cells", "failed", "spearman", "low", "high"]
COLUMNS += ["minus_clean", "minus_clean_low", "minus_clean_high", "parameters"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, write, print; return the exit code."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__.split("\n")[0])
    add_tables(parser)
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling (default: 0)")
    args = parser.parse_args(arguments)
    return guarded(PROGRAM, lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    data = read_data(args.scores, args.published, args.digits)
    points = correlations(data, np.random.default_rng([args.seed, *b"figure"]), args.resamples)
    folder = Path(args.out)
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / f"ntk_figure_{data.dataset}.csv"
    points.to_csv(table, index=False, float_format="%.4g")
    written = [table, *draw(points, folder / f"ntk_figure_{data.dataset}")]
    for sentence in sentences(points, data):
        print(f"- {sentence}")
    print(f"\nwrote {', '.join(map(str, written))}")
    return 0


def attacks(data: Data) -> list[str]:
    """Return the attacks for which the table has robust kernels, weakest eps first."""
    found = {name.attack for name in data.scores if name.kernel == "robust"}
    if not found:
        raise MissingResultError(f"the table of scores of {data.dataset} has no robust kernel")
    return sorted(found, key=lambda attack: (parse_eps(attack.partition("@")[2]), attack))


def correlations(data: Data, rng: np.random.Generator, resamples: int) -> pd.DataFrame:
    """Return what is drawn, one row per accuracy, attack, scalar and kernel; a cell without a value ranks last."""
    targets = [target for target in data.targets if target[0] == data.dataset]
    aims = np.array([data.targets[target] for target in targets])
    base = correlate(aims, data.parameters[None])[:, 0]
    state = rng.bit_generator.state
    rows: list[list[object]] = []
    for scalar, scores in SCALARS.items():
        names = {
            (attack, kernel): Name(kernel, "" if kernel == "clean" else attack, score)
            for attack in attacks(data)
            for kernel, score in scores.items()
        }
        names = {place: name for place, name in names.items() if name in data.scores}
        columns = np.array([failures_last(data.scores[name]) for name in names.values()])
        clean = _clean(data, scores["clean"])
        rng.bit_generator.state = state  # the same resamples for both scalars
        bounds = intervals(aims, columns, clean, rng, resamples)
        rho, own = correlate(aims, columns), correlate(aims, clean[None])[:, 0]
        for place, target in enumerate(targets):
            for position, ((attack, kernel), name) in enumerate(names.items()):
                value, failed = rho[place, position], int(np.isnan(data.scores[name]).sum())
                row = [*target, attack, scalar, kernel, len(data.index), failed, value, *bounds[place, position, :2]]
                rows.append([*row, value - own[place], *bounds[place, position, 2:4], base[place]])
    return pd.DataFrame(rows, columns=COLUMNS)


def _clean(data: Data, score: str) -> Floats:
    name = Name("clean", "", score)
    if name not in data.scores:
        raise MissingResultError(f"the table of scores of {data.dataset} has no {name}")
    return failures_last(data.scores[name])


# ------------------------------------------------------------------ in words


def sentences(points: pd.DataFrame, data: Data) -> list[str]:
    """Return whether kernels of attacked images rank better than the clean one, and than the parameter count."""
    target: Target = next(target for target in data.headlines if target[0] == data.dataset)
    rows = points[(points["dataset"] == target[0]) & (points["metric"] == target[1])]
    line = rows["parameters"].iloc[0]
    found = [f"{len(data.index):,} cells, {target[1]} of {target[0]}: the parameter count has rho {line:.3f}."]
    for (scalar, attack), part in rows.groupby(["scalar", "attack"], sort=False):
        parts = [
            f"{row['kernel'].replace('_', ' ')} {row['spearman']:.3f}"
            + ("" if row["kernel"] == "clean" else f" (minus clean {_difference(row)})")
            for _, row in part.iterrows()
        ]
        found.append(f"{scalar}, {attack}: {', '.join(parts)}.")
    others = rows[rows["kernel"] != "clean"]
    right = others["spearman"] > 0
    better, worse = ((others["minus_clean_low"] > 0) & right).sum(), ((others["minus_clean_high"] < 0) & right).sum()
    found.append(
        f"Of {len(others)} numbers of kernels with attacked images, {better} rank better than the same number of the "
        f"clean kernel, {worse} worse (intervals of the difference off 0, none corrected for their number); "
        f"{(~right).sum()} rank the wrong way, higher values going with lower accuracy."
    )
    return found


def _difference(row: pd.Series) -> str:
    return str(Interval(row["minus_clean"], row["minus_clean_low"], row["minus_clean_high"]))


if __name__ == "__main__":
    sys.exit(main())
