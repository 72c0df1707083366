"""The figure and the conclusion of robust_search.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import style

import nasbench_robust as nbr

KEYS = ["method", "strength", "order"]
LOOKS = {
    ("darts", 0.0, 1): ("DARTS", style.GREY, "-"),
    ("darts", 0.0, 2): ("DARTS, second order", style.GREY, "--"),
    ("gdas", 0.0, 1): ("GDAS", style.PURPLE, "-"),
    ("rnas-like-v1", 1.0, 1): ("RNAS-like, V1", style.BLUE, "-"),
    ("dsrna-like-jacobian", 0.01, 1): ("DSRNA-like, Jacobian", style.ORANGE, "-"),
    ("dsrna-like-certified", 0.01, 1): ("DSRNA-like, certified", style.VERMILION, "-"),
    ("arnas-s", 0.1, 2): ("ARNAS-S", style.GREEN, "-"),
}
SWEEPS = {
    "rnas-like-v1": ("RNAS-like, V1 (\N{GREEK SMALL LETTER LAMDA})", style.BLUE),
    "dsrna-like-jacobian": ("DSRNA-like, Jacobian (\N{GREEK SMALL LETTER GAMMA})", style.ORANGE),
    "dsrna-like-certified": ("DSRNA-like, certified (\N{GREEK SMALL LETTER GAMMA})", style.VERMILION),
}
PGD = "digits pgd_acc"


# ------------------------------------------------------------------ figure


def draw(results: pd.DataFrame, curves: pd.DataFrame, path: Path) -> list[Path]:
    """Draw collapse curves, what the cells are made of, the sweeps and ARNAS's weight; return the files."""
    figure, axes = style.new_figure(6.9, 5.4, nrows=2, ncols=2)
    _collapse(axes[0, 0], results, curves)
    _emptiness(axes[0, 1], curves)
    _sweeps(axes[1, 0], results)
    _shares(axes[1, 1], curves)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1.4, handlelength=1.8)
    return style.save_figure(figure, path)


def _collapse(axes: Any, results: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Draw the mean over seeds of the PGD accuracy of the argmax cell, epoch by epoch."""
    for label, colour, line, rows in _shown(curves):
        mean = rows.groupby("epoch")[PGD].mean()
        axes.plot(mean.index, 100 * mean, line, color=colour, linewidth=1.3, label=label)
    low, high = 100 * results["random search"].min(), 100 * results["random search"].max()
    axes.axhspan(low, high, color=style.GREY, alpha=0.25, linewidth=0, label="random search at equal cost")
    axes.set_title("a   What the argmax cell is worth")
    axes.set_ylabel("its PGD accuracy in the table (%)")
    _epoch_axis(axes)


def _emptiness(axes: Any, curves: pd.DataFrame) -> None:
    """Draw the mean over seeds of the number of edges without an operation that is trained."""
    for _, colour, line, rows in _shown(curves):
        empty = (rows["skip_connect"] + rows["none"]).groupby(rows["epoch"]).mean()
        axes.plot(empty.index, empty, line, color=colour, linewidth=1.3)
    axes.set_title("b   Collapse")
    axes.set_ylabel("edges with skip or none, of 6")
    axes.set_ylim(-0.2, 6.2)
    _epoch_axis(axes)


def _shown(curves: pd.DataFrame) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Return label, colour, line and rows of the methods that are drawn and that were searched."""
    groups = dict(iter(curves.groupby(KEYS)))
    return [(*look, groups[key]) for key, look in LOOKS.items() if key in groups]


def _epoch_axis(axes: Any) -> None:
    axes.set_xlabel("epoch of the search")
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def _sweeps(axes: Any, results: pd.DataFrame) -> None:
    """Draw PGD accuracy of the cells found against the weight of the second term: every seed, and the mean."""
    baseline = results[(results["method"] == "darts") & (results["order"] == 1)][PGD] if PGD in results else []
    for method, (label, colour) in SWEEPS.items():
        rows = results[(results["method"] == method) & (results["strength"] > 0)]
        if not len(rows) or PGD not in rows:
            continue
        axes.plot(rows["strength"], 100 * rows[PGD], "o", color=colour, markersize=3, alpha=0.5)
        mean = rows.groupby("strength")[PGD].mean()
        axes.plot(mean.index, 100 * mean, "-", color=colour, linewidth=1.3, label=label)
    if len(baseline):
        axes.axhline(100 * baseline.mean(), color=style.GREY, linewidth=1.3, label="DARTS, first order")
    axes.set_xscale("log")
    axes.set_title("c   Weight of the second term")
    axes.set_xlabel("\N{GREEK SMALL LETTER LAMDA} or \N{GREEK SMALL LETTER GAMMA}")
    axes.set_ylabel("PGD accuracy of the cell found (%)")
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.4))
    axes.grid(color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)


