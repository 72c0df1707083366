"""What follows from the numbers: a line per method, and sentences."""

from __future__ import annotations

from typing import Any

import pandas as pd

import nasbench_robust as nbr

KEYS = ["method", "strength", "order"]
PGD = "digits pgd_acc"


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
    without_none = _passing(groups, f"without none: {PGD}", "with none left out of the argmax, ")
    sentences = [_passing(groups, PGD, ""), without_none]
    empty = groups.apply(lambda rows: ((rows["skip_connect"] + rows["none"]) >= 5).mean())
    collapsed = [_name(key) for key, value in empty.items() if value > 0.5]
    if collapsed:
        sentences.append(f"at least 5 of 6 edges without a trained operation in most searches: {', '.join(collapsed)}")
    shares = fine["one-shot Spearman pgd_acc"]
    sentences.append(
        f"one-shot PGD accuracy ranks cells with a Spearman correlation of {shares.mean():.2f} in the mean "
        f"({shares.min():.2f} to {shares.max():.2f})"
    )
    return sentences


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
