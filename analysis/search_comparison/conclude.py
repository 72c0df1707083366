"""What follows from the numbers: tables by budget, and sentences."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

import nasbench_robust as nbr
from nasbench_robust.plots.style import metric_label


def print_conclusion(results: pd.DataFrame, benches: Sequence[nbr.Benchmark], queries: Sequence[int]) -> None:
    """Print the tables and what follows from them."""
    published = results[results["table"] == benches[0].name]
    place = f"{benches[0].name} {benches[0].info.version}, {published['dataset'].iloc[0]}"
    print(
        f"{place}: {int(results['repeats'].max())} searches each; mean accuracy in % (standard deviation), test split"
    )
    for number in queries:
        _print_budget(published, number)
    _print_volumes(published, queries)
    if (results["split"] == "validation").any():
        _print_splits(results, benches[-1], queries)
    print()
    for sentence in _sentences(published, benches[0], queries):
        print(f"- {sentence}")


def _print_budget(published: pd.DataFrame, number: int) -> None:
    at = published[(published["queries"] == number) & published["judged by"].str.contains("_acc|found")]
    judges = [name for name in at["judged by"].unique() if name != "best cell found"]
    short = [metric_label(name) for name in judges]
    print(
        f"\n{number} queries\n  {'selected by':12}{'method':33}{''.join(f'{name:>17}' for name in short)}  best found"
    )
    for criterion in at["selected by"].unique():
        part = at[at["selected by"] == criterion]
        for method in part["method"].unique():
            rows = part[part["method"] == method].set_index("judged by")
            cells = [f"{100 * rows['mean'][name]:.2f} ({100 * rows['std'][name]:.2f})" for name in judges]
            share = f"{100 * rows['mean']['best cell found']:.0f} %"
            print(f"  {metric_label(criterion):12}{method:33}{''.join(f'{cell:>17}' for cell in cells)}{share:>12}")


def _print_volumes(published: pd.DataFrame, queries: Sequence[int]) -> None:
    rows = published[published["judged by"] == "hypervolume missed"].set_index(["method", "queries"])
    print(
        "\nhypervolume of clean and PGD accuracy missed, % of the table's (searches other than NSGA-II select by PGD)"
    )
    for method in rows.index.get_level_values(0).unique():
        missed = [rows.loc[(method, number)] for number in queries]
        print(f"  {method:33}" + "".join(f"{100 * row['mean']:8.3f} ({100 * row['std']:.3f})" for row in missed))


def _print_splits(results: pd.DataFrame, digits: nbr.Benchmark, queries: Sequence[int]) -> None:
    rows = results[(results["table"] == digits.name) & results["queries"].isin(queries)]
    judge = rows.loc[rows["judged by"].str.startswith("pgd_acc"), "judged by"].iloc[0]
    rows = rows.set_index(["method", "queries", "split", "judged by"])["mean"]
    seeds = int(digits.metrics()["seeds"].max())
    print(f"\n{digits.name} {digits.info.version}, up to {seeds} seed(s) a cell: {judge}, % on test images")
    print(f"  {'method':33}{'queries':>8}{'selected on validation':>25}{'on test':>10}{'difference':>12}")
    for method in rows.index.get_level_values(0).unique():
        for number in queries:
            held_out, seen = (100 * rows[method, number, split, judge] for split in ("validation", "test"))
            print(f"  {method:33}{number:8}{held_out:25.2f}{seen:10.2f}{seen - held_out:12.2f}")


def _sentences(published: pd.DataFrame, bench: nbr.Benchmark, queries: Sequence[int]) -> list[str]:
    rows = published[(published["selected by"] == "pgd_acc") & (published["judged by"] == "regret")]
    regret = 100 * rows.set_index(["method", "queries"])["mean"]
    sentences = []
    for number in queries:
        at = regret.xs(number, level="queries").sort_values()
        listed = ", ".join(f"{method} {value:.2f}" for method, value in at.items())
        sentences.append(
            f"after {number} queries, selecting by PGD, points of PGD accuracy below the best cell: {listed}."
        )
    number = min(queries)
    other = published[(published["queries"] == number) & (published["method"] == "regularised evolution")]
    worth = other.set_index(["selected by", "judged by"])["mean"] * 100
    defaults = bench.metrics().query("metric == 'pgd_acc' and default and split == 'test'")
    pgd = defaults.set_index("dataset").loc[published["dataset"].iloc[0], "long_name"]
    gain = worth["pgd_acc", pgd] - worth["clean_acc", pgd]
    loss = worth["clean_acc", "clean_acc"] - worth["pgd_acc", "clean_acc"]
    sentences.append(
        f"regularised evolution with {number} queries: selecting by PGD instead of clean accuracy changes PGD accuracy "
        f"by {gain:+.2f} and clean accuracy by {-loss:+.2f} points."
    )
    return sentences