def _shares(axes: Any, curves: pd.DataFrame) -> None:
    """Draw the natural gradient's share of ARNAS's direction."""
    axes.set_title("d   The two gradients of ARNAS-S")
    rows = curves[curves["method"] == "arnas-s"]
    for (strength, order), part in rows.groupby(["strength", "order"]):
        share = part.groupby("epoch")["natural_share"].mean()
        line = "-" if order == 2 else "--"
        colour = style.GREEN if strength < 1 else style.BLUE
        axes.plot(share.index, share, line, color=colour, linewidth=1.3, label=f"factor {strength:g}, order {order}")
    axes.set_ylabel("share of the clean gradient, t")
    axes.set_ylim(-0.02, 1.02)
    if len(rows):
        axes.legend(loc="center right")
    _epoch_axis(axes)


# ------------------------------------------------------------------ conclusion


def print_conclusion(results: pd.DataFrame, digits: nbr.Benchmark) -> None:
    """Print a line per method and what follows."""
    seeds = int(digits.metrics()["seeds"].max())
    runs = "the one seed" if seeds == 1 else f"{seeds} seeds"
    print(f"PGD accuracy on digits' test images (means of {runs} there are), %: the argmax cell of every search")
    head = f"{'method':22}{'strength':>9}{'order':>6}  {'cells found':30}{'mean':>7}{'no none':>9}"
    print(f"{head}{'cifar10':>9}{'one-shot':>10}{'cost':>7}{'random':>15}{'seconds':>9}")
    for key, rows in results.groupby(KEYS, sort=False):
        _print_method(key, rows)
    print(
        "\nno none: the argmax among the other operations. cifar10: published PGD accuracy at 8/255 of the cells found."
        "\none-shot: Spearman correlation of the supernet's one-shot PGD accuracy with the table. cost: how many cells"
        "\ncould be trained with the search's operations; random: what random search finds by them,"
        "\nor by one where that is none, +- its deviation.\n"
    )
    for sentence in _sentences(results):
        print(f"- {sentence}")


def _print_method(key: Any, rows: pd.DataFrame) -> None:
    method, strength, order = key
    fine = rows[rows["failure"].isna()]
    start = f"{method:22}{strength:9g}{order:6d}  "
    if not len(fine):
        print(f"{start}diverged in all {len(rows)} searches")
        return
    cells = " ".join(f"{int(index)}:{100 * value:.1f}" for index, value in zip(fine["index"], fine[PGD], strict=True))
    diverged = f" ({len(rows) - len(fine)} diverged)" if len(fine) < len(rows) else ""
    means = [100 * fine[name].mean() for name in (PGD, f"without none: {PGD}", "cifar10 pgd_acc@8/255")]
    random = f"{100 * fine['random search'].iloc[0]:.1f} +- {100 * fine['random search std'].iloc[0]:.1f}"
    print(
        f"{start}{cells + diverged:30}{means[0]:7.1f}{means[1]:9.1f}{means[2]:9.1f}"
        f"{fine['one-shot Spearman pgd_acc'].mean():10.2f}{fine['trainings at equal cost'].iloc[0]:7.1f}{random:>15}"
        f"{fine['seconds'].mean():9.0f}"
    )


def _sentences(results: pd.DataFrame) -> list[str]:
    """Return what the rows say: which methods pass random search at equal cost, which cells are empty."""
    fine = results[results["failure"].isna()]
    if not len(fine):
        return ["every search diverged"]
    groups = fine.groupby(KEYS, sort=False)
    found = [_passing(groups, PGD, ""), _passing(groups, f"without none: {PGD}", "with none left out of the argmax, ")]
    empty = groups.apply(lambda rows: ((rows["skip_connect"] + rows["none"]) >= 5).mean())
    collapsed = [_name(key) for key, value in empty.items() if value > 0.5]
    if collapsed:
        found.append(f"at least 5 of 6 edges without a trained operation in most searches: {', '.join(collapsed)}")
    shares = fine["one-shot Spearman pgd_acc"]
    found.append(
        f"one-shot PGD accuracy ranks cells with a Spearman correlation of {shares.mean():.2f} in the mean "
        f"({shares.min():.2f} to {shares.max():.2f})"
    )
    return found


def _passing(groups: Any, column: str, start: str) -> str:
    """Say which methods pass random search at equal cost in the mean over seeds, by the accuracies of a column."""
    gain = groups.apply(lambda rows: rows[column].mean() - rows["random search"].iloc[0])
    above = [_name(key) for key, value in gain.items() if value > 0]
    end = "random search at equal cost in the mean over seeds"
    if not above:
        return f"{start}none of {len(gain)} passes {end}"
    verb = "passes" if len(above) == 1 else "pass"
    return f"{start}{len(above)} of {len(gain)} {verb} {end}: {', '.join(above)}"


def _name(key: Any) -> str:
    method, strength, order = key
    return f"{method} ({strength:g}, order {order})"
