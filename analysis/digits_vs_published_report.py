"""The figure and the conclusion of digits_vs_published.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import style

from nasbench_robust import cells
from nasbench_robust import statistics as st

if TYPE_CHECKING:
    from digits_vs_published import Tables

HEADLINE = ("cifar10", "pgd_acc@8/255")
NOISE = "what noise allows digits"


class Answers:
    """Look-up of single statistics about the headline: one published column, one digits column."""

    def __init__(self, tables: Tables, results: pd.DataFrame) -> None:
        self.target = HEADLINE if HEADLINE in tables.targets else next(iter(tables.targets))
        self.digits, self.both = tables.headline, f"{tables.headline} + parameters"
        self.subsets = list(dict.fromkeys(results["subset"]))
        keys = ["dataset", "metric", "subset", "predictor", "statistic"]
        self._rows = results.set_index(keys).sort_index()

    def row(self, subset: str, predictor: str, statistic: str) -> pd.Series[Any]:
        """Return cells, value, low, high."""
        return self._rows.loc[(*self.target, subset, predictor, statistic)]

    def interval(self, subset: str, predictor: str, statistic: str) -> st.Interval:
        """Return value and bounds."""
        row = self.row(subset, predictor, statistic)
        return st.Interval(row["value"], row["low"], row["high"])

    def value(self, subset: str, predictor: str, statistic: str) -> float:
        """Return the value alone."""
        return float(self.row(subset, predictor, statistic)["value"])


def same_ranks(tables: Tables) -> bool:
    """Return whether FLOPs rank the cells exactly as parameters do."""
    one, other = (st.ranks(column) for column in tables.baselines.values())
    return bool((one == other).all())


# ------------------------------------------------------------------ figure


def draw(tables: Tables, results: pd.DataFrame, path: Path) -> list[Path]:
    """Draw the scatter of the headline and its correlations; return the files."""
    answers = Answers(tables, results)
    figure, (left, right) = style.new_figure(6.9, 3.2, ncols=2, width_ratios=(1.1, 1))
    _scatter(left, tables, answers, figure)
    _correlations(right, tables, answers)
    handles, labels = right.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda position: labels[position].startswith(NOISE))
    figure.legend(
        [handles[position] for position in order],
        [labels[position] for position in order],
        loc="outside lower center",
        ncols=len(order),
        handlelength=1.8,
        columnspacing=1.6,
    )
    return style.save_figure(figure, path)


def _scatter(axes: Any, tables: Tables, answers: Answers, figure: Any) -> None:
    shown = cells.connected()[tables.index]
    x, y = 100 * tables.digits[answers.digits], 100 * tables.targets[answers.target]
    order = np.random.default_rng(0).permutation(np.flatnonzero(shown))  # no group of cells on top of the others
    millions = tables.baselines["parameters"][order] / 1e6
    dots = axes.scatter(x[order], y[order], c=millions, s=2.5, cmap="viridis", linewidths=0, rasterized=True)
    bar = figure.colorbar(dots, ax=axes, pad=0.02, aspect=30)
    bar.set_label("parameters (million)")
    bar.outline.set_visible(False)
    for fraction, label in ((0.1, "top tenth"), (0.5, "top half")):
        cut = y[st.top_fraction(y, fraction)].min()
        axes.axhline(cut, color=style.GREY, linewidth=0.6, linestyle=(0, (4, 3)), zorder=0)
        ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3}
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate(label, (0, cut), (2, 2.5), fontsize=7, color=style.GREY, bbox=ground, **place)
    if not shown.all():
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.16 * (high - low), high)  # room for the note below the dots
        note = f"{(~shown).sum()} cells without a path\nfrom input to output\nlie at chance, not shown"
        axes.annotate(note, (0, 0), (3, 3), "axes fraction", "offset points", fontsize=7, color=style.GREY)
    axes.set_xlabel(f"digits, {_readable(answers.digits)} (%)")
    axes.set_ylabel(f"{_readable_set(answers.target[0])}, {_readable(answers.target[1])} (%)")
    axes.set_title(f"a   {len(x):,} cells")


def _correlations(axes: Any, tables: Tables, answers: Answers) -> None:
    baseline = "parameters or FLOPs" if same_ranks(tables) else "parameters"
    series = [
        (answers.digits, f"digits {_readable(answers.digits, short=True)}", style.BLUE, "o"),
        ("parameters", baseline, style.VERMILION, "s"),
        (answers.both, "mean rank of both", style.GREEN, "D"),
    ]
    if not same_ranks(tables):
        series.insert(2, ("flops", "FLOPs", style.ORANGE, "^"))
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * 0.2
    for offset, (predictor, label, colour, marker) in zip(offsets, series, strict=True):
        found = [answers.interval(subset, predictor, "spearman") for subset in answers.subsets]
        place = np.arange(len(found)) + offset
        value = np.array([interval.value for interval in found])
        bounds = np.array([[interval.value - interval.low, interval.high - interval.value] for interval in found]).T
        axes.errorbar(
            place,
            value,
            np.maximum(bounds, 0),
            fmt=marker,
            color=colour,
            markersize=4,
            capsize=2,
            elinewidth=1,
            capthick=1,
            label=label,
        )
    for place, subset in enumerate(answers.subsets):
        top = answers.value(subset, answers.digits, "ceiling")
        if math.isnan(top):
            continue
        label = NOISE if place == 0 else None
        axes.plot([place - 0.32, place + 0.32], [top, top], color=style.GREY, linewidth=1, linestyle=":", label=label)
    counts = [int(answers.row(subset, "parameters", "spearman")["cells"]) for subset in answers.subsets]
    names = [f"{subset}\n{count:,}" for subset, count in zip(answers.subsets, counts, strict=True)]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
    axes.axhline(0, color="black", linewidth=0.6, zorder=0)
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("cells, by the published column")
    axes.set_ylabel(r"Spearman's $\rho$, 95 % interval")
    aim = f"{_readable_set(answers.target[0])} {_readable(answers.target[1], short=True)}"
    axes.set_title(f"b   Rank correlation with {aim}")


def _readable(metric: str, *, short: bool = False) -> str:
    name, _, eps = metric.partition("@")
    words = {"clean_acc": "clean", "fgsm_acc": "FGSM", "pgd_acc": "PGD", "autoattack_acc": "AutoAttack"}
    word = words.get(name, name)
    if short:
        return word
    return f"{word} accuracy" + (f" at eps {eps}" if eps else "")


def _readable_set(dataset: str) -> str:
    return {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}.get(dataset, dataset)


# ------------------------------------------------------------------ conclusion


def print_conclusion(tables: Tables, results: pd.DataFrame) -> None:
    """Print the headline's numbers and what follows from them."""
    answers = Answers(tables, results)
    seeds = f"seeds {', '.join(map(str, tables.seeds))}" if tables.seeds else "no single seeds"
    print(
        f"{tables.names[0]} against {tables.names[1]}: {len(tables.index):,} cells that both have; test split; {seeds}"
    )
    print(f"{answers.digits} on digits against {answers.target[1]} on {answers.target[0]}, Spearman, 95 % intervals:")
    for subset in answers.subsets:
        print(f"  {subset}, {int(answers.row(subset, 'parameters', 'spearman')['cells']):,} cells")
        for label, predictor, statistic in (
            ("digits", answers.digits, "spearman"),
            ("parameters", "parameters", "spearman"),
            ("digits minus parameters", answers.digits, "spearman - parameters"),
            ("digits given parameters", answers.digits, "spearman given parameters"),
            ("mean rank of both", answers.both, "spearman"),
            ("both minus parameters", answers.both, "spearman - parameters"),
        ):
            print(f"    {label:24} {answers.interval(subset, predictor, statistic)}")
        top = answers.value(subset, answers.digits, "ceiling")
        print(f"    {'ceiling from noise':24} {'not known' if math.isnan(top) else f'{top:.3f}'}")
    print()
    for sentence in _sentences(tables, results, answers):
        print(f"- {sentence}")


