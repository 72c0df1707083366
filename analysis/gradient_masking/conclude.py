"""What follows from the numbers, in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

SOUND = "certified <= AutoAttack"


def print_cell(rows: list[dict[str, Any]]) -> None:
    """Print the accuracies of one cell under PGD."""
    attacked = [row for row in rows if row["measured"] == "pgd" and row["eps"] > 0.01]
    shown = [f"{row['eps'] * 255:.3g}/255 {row['accuracy']:.3f}" for row in attacked]
    print(f"{rows[0]['cell']} {rows[0]['label']}: clean {rows[0]['accuracy']:.3f}, PGD {', '.join(shown)}", flush=True)


def by_radius(table: pd.DataFrame, measured: str) -> pd.DataFrame:
    """Return how many images are right, a line per cell and a column per radius."""
    rows = table[table["measured"] == measured]
    return rows.pivot(index="cell", columns="eps", values="correct")


def most_by_chance(one: pd.DataFrame, other: pd.DataFrame, images: int) -> pd.DataFrame:
    """Return three standard errors of the difference of two counts, were they of different images."""
    share = (one + other) / (2 * images)
    return 3 * np.sqrt(2 * images * share * (1 - share))


def print_conclusion(table: pd.DataFrame) -> None:
    """Print whether accuracies fall, to what, whether Square is ever ahead, and whether certificates are sound."""
    images = int(table["images"].iloc[0])
    pgd, square, autoattack = (by_radius(table, name) for name in ("pgd", "square", "autoattack"))
    gradients, certified = by_radius(table, "gradients"), by_radius(table, "certified")
    print(f"\n{len(pgd)} cells, {images} images")
    rise, left = largest(pgd.diff(axis=1).iloc[:, 1:]), largest(pgd.iloc[:, -1:])
    print(f"- PGD: from a radius to the next at most {rise} images more are right; at 255/255 at most {left}")
    for name, other in (("PGD-20", pgd), ("all attacks by gradients", gradients)):
        ahead = other[square.columns] - square
        beyond = int((ahead > most_by_chance(other[square.columns], square, images)).to_numpy().sum())
        print(f"- Square alone is ahead of {name} by {largest(ahead)} images at most, {beyond} times beyond chance")
    broken, withstood = int((gradients - autoattack).to_numpy().sum()), int(gradients.to_numpy().sum())
    print(f"- of {withstood} outcomes that withstood all attacks by gradients, Square breaks {broken}")
    sound = bool((certified <= autoattack).to_numpy().all())
    print(f"- {SOUND} at every radius of every cell: {'yes' if sound else 'NO'}")
    for cell, row in certified.iterrows():
        reach = [eps for eps, count in row.items() if count >= images / 2]
        print(
            f"  {cell}: half of the images are certified up to eps {max(reach):g}" if reach else f"  {cell}: never half"
        )


def largest(table: pd.DataFrame) -> int:
    """Return the largest number of a table."""
    return int(table.to_numpy().max())
