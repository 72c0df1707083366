"""The figure and the conclusion of search_comparison.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import style

import nasbench_robust as nbr

NSGA2 = "NSGA-II, clean and PGD"
LOOKS = {
    "random search": (style.GREY, "-"),
    "REINFORCE": (style.PURPLE, "-"),
    "regularised evolution": (style.BLUE, "-"),
    "local search": (style.VERMILION, "-"),
    "predictor-guided": (style.GREEN, "-"),
    NSGA2: (style.ORANGE, "-"),
}
SPLIT_METHODS = ("random search", "regularised evolution")
NAMES = {"clean_acc": "clean", "fgsm_acc": "FGSM", "pgd_acc": "PGD", "autoattack_acc": "AutoAttack"}


# ------------------------------------------------------------------ figure


def draw(results: pd.DataFrame, path: Path) -> list[Path]:
    """Draw regret, missed hypervolume and the price of a held-out split; return the files."""
    with_splits = (results["split"] == "validation").any()
    figure, axes = style.new_figure(6.9, 3.1, ncols=3 if with_splits else 2)
    _curves(axes[0], results, "regret", ["random search", "regularised evolution"])
    axes[0].set_title("a   Selecting by PGD")
    axes[0].set_ylabel("PGD accuracy below the best cell (points)")
    axes[0].set_ylim(0, 3)
    _curves(axes[1], results, "hypervolume missed", ["random search", NSGA2])
    axes[1].set_title("b   Clean against PGD")
    axes[1].set_ylabel("hypervolume missed (%)")
    axes[1].set_ylim(0, 12)
    if with_splits:
        _splits(axes[2], results)
    handles: dict[str, Any] = {}
    for part in axes:
        handles |= {label: handle for handle, label in zip(*part.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=4, columnspacing=1.4, handlelength=1.8
    )
    return style.save_figure(figure, path)


def _curves(axes: Any, results: pd.DataFrame, judged: str, banded: Sequence[str]) -> None:
    """Draw the mean over repeats of every method, with the band of the middle 80 % for some."""
    chosen = results[(results["judged by"] == judged) & (results["split"] == "test")]
    if judged == "regret":
        chosen = chosen[chosen["selected by"] == "pgd_acc"]
    for method, (colour, line) in LOOKS.items():
        rows = chosen[chosen["method"] == method].sort_values("queries")
        axes.plot(rows["queries"], 100 * rows["mean"], line, color=colour, linewidth=1.3, label=method)
        if method in banded:
            low, high = 100 * rows["low"], 100 * rows["high"]
            axes.fill_between(rows["queries"], low, high, color=colour, alpha=0.13, linewidth=0)
    _query_axis(axes, int(chosen["queries"].max()))


def _splits(axes: Any, results: pd.DataFrame) -> None:
    """Draw what selections on validation and on test images are worth on test images."""
    table = results.loc[results["split"] == "validation", "table"].iloc[0]
    rows = results[(results["table"] == table) & results["judged by"].str.startswith("pgd_acc")]
    for method in SPLIT_METHODS:
        for split, line in (("test", "--"), ("validation", "-")):
            part = rows[(rows["method"] == method) & (rows["split"] == split)].sort_values("queries")
            part = part[part["queries"] >= min(10, part["queries"].max() / 10)]  # the axis fits what is shown
            colour = LOOKS[method][0]
            axes.plot(part["queries"], 100 * part["mean"], line, color=colour, linewidth=1.3)
            if split == "validation":
                low, high = 100 * part["low"], 100 * part["high"]
                axes.fill_between(part["queries"], low, high, color=colour, alpha=0.13, linewidth=0)
    for split, line in (("test", "--"), ("validation", "-")):
        axes.plot([], [], line, color="black", linewidth=1.3, label=f"c: selected on {split}")
    seeds = int(rows["seeds"].max())
    axes.set_title(f"c   Digits, {'one seed' if seeds == 1 else f'{seeds} seeds'}")
    axes.set_ylabel("PGD accuracy on test images (%)")
    _query_axis(axes, int(rows["queries"].max()))


def _query_axis(axes: Any, most: int) -> None:
    least = min(10, most / 10)  # before that, all methods draw at random
    axes.set_xscale("log")
    axes.set_xlim(least, most)
    axes.set_xticks([number for number in (1, 3, 10, 30, 100, 300, 1000) if least <= number <= most])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("queries")
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


# ------------------------------------------------------------------ conclusion


def print_conclusion(results: pd.DataFrame, benches: Sequence[nbr.Benchmark], queries: Sequence[int]) -> None:
    """Print the tables and what follows from them."""
    published = results[results["table"] == benches[0].name]
    place = f"{benches[0].name} {benches[0].version}, {published['dataset'].iloc[0]}"
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
    short = [_readable(name) for name in judges]
    print(
        f"\n{number} queries\n  {'selected by':12}{'method':33}{''.join(f'{name:>17}' for name in short)}  best found"
    )
    for criterion in at["selected by"].unique():
        part = at[at["selected by"] == criterion]
        for method in part["method"].unique():
            rows = part[part["method"] == method].set_index("judged by")
            cells = [f"{100 * rows['mean'][name]:.2f} ({100 * rows['std'][name]:.2f})" for name in judges]
            share = f"{100 * rows['mean']['best cell found']:.0f} %"
            print(f"  {NAMES[criterion]:12}{method:33}{''.join(f'{cell:>17}' for cell in cells)}{share:>12}")


def _print_volumes(published: pd.DataFrame, queries: Sequence[int]) -> None:
    rows = published[published["judged by"] == "hypervolume missed"].set_index(["method", "queries"])
    print(
        "\nhypervolume of clean and PGD accuracy missed, % of the table's (searches other than NSGA-II select by PGD)"
    )
    for method in rows.index.get_level_values(0).unique():
        found = [rows.loc[(method, number)] for number in queries]
        print(f"  {method:33}" + "".join(f"{100 * row['mean']:8.3f} ({100 * row['std']:.3f})" for row in found))


def _print_splits(results: pd.DataFrame, digits: nbr.Benchmark, queries: Sequence[int]) -> None:
    rows = results[(results["table"] == digits.name) & results["queries"].isin(queries)]
    judge = rows.loc[rows["judged by"].str.startswith("pgd_acc"), "judged by"].iloc[0]
    rows = rows.set_index(["method", "queries", "split", "judged by"])["mean"]
    seeds = int(digits.metrics()["seeds"].max())
    print(f"\n{digits.name} {digits.version}, up to {seeds} seed(s) a cell: {judge}, % on test images")
    print(f"  {'method':33}{'queries':>8}{'selected on validation':>25}{'on test':>10}{'difference':>12}")
    for method in rows.index.get_level_values(0).unique():
        for number in queries:
            held_out, seen = (100 * rows[method, number, split, judge] for split in ("validation", "test"))
            print(f"  {method:33}{number:8}{held_out:25.2f}{seen:10.2f}{seen - held_out:12.2f}")


def _sentences(published: pd.DataFrame, bench: nbr.Benchmark, queries: Sequence[int]) -> list[str]:
    rows = published[(published["selected by"] == "pgd_acc") & (published["judged by"] == "regret")]
    regret = 100 * rows.set_index(["method", "queries"])["mean"]
    said = []
    for number in queries:
        at = regret.xs(number, level="queries").sort_values()
        listed = ", ".join(f"{method} {value:.2f}" for method, value in at.items())
        said.append(f"after {number} queries, selecting by PGD, points of PGD accuracy below the best cell: {listed}.")
    number = min(queries)
    other = published[(published["queries"] == number) & (published["method"] == "regularised evolution")]
    worth = other.set_index(["selected by", "judged by"])["mean"] * 100
    meant = bench.metrics().query("metric == 'pgd_acc' and default and split == 'test'")
    pgd = meant.set_index("dataset").loc[published["dataset"].iloc[0], "long_name"]
    gain = worth["pgd_acc", pgd] - worth["clean_acc", pgd]
    loss = worth["clean_acc", "clean_acc"] - worth["pgd_acc", "clean_acc"]
    said.append(
        f"regularised evolution with {number} queries: selecting by PGD instead of clean accuracy changes PGD accuracy "
        f"by {gain:+.2f} and clean accuracy by {-loss:+.2f} points."
    )
    return said


def _readable(metric: str) -> str:
    name, _, eps = metric.partition("@")
    return NAMES.get(name, name) + (f" {eps}" if eps else "")
