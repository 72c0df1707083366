"""What follows from the numbers, in words: a line per variant, and where the chosen settings stand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from digits_settings.compute import CHOSEN, TARGET, Cells
from nasbench_robust import native
from nasbench_robust import statistics as st


def print_head(cells: Cells, seeds: int) -> None:
    """Print what is trained, what the parameter count alone tells, and what the columns are."""
    runs = f"{len(cells.index)} cells x {seeds} seeds, native engine for {native.build_name()}"
    rho = st.spearman(cells.parameters, cells.published)
    print(f"{runs}: PGD-20 on test images")
    print(f"parameters alone: Spearman {rho:.3f} with {TARGET[1]} on {TARGET[0]}")
    print("variant: median (least to most of a cell)   sd between cells / of a seed   Spearman   seconds a run")


def print_variant(row: dict[str, Any]) -> None:
    """Print one line."""
    accuracies = "{median:.3f} ({min:.3f}-{max:.3f})   {cell_sd:.3f} / {seed_sd:.4f} = {ratio:5.2f}"
    ranks = "{spearman:.3f}, given parameters {given_parameters:.3f}   {seconds:.2f} s"
    diverged = "   {diverged} diverged" if row["diverged"] else ""
    print(f"{{variant:20}} {accuracies}   {ranks}{diverged}".format(**row), flush=True)


def print_conclusion(table: pd.DataFrame) -> None:
    """Print where the chosen settings stand among those that were tried."""
    if CHOSEN not in set(table["variant"]) or len(table) < 2:
        return
    print()
    for column, label in (
        ("ratio", "spread of cells over that of seeds"),
        ("spearman", "rank correlation with the published column"),
        ("given_parameters", "the same given the parameter count"),
    ):
        ordered = table.sort_values(column, ascending=False)["variant"].tolist()
        print(f"- {label}: chosen is number {1 + ordered.index(CHOSEN)} of {len(ordered)}, the best is {ordered[0]}")
