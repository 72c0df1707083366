"""The scales of the Gaussian process over cells, chosen again: from accuracies of digits alone.

A scale says how far apart two cells are that differ in one group of columns: live operations, paths, counts. The signal
has variance 1, as normal scores have. Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, sections
5.4.1 (likelihood) and 5.4.2 (leave one out).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

import nasbench_robust as nbr
from nasbench_robust import cells, predict
from nasbench_robust import statistics as st
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.predict.gaussian import covariance
from nasbench_robust.predict.paths import SCALES, feature_groups
from nasbench_robust.predict.ranking import DIGITS, SPLITS
from predictors.columns import CELLS
from tables import Floats

FAMILIES = 800  # as many as the package's scales are from
NAMES = ("edge", "path", "count")
PACKAGE = "package"


def choose(digits: nbr.Benchmark, draws: int, size: int, seed: int) -> pd.DataFrame:
    """Return a row for every sample of families and criterion, and one for the package's scales on that sample.

    Parameters
    ----------
    digits : Benchmark
        Of the digits table.
    draws, size, seed : int
        How many samples, of how many families each, and from which draws.

    Returns
    -------
    DataFrame
        ``draw``, ``chosen by``, the scales ``edge``, ``path`` and ``count``, ``noise`` in units of the signal's
        variance; ``leave one out`` and ``likelihood``, means per family of the logarithm, both on the sample; and of
        the families outside it ``error``, the root mean squared one in normal scores, and ``spearman``.
    """
    family, values, members = smoothed_target(digits)
    if size > len(family) - 3:
        most = len(family) - 3
        raise InvalidValueError("families", size, f"at most {most}, so that some are left to predict", str(most))
    rng, rows = np.random.default_rng(seed), []
    groups = [group[family] for group in feature_groups()]
    for draw in range(draws):
        inside = np.isin(np.arange(len(family)), rng.permutation(len(family))[:size])
        part = [group[inside] for group in groups]
        of_sample = {name: partial(make, part, values[inside], members[inside]) for name, make in CRITERIA.items()}
        for name in (*CRITERIA, PACKAGE):
            theta = _best(of_sample[name]) if name in CRITERIA else _best_noise(of_sample["leave one out"])
            row = {"draw": draw, "chosen by": name, **dict(zip((*NAMES, "noise"), np.exp(theta), strict=True))}
            row |= {criterion: value(theta) for criterion, value in of_sample.items()}
            rows.append(row | _outside(groups, values, members, inside, theta))
    return pd.DataFrame(rows)


def smoothed_target(digits: nbr.Benchmark) -> tuple[np.ndarray, Floats, Floats]:
    """Return families, and of each what `predict.smoothed_digits` is made of: mean normal score, number of cells."""
    columns = [predict.normal_scores(digits.values("digits", DIGITS, split=split)[CELLS]) for split in SPLITS]
    family, member = np.unique(cells.families()[CELLS], return_inverse=True)
    members = np.bincount(member).astype(np.float64)
    scores = predict.normal_scores(np.mean(columns, axis=0))
    return family, np.bincount(member, weights=scores) / members, members


# ------------------------------------------------------------------ criteria, to be maximised


def _leave_one_out(groups: list[Floats], values: Floats, members: Floats, theta: Floats) -> float:
    inverse, left = _solved(groups, values, members, theta)
    variance = 1 / np.diag(inverse)  # of a family's value given those of the others, its own noise included
    return float(-0.5 * np.mean(np.log(2 * np.pi * variance) + variance * (inverse @ left) ** 2))


def _likelihood(groups: list[Floats], values: Floats, members: Floats, theta: Floats) -> float:
    inverse, left = _solved(groups, values, members, theta)
    logarithms = len(left) * np.log(2 * np.pi) - np.linalg.slogdet(inverse).logabsdet
    return float(-0.5 * (logarithms + left @ inverse @ left) / len(left))


CRITERIA: dict[str, Callable[..., float]] = {"leave one out": _leave_one_out, "likelihood": _likelihood}


def _solved(groups: list[Floats], values: Floats, members: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """Return the inverse of the covariance, the signal's variance being 1, and values minus their constant mean."""
    rows = _scaled(groups, theta)
    inverse = np.linalg.inv(covariance(rows, rows) + np.diag(np.exp(theta[-1]) / members))
    return inverse, values - inverse.sum(axis=0) @ values / inverse.sum()


def _scaled(groups: list[Floats], theta: Floats) -> Floats:
    return np.hstack([scale * group for scale, group in zip(np.exp(theta[:-1]), groups, strict=True)])


# ------------------------------------------------------------------ choices


def _best(criterion: Callable[[Floats], float]) -> Floats:
    """Return the logarithms of scales and noise that maximise a criterion, from a start that is not the package's."""
    from scipy.optimize import minimize

    start = np.log([0.3, 0.3, 0.3, 0.1])
    bounds = [(np.log(1e-3), np.log(10.0))] * len(start)
    found: Floats = minimize(lambda theta: -criterion(theta), start, method="L-BFGS-B", bounds=bounds).x
    return found


def _best_noise(criterion: Callable[[Floats], float]) -> Floats:
    """Return the package's scales with the noise that suits them."""
    from scipy.optimize import minimize_scalar

    def with_noise(noise: float) -> Floats:
        return np.append(np.log(SCALES), noise)

    best = minimize_scalar(lambda noise: -criterion(with_noise(noise)), bounds=np.log([1e-3, 10.0]), method="bounded")
    return with_noise(best.x)


def _outside(
    groups: list[Floats], values: Floats, members: Floats, inside: np.ndarray, theta: Floats
) -> dict[str, float]:
    rows = _scaled(groups, theta)
    told = predict.Posterior(rows[inside], values[inside], members[inside], noise=float(np.exp(theta[-1])))
    guessed, true = told.mean(rows[~inside]), values[~inside]
    return {"error": float(np.sqrt(np.mean((guessed - true) ** 2))), "spearman": st.spearman(guessed, true)}


# ------------------------------------------------------------------ in words


def scales_table(chosen: pd.DataFrame) -> list[str]:
    """Return the lines of a table: medians over samples of every choice, with the smallest and largest scale."""
    lines = [
        f"| chosen by | {' | '.join(NAMES)} | noise | error outside | rho outside |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, part in chosen.groupby("chosen by", sort=False):
        scales = [_short(part[key].median()) for key in NAMES]
        if name != PACKAGE:
            scales = [f"{scale} [{_range(part[key])}]" for scale, key in zip(scales, NAMES, strict=True)]
        rest = [_short(part[key].median()) for key in ("noise", "error", "spearman")]
        lines.append(f"| {name} | {' | '.join([*scales, *rest])} |")
    return lines


def _range(column: pd.Series[float]) -> str:
    return f"{_short(column.min())}, {_short(column.max())}"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
