"""Searches that may stop a training, beside those that may not: what they are worth for the epochs that they spend."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import cells, search
from nasbench_robust import statistics as st
from search_comparison.compute import POINTS, STATISTICS, statistics

WHOLE = ("random search", "regularised evolution", "local search, first improvement")  # train every cell to the end
METHODS = {**search.EPOCH_SEARCHERS, **{name: search.SEARCHERS[name] for name in WHOLE}}
COLUMNS = ["table", "version", "method", "epochs", *STATISTICS]


def compare_by_epochs(bench: nbr.Benchmark, repeats: int, epochs: int, seed: int) -> pd.DataFrame:
    """Return the test regret of every method along the epochs that it spent.

    Searches see the PGD accuracy of the curves, on validation images. The incumbent is the cell with the best of them
    among those trained the farthest; its regret is what its PGD accuracy on test images, mean over seeds, is below the
    best of the table.
    """
    problem = search.TableProblem(bench, "pgd_acc", fidelity="epoch")
    whole = problem.curve.shape[1]
    grid = np.unique(np.geomspace(whole, epochs, POINTS).round().astype(np.int64)).tolist()
    rows = []
    for name, method in METHODS.items():
        searches = search.repeat(problem, method.make, search.Budget(epochs=epochs), repeats=repeats, seed=seed)
        regrets = np.array(list(_regrets(searches, problem, grid)))
        rows += [
            (bench.name, bench.info.version, name, number, *statistics(values))
            for number, values in zip(grid, regrets.T, strict=True)
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _regrets(searches: search.Repeats, problem: search.TableProblem, grid: list[int]) -> Iterator[np.ndarray]:
    """Yield by search what its incumbents miss on test images, after so many epochs each."""
    test = problem.judge("pgd_acc", split="test")
    for one in searches.trajectories:
        place = np.searchsorted(one.epochs, grid, side="right") - 1
        yield np.nanmax(test) - test[one.incumbents[np.maximum(place, 0)]]


def print_epochs(results: pd.DataFrame, bench: nbr.Benchmark) -> None:
    """Print the regrets, which share of the epochs of random search each method spends for the same one, and why."""
    table, most = results["table"].iloc[0], int(results["epochs"].max())
    means = results.pivot_table(index="method", columns="epochs", values="mean", sort=False)
    shown = [int(means.columns[np.abs(means.columns - most * share).argmin()]) for share in (0.05, 0.1, 0.25, 0.5, 1)]
    print(f"\n{table}: PGD accuracy on test images below the best cell, points, after so many epochs of training")
    print(f"  {'method':33}" + "".join(f"{number:>8}" for number in shown))
    for method in means.index:
        print(f"  {method:33}" + "".join(f"{100 * means.loc[method, number]:8.2f}" for number in shown))
    target = means.loc["random search"].iloc[-1]
    print()
    for method in means.index.drop("random search"):
        reached = means.columns[means.loc[method] <= target]
        if len(reached):
            does = f"spends {reached[0] / most:.0%} of the epochs of random search ({reached[0]} of {most})"
        else:
            does = f"is at {100 * means.loc[method].iloc[-1]:.2f} points after all {most} epochs, and so not there"
        print(f"- for equal test regret, {100 * target:.2f} points, {method} on {table} {does}.")
    _print_foresight(bench)


def _print_foresight(bench: nbr.Benchmark) -> None:
    """Print how well PGD accuracy after some epochs ranks the cells by that on test images after the whole training."""
    curve, test = bench.curve_values(name="pgd_acc"), bench.values(metric="pgd_acc")
    shown = (cells.representatives() == np.arange(cells.SIZE)) & cells.connected()
    curve, test = curve[shown], test[shown]
    top = st.top_fraction(test, 0.1)
    for words, chosen in (("connected cells", np.ones(len(test), bool)), ("the best tenth", top)):
        ranked = {epoch: st.spearman(curve[chosen, epoch - 1], test[chosen]) for epoch in (1, 2, 7, curve.shape[1])}
        listed = ", ".join(f"{rho:.2f} after {epoch}" for epoch, rho in ranked.items())
        print(f"- rank correlation of the curve with the final test accuracy, {words}, by epochs: {listed}.")
