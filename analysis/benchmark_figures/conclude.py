"""What the paper says beside what comes out here; a number of the paper that is not at hand is left empty."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmark_figures.compute import CLEAN, ROBUST, SUBSETS, Accuracies, only

CELLS = 6466  # section 3.1
TABLE_1 = 0.382  # PGD accuracy at 8/255 after adversarial, and at 1/255 after standard training, CIFAR-10
ROUNDING = 0.0015  # what the last digit of a rounded number and of a release of three decimals may hide
Tables = dict[str, pd.DataFrame]


def against_paper(accuracies: Accuracies, tables: Tables) -> pd.DataFrame:
    """Return a row per statement: what the paper has, what comes out here, and whether both agree."""
    others = [name for name in accuracies if name != "cifar10"]
    pair = "Spearman, PGD 8/255 with PGD 1/255 of standard training, cifar10"
    rows = [
        _row("figure 2", "cells", CELLS, len(next(iter(accuracies.values()))), 0),
        *(_row("table 1", pair, TABLE_1, rho, ROUNDING) for rho in standard(tables)),
        *(
            _row("figure 3c", f"Spearman, clean with PGD 8/255, cifar10, {subset}", None, _within(tables, subset))
            for subset in SUBSETS
        ),
        *(
            _row("figure 3c", f"Spearman, PGD 8/255, cifar10 with {other}", None, _across(tables, other))
            for other in others
        ),
    ]
    rows += [
        _row("figure 4", f"best cell by {best.best_by}, {best.dataset}", None, best.cell)
        for best in tables["best_cells"].itertuples()
        if best.best_by in (CLEAN, ROBUST)
    ]
    return pd.DataFrame(rows)


def _row(where: str, what: str, paper: float | None, here: float, within: float = 0) -> dict[str, Any]:
    agrees = "not known" if paper is None else "yes" if abs(paper - here) <= within else "no"
    return {"where": where, "what": what, "paper": paper, "here": here, "agrees": agrees}


def standard(tables: Tables) -> pd.Series:
    """Return the rank correlation that table 1 is about, none where the table of standard training lacks it."""
    return only(tables["standard"], dataset="cifar10", metric=ROBUST, standard="pgd_acc@1/255")["spearman"]


def _within(tables: Tables, subset: str) -> float:
    rows = only(tables["rank_matrix"], subset=subset, dataset="cifar10", other_dataset="cifar10")
    return float(only(rows, metric=CLEAN, other_metric=ROBUST)["spearman"].iloc[0])


def _across(tables: Tables, other: str) -> float:
    rows = only(tables["rank_matrix"], subset="all", dataset="cifar10", other_dataset=other)
    return float(only(rows, metric=ROBUST, other_metric=ROBUST)["spearman"].iloc[0])


def print_conclusion(tables: Tables) -> None:
    """Print what agrees and what does not, and the table of searches."""
    known = tables["against_paper"].dropna(subset="paper")
    for _, row in known.iterrows():
        print(f"{row['where']}, {row['what']}: paper {row['paper']:g}, here {row['here']:.4g}, agrees: {row['agrees']}")
    others = only(tables["standard"], dataset="cifar10", metric=ROBUST)
    print("  other columns of standard training:", *(f"{r.standard} {r.spearman:.3f}" for r in others.itertuples()))
    print()
    shown = tables["searches"].drop(columns=["queries", "repeats"])
    print(shown.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep=""))
