"""The rules of the leaderboard, written down before any published accuracy was held against them in this form.

What was known when they were: how single scores rank published accuracies, and about eighty sums of them, digits
smoothed by gradient boosting among them, with one seed of initial weights and on every fourth cell. So the ingredients
of `MOONSHOT` are not innocent of published values. What is new in it, and chosen by what predicts held-out values of
digits alone, is the Gaussian process that smooths the digits table, and that scores of untrained cells are smoothed as
well. Weights are equal, and nothing in a rule depends on the data set but the images of its scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nasbench_robust.predict import log_rank_sum
from nasbench_robust.statistics import mean_rank

SMOOTHED = ", smoothed"
COUNT, PARAMETERS, DIGITS = "structure count", "parameters", "digits"
EVERY = "every proxy"  # all scores of untrained cells that are of no kernel and no counts


@dataclass(frozen=True)
class Rule:
    """A fixed aggregation: names of columns, and the function that makes one of them."""

    name: str
    parts: tuple[str, ...]
    combine: Callable[..., object]


def _log(*parts: str) -> Rule:
    return Rule(f"log ranks: {' + '.join(parts)}", parts, log_rank_sum)


def _mean(*parts: str) -> Rule:
    return Rule(f"mean rank: {' + '.join(parts)}", parts, mean_rank)


MOONSHOT = _log(DIGITS + SMOOTHED, COUNT, "jacob_cov" + SMOOTHED, "synflow" + SMOOTHED)
RULES = (
    MOONSHOT,
    _mean(*MOONSHOT.parts),
    _log(DIGITS, COUNT, "jacob_cov", "synflow"),  # what smoothing adds to
    _log(DIGITS + SMOOTHED, COUNT),  # what the package has without any table of scores
    _log(DIGITS + SMOOTHED, COUNT, PARAMETERS),
    _log(COUNT, PARAMETERS),
    _log(PARAMETERS, "jacob_cov", "synflow"),
    _log(COUNT, "jacob_cov" + SMOOTHED, "synflow" + SMOOTHED),  # nothing is trained
    _mean(EVERY),
    _log(EVERY),
    _log(EVERY + SMOOTHED),
    _log(EVERY + SMOOTHED, COUNT),
    _log(EVERY + SMOOTHED, COUNT, DIGITS + SMOOTHED),
)
# What the moonshot aims at: Spearman over all cells, the top half and the top tenth, and recall of the best tenth.
AIMS = {
    "cifar10": {"all": 0.95, "top half": 0.88, "top tenth": 0.65, "recall": 0.80},
    "cifar100": {"all": 0.93, "top half": 0.85, "top tenth": 0.50, "recall": 0.80},
    "ImageNet16-120": {"all": 0.88, "top half": 0.60, "top tenth": 0.58, "recall": 0.80},
}
