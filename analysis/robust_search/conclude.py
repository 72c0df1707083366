"""What follows from the numbers: a line per method, and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from nasbench_robust import statistics as st
from robust_search.compute import Judge
from robust_search.searches import DIGITS, Study

KEYS = ["method", "strength", "order"]
ON_DIGITS = Path(__file__).parents[1] / "results" / f"{DIGITS.name}.csv"
LANDMARKS = (10, 100)  # cells that random search trains


def print_conclusion(results: pd.DataFrame, judge: Judge) -> None:
    """Print a line per method and what follows."""
    study, seeds = judge.study, int(judge.table.metrics()["seeds"].max())
    runs = "the one run" if seeds == 1 else f"{seeds} seeds"
    other = study.other.partition(" ")[0]
    print(
        f"PGD accuracy on {study.dataset}'s test images (means of {runs} there are), %: the argmax cell of every search"
    )
    head = (
        f"{'method':22}{'strength':>9}{'order':>6}  {'cells found':30}{'mean':>7}{'no none':>9}{'skip':>6}{'none':>6}"
    )
    print(f"{head}{other:>9}{'one-shot':>10}{'cost':>8}{'random':>15}{'seconds':>9}")
    for key, rows in results.groupby(KEYS, sort=False):
        _print_method(key, rows, study)
    print(
        "\nno none: the argmax among the other operations. skip, none: edges of the argmax cell, of 6, that have them."
        f"\n{other}: PGD accuracy of the cells found in the table of {other}. one-shot: Spearman correlation of the"
        "\nsupernet's one-shot PGD accuracy with the table. cost: how many cells could be trained, by the protocol of"
        "\nthe table, with the search's operations; random: what random search finds by them, or by one where that is"
        "\nnone, +- its deviation.\n"
    )
    for sentence in _sentences(results, judge):
        print(f"- {sentence}")


def _print_method(key: Any, rows: pd.DataFrame, study: Study) -> None:
    method, strength, order = key
    fine = rows[rows["failure"].isna()]
    start = f"{method:22}{strength:9g}{order:6d}  "
    if not len(fine):
        print(f"{start}diverged in all {len(rows)} searches")
        return
    found = zip(fine["index"], fine[study.pgd], strict=True)
    cells = " ".join(f"{int(index)}:{100 * value:.1f}" for index, value in found)
    diverged = f" ({len(rows) - len(fine)} diverged)" if len(fine) < len(rows) else ""
    mean, without_none, elsewhere = (
        100 * fine[name].mean() for name in (study.pgd, f"without none: {study.pgd}", study.other)
    )
    random = f"{100 * fine['random search'].iloc[0]:.1f} +- {100 * fine['random search std'].iloc[0]:.1f}"
    print(
        f"{start}{cells + diverged:30}{mean:7.1f}{without_none:9.1f}{fine['skip_connect'].mean():6.1f}"
        f"{fine['none'].mean():6.1f}{elsewhere:9.1f}{fine['one-shot Spearman pgd_acc'].mean():10.2f}"
        f"{fine['trainings at equal cost'].iloc[0]:8.2g}{random:>15}{fine['seconds'].mean():9.0f}"
    )


def _sentences(results: pd.DataFrame, judge: Judge) -> list[str]:
    """Return what the rows say: which methods pass random search at equal cost, which cells are empty."""
    fine, pgd = results[results["failure"].isna()], judge.study.pgd
    if not len(fine):
        return ["every search diverged"]
    groups = fine.groupby(KEYS, sort=False)
    without_none = _passing(groups, f"without none: {pgd}", "with none left out of the argmax, ")
    sentences = [_passing(groups, pgd, ""), without_none]
    found = ", ".join(f"{100 * judge.random_search(cells)[0]:.1f} % by {cells} cells" for cells in LANDMARKS)
    sentences.append(f"random search finds {found} that it trains")
    empty = groups.apply(lambda rows: ((rows["skip_connect"] + rows["none"]) >= 5).mean())
    collapsed = [_name(key) for key, value in empty.items() if value > 0.5]
    if collapsed:
        sentences.append(f"at least 5 of 6 edges without a trained operation in most searches: {', '.join(collapsed)}")
    shares = fine["one-shot Spearman pgd_acc"]
    sentences.append(
        f"one-shot PGD accuracy ranks cells with a Spearman correlation of {shares.mean():.2f} in the mean "
        f"({shares.min():.2f} to {shares.max():.2f})"
    )
    if judge.study is not DIGITS:
        sentences.append(_order(groups[pgd].mean()))
    return sentences


def _order(means: pd.Series[float]) -> str:
    """Say in which order the methods stand, by the mean PGD accuracy of the cells found, and in which on digits."""
    digits = pd.read_csv(ON_DIGITS).groupby(KEYS)[DIGITS.pgd].mean()
    both = pd.DataFrame({"here": means, "digits": digits}).dropna().sort_values("here", ascending=False)
    places = both["digits"].rank(ascending=False, method="min").astype(int)
    order = ", ".join(f"{_name(key)} {place}" for key, place in places.items())
    agreement = f", Spearman {st.spearman(both['here'], both['digits']):.2f}" if len(both) > 2 else ""
    return f"best first, with the place that the same settings have on digits{agreement}: {order}"


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
