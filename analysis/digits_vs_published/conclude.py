"""What follows from the numbers, in words."""

from __future__ import annotations

import math

import pandas as pd

from digits_vs_published.compute import Headline
from nasbench_robust.statistics import Interval
from tables import Tables

PLACES = {"all": "Over all cells", "top half": "In the top half", "top tenth": "In the top tenth"}


def print_conclusion(tables: Tables, results: pd.DataFrame) -> None:
    """Print the headline's numbers and what follows from them."""
    headline = Headline(tables, results)
    seeds = f"seeds {', '.join(map(str, tables.seeds))}" if tables.seeds else "no single seeds"
    names = " against ".join(tables.names)
    print(f"{names}: {len(tables.index):,} cells that both have; test split; {seeds}")
    print(
        f"{headline.digits} on digits against {headline.target[1]} on {headline.target[0]}, Spearman, 95 % intervals:"
    )
    for subset in headline.subsets:
        print(f"  {subset}, {headline.cells(subset):,} cells")
        for label, predictor, statistic in (
            ("digits", headline.digits, "spearman"),
            ("parameters", "parameters", "spearman"),
            ("digits minus parameters", headline.digits, "spearman - parameters"),
            ("digits given parameters", headline.digits, "spearman given parameters"),
            ("mean rank of both", headline.both, "spearman"),
            ("both minus parameters", headline.both, "spearman - parameters"),
        ):
            print(f"    {label:24} {headline.interval(subset, predictor, statistic)}")
        top = headline.value(subset, headline.digits, "ceiling")
        print(f"    {'ceiling from noise':24} {'not known' if math.isnan(top) else f'{top:.3f}'}")
    print()
    for sentence in _sentences(tables, results, headline):
        print(f"- {sentence}")


def _sentences(tables: Tables, results: pd.DataFrame, headline: Headline) -> list[str]:
    sentences = [_verdict(headline, subset) for subset in headline.subsets]
    if headline.one_baseline:
        sentences.append("FLOPs rank these cells exactly as parameters do: the two are one baseline.")
    sentences += [_columns(tables, headline), _tally(results, headline), _noise(headline)]
    predictors = {"digits": headline.digits, "parameters": "parameters", "both": headline.both, "chance": "chance"}
    losses = [
        f"{label} {100 * headline.value('all', name, 'regret of the best of 1'):.2f}"
        for label, name in predictors.items()
    ]
    points = f"points of {headline.target[1]} on {headline.target[0]}"
    return [
        *sentences,
        f"Training only the cell that a predictor likes best loses, in {points}: {', '.join(losses)}.",
    ]


def _verdict(headline: Headline, subset: str) -> str:
    gain = headline.interval(subset, headline.digits, "spearman - parameters")
    partial = headline.interval(subset, headline.digits, "spearman given parameters")
    ranking = _choose(gain, "ranks better than", "ranks worse than", "cannot be told apart from")
    adding = _choose(
        partial, "adds to it", "even points the wrong way once it is known", "adds nothing that could be told from zero"
    )
    return f"{PLACES.get(subset, subset)}, digits {ranking} the parameter count ({gain}), and {adding} ({partial})."


def _choose(interval: Interval, above: str, below: str, neither: str) -> str:
    return above if interval.low > 0 else below if interval.high < 0 else neither


def _columns(tables: Tables, headline: Headline) -> str:
    rho = {name: headline.value("all", name, "spearman") for name in tables.digits}
    listed = ", ".join(f"{name} {value:.3f}" for name, value in sorted(rho.items(), key=lambda item: -item[1]))
    return f"Of the digits columns, over all cells: {listed}."


def _tally(results: pd.DataFrame, headline: Headline) -> str:
    """Count over all published columns how often an interval lies on either side of zero."""
    counts = []
    for subset in headline.subsets:
        rows = results[(results["subset"] == subset) & (results["predictor"] == headline.digits)]
        gains = rows[rows["statistic"] == "spearman - parameters"]
        partial = rows[rows["statistic"] == "spearman given parameters"]
        counts.append(
            f"{subset} {(gains['low'] > 0).sum()} better, {(gains['high'] < 0).sum()} worse, "
            f"of use beside it {(partial['low'] > 0).sum()}"
        )
    total = len(results[["dataset", "metric"]].drop_duplicates())
    return (
        f"{headline.digits} against the parameter count over all {total} published columns "
        f"(intervals off zero, each on its own, none corrected for their number): {'; '.join(counts)}."
    )


def _noise(headline: Headline) -> str:
    limits = []
    for subset in headline.subsets:
        rho, top = (headline.value(subset, headline.digits, name) for name in ("spearman", "ceiling"))
        limits.append(f"{subset} {rho:.2f} of {top:.2f}")
    if math.isnan(top):
        return "With one seed per cell, the noise of the digits columns is not known."
    return (
        "If digits and the published column measured the same thing, their noise would still keep the correlation "
        f"below about: {', '.join(limits)}."
    )
