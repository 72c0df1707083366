"""What follows from the numbers, in words."""

from __future__ import annotations

import pandas as pd

from engine_parity.compute import LEVEL, POWER


def print_conclusion(table: pd.DataFrame, headline: str) -> None:
    """Print the difference of every metric, and whether the engines can be told apart."""
    of_all = table[table["cell"] == "all"]
    first = of_all.iloc[0]
    numbers = " and ".join(f"{first[f'{side}_runs']} {first[side]}" for side in ("first", "second"))
    print(f"{first['label']}; {numbers} runs; test split")
    subtraction = f"{first['first']} minus {first['second']}"
    print(f"{subtraction} in points of accuracy, 95 % intervals; sd within cells; ratio of variances")
    for row in of_all.to_dict("records"):
        points = {name: 100 * row[name] for name in ("first_mean", "second_mean", "difference", "low", "high")}
        means = "{first_mean:6.2f} - {second_mean:6.2f} = {difference:+6.2f} [{low:+.2f}, {high:+.2f}]".format(**points)
        deviations = f"{100 * row['first_sd']:.2f} and {100 * row['second_sd']:.2f}"
        ratio = f"{row['variance_ratio']:.2f} [{row['variance_low']:.2f}, {row['variance_high']:.2f}]"
        print(f"  {row['metric']:14} {means}   sd {deviations}   ratio {ratio}")
    print()
    for sentence in sentences(table, headline):
        print(f"- {sentence}")


def sentences(table: pd.DataFrame, headline: str) -> list[str]:
    """Return what follows from the numbers."""
    of_all = table[table["cell"] == "all"].set_index("metric")
    off = of_all[(of_all["low"] > 0) | (of_all["high"] < 0)]
    contains = "contains 0 for every metric: no difference between the engines was found."
    if len(off):
        contains = f"does not contain 0 for {', '.join(off.index)}: the engines differ there."
    points = ", ".join(f"{name} {100 * row['detectable']:.2f}" for name, row in of_all.iterrows())
    uneven = of_all[(of_all["variance_low"] > 1) | (of_all["variance_high"] < 1)]
    spread = "1 lies in the interval of every ratio of variances: seeds spread alike."
    if len(uneven):
        spread = f"1 lies outside the interval of the ratio of variances for {', '.join(uneven.index)}."
    single = table[(table["metric"] == headline) & (table["cell"] != "all")]
    inside = int(((single["low"] <= 0) & (single["high"] >= 0)).sum())
    widest = 100 * max(-single["low"].min(), single["high"].max())
    return [
        f"The interval of the mean difference {contains}",
        f"A true mean difference of so many points would have been seen with a probability of {POWER:.0%}: {points}.",
        f"Cell by cell in {headline}, {inside} of {len(single)} intervals contain 0; of intervals on no difference, "
        f"{1 - LEVEL:.0%} do not. The farthest bound is at {widest:.1f} points.",
        spread + " Intervals are each on its own, none corrected for their number.",
    ]
