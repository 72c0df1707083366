"""What follows from the numbers, in words."""

from __future__ import annotations

import pandas as pd

from arnas_two_cells.compute import METRICS


def print_conclusion(rows: pd.DataFrame) -> None:
    """Print the accuracies of every network, and what the pair found gains over each of its controls."""
    print("accuracy on digits' test images, % +- standard deviation over seeds, by search")
    for (seed, role, cells), part in rows.groupby(["search", "role", "cells"], sort=False):
        shown = [f"{name} {100 * part[name].mean():5.1f} +- {100 * part[name].std(ddof=1):.1f}" for name in METRICS]
        print(f"{seed:>8} {role:22} {cells:>14}  {part['parameters'].iloc[0]:>7} parameters  {'  '.join(shown)}")
    means = rows.groupby(["role", "search"])[METRICS[1]].mean()
    for role in ("accurate cell alone", "robust cell alone", "reversed"):
        gain = 100 * (means["found"] - means[role])
        values = ", ".join(f"{value:+.1f}" for value in gain)
        print(f"- PGD accuracy of the pair found minus {role}: {gain.mean():+.1f} points in the mean ({values})")
