"""The difference of two independent samples of runs, cell by cell and in the mean, and what its error allows to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine_parity.runs import CELLS, Accuracies
from nasbench_robust.errors import MissingResultError
from tables import Floats

LEVEL, POWER = 0.95, 0.8  # of the intervals; of the difference that is called detectable
COLUMNS = ["metric", "cell", "label", "first", "second", "first_runs", "second_runs", "first_mean", "second_mean"]
COLUMNS += ["first_sd", "second_sd", "difference", "low", "high", "detectable"]
COLUMNS += ["variance_ratio", "variance_low", "variance_high"]


@dataclass(frozen=True)
class Estimate:
    """A sum of independent normal estimates: its value, and the variance of each part with its degrees of freedom."""

    value: float
    parts: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """Square of the standard error."""
        return sum(variance for variance, _ in self.parts)

    @property
    def freedom(self) -> float:
        """Degrees of freedom after Welch and Satterthwaite."""
        below = sum(variance**2 / freedom for variance, freedom in self.parts)
        return float(self.variance**2 / below) if below > 0 else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds of the 95 % interval."""
        half = self._quantile((1 + LEVEL) / 2) * math.sqrt(self.variance)
        return self.value - half, self.value + half

    @property
    def detectable(self) -> float:
        """The true value whose interval would have lain off zero with a probability of 80 %."""
        return (self._quantile((1 + LEVEL) / 2) + self._quantile(POWER)) * math.sqrt(self.variance)

    def _quantile(self, probability: float) -> float:
        from scipy import stats

        return float(stats.t.ppf(probability, self.freedom))


def difference(one: Floats, other: Floats) -> Estimate:
    """Return the difference of the means of two independent samples with variances of their own (Welch 1947)."""
    parts = tuple((sample.var(ddof=1) / len(sample), len(sample) - 1.0) for sample in (one, other))
    return Estimate(float(one.mean() - other.mean()), parts)


def pooled(one: Sequence[Floats], other: Sequence[Floats]) -> Estimate:
    """Return the difference of the means over cells, each cell with runs of the same seeds in the same order.

    Runs of one seed share their draws, whatever the cell, so they are not independent: every seed counts as one
    observation, its mean over the cells. Seeds that a cell lacks (nan) are left out.
    """
    sides = [np.mean(np.stack(samples), axis=0) for samples in (one, other)]
    means = [side[~np.isnan(side)] for side in sides]
    if min(map(len, means)) < 2:
        raise MissingResultError("there are no two seeds yet that every cell has by each engine")
    return difference(*means)


def variance_ratio(one: Sequence[Floats], other: Sequence[Floats]) -> tuple[float, float, float]:
    """Return the ratio of the mean variances within samples, and its 95 % interval (F distribution)."""
    from scipy import stats

    top, bottom = (
        Estimate(0.0, tuple((sample.var(ddof=1) / len(samples), len(sample) - 1.0) for sample in samples))
        for samples in (one, other)
    )
    if top.variance == 0 or bottom.variance == 0:
        return np.nan, np.nan, np.nan
    ratio = top.variance / bottom.variance
    low, high = (ratio / stats.f.ppf(p, top.freedom, bottom.freedom) for p in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))
    return ratio, float(low), float(high)


def summarise(runs: Accuracies, engines: Sequence[str]) -> pd.DataFrame:
    """Return a row for every metric and cell with at least two runs by each engine, and one of all cells together."""
    rows = []
    for metric in dict.fromkeys(key[1] for key in runs):
        whole, samples = {}, {}
        for cell in dict.fromkeys(key[2] for key in runs):
            both = [runs[engine, metric, cell] for engine in engines]
            first, second = (side[~np.isnan(side)] for side in both)
            if min(len(first), len(second)) >= 2:
                whole[cell], samples[cell] = both, (first, second)
        if not samples:
            raise MissingResultError("no cell has two runs by each engine yet")
        for cell, pair in samples.items():
            rows.append([metric, str(cell), CELLS.get(cell, ""), *engines, *_numbers([pair], difference(*pair))])
        together = _numbers(list(samples.values()), pooled(*zip(*whole.values(), strict=True)))
        rows.append([metric, "all", f"mean of {len(samples)} cells", *engines, *together])
    return pd.DataFrame(rows, columns=COLUMNS)


def _numbers(samples: Sequence[tuple[Floats, Floats]], estimate: Estimate) -> list[Any]:
    """Return numbers of runs, means over cells, standard deviations within cells, the difference, the variances."""
    first, second = zip(*samples, strict=True)
    sides = (first, second)
    return [
        *(sum(map(len, side)) for side in sides),
        *(np.mean([sample.mean() for sample in side]) for side in sides),
        *(np.sqrt(np.mean([sample.var(ddof=1) for sample in side])) for side in sides),
        *(estimate.value, *estimate.interval, estimate.detectable),
        *variance_ratio(first, second),
    ]