def _sentences(tables: Tables, results: pd.DataFrame, answers: Answers) -> list[str]:
    found = [_verdict(answers, subset) for subset in answers.subsets]
    if same_ranks(tables):
        found.append("FLOPs rank these cells exactly as parameters do: the two are one baseline.")
    found.append(_columns(tables, answers))
    found.append(_tally(results, answers))
    found.append(_noise(answers))
    lost = [
        f"{label} {100 * answers.value('all', name, 'regret of the best of 1'):.2f}"
        for label, name in (
            ("digits", answers.digits),
            ("parameters", "parameters"),
            ("both", answers.both),
            ("chance", "chance"),
        )
    ]
    what = f"points of {answers.target[1]} on {answers.target[0]}"
    found.append(f"Training only the cell that a predictor likes best loses, in {what}: {', '.join(lost)}.")
    return found


def _verdict(answers: Answers, subset: str) -> str:
    where = {"all": "Over all cells", "top half": "In the top half", "top tenth": "In the top tenth"}.get(
        subset, subset
    )
    gain = answers.interval(subset, answers.digits, "spearman - parameters")
    given = answers.interval(subset, answers.digits, "spearman given parameters")
    ranking = _choose(gain, "ranks better than", "ranks worse than", "cannot be told apart from")
    adding = _choose(
        given, "adds to it", "even points the wrong way once it is known", "adds nothing that could be told from zero"
    )
    return f"{where}, digits {ranking} the parameter count ({gain}), and {adding} ({given})."


def _choose(interval: st.Interval, above: str, below: str, neither: str) -> str:
    return above if interval.low > 0 else below if interval.high < 0 else neither


def _columns(tables: Tables, answers: Answers) -> str:
    rho = {name: answers.value("all", name, "spearman") for name in tables.digits}
    listed = ", ".join(f"{name} {value:.3f}" for name, value in sorted(rho.items(), key=lambda item: -item[1]))
    return f"Of the digits columns, over all cells: {listed}."


def _tally(results: pd.DataFrame, answers: Answers) -> str:
    """Count over all published columns how often an interval lies on either side of zero."""
    parts = []
    for subset in answers.subsets:
        mine = results[(results["subset"] == subset) & (results["predictor"] == answers.digits)]
        gains = mine[mine["statistic"] == "spearman - parameters"]
        given = mine[mine["statistic"] == "spearman given parameters"]
        parts.append(
            f"{subset} {(gains['low'] > 0).sum()} better, {(gains['high'] < 0).sum()} worse, "
            f"of use beside it {(given['low'] > 0).sum()}"
        )
    total = len(results[["dataset", "metric"]].drop_duplicates())
    return (
        f"{answers.digits} against the parameter count over all {total} published columns "
        f"(intervals off zero, each on its own, none corrected for their number): {'; '.join(parts)}."
    )


def _noise(answers: Answers) -> str:
    parts = []
    for subset in answers.subsets:
        rho, top = (answers.value(subset, answers.digits, name) for name in ("spearman", "ceiling"))
        parts.append(f"{subset} {rho:.2f} of {top:.2f}")
    if math.isnan(top):
        return "With one seed per cell, the noise of the digits columns is not known."
    return (
        "If digits and the published column measured the same thing, their noise would still keep the correlation "
        f"below about: {', '.join(parts)}."
    )
