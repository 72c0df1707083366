"""The scales of the Gaussian process, chosen again: criteria are their definitions, true scales are found."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

stats = pytest.importorskip("scipy.stats")
pytest.importorskip("sklearn")
ROOT = Path(__file__).parents[2]

from nasbench_robust import cells
from nasbench_robust.predict import features
from nasbench_robust.predict.paths import SCALES, feature_groups
from predictors import scales

TRUTH = np.log([0.2, 0.2, 0.2, 0.05])


def sample(size: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Return groups of columns of some families, values of a process with the true scales, members, covariance."""
    rng = np.random.default_rng(3)
    rows = rng.choice(np.unique(cells.families()), size, replace=False)
    groups, members = [group[rows] for group in feature_groups()], rng.integers(1, 4, size).astype(float)
    scaled = np.hstack([scale * group for scale, group in zip(np.exp(TRUTH[:3]), groups, strict=True)])
    squares = ((scaled[:, None] - scaled) ** 2).sum(axis=2)
    covariance = np.exp(-squares) + np.diag(np.exp(TRUTH[3]) / members)
    return groups, rng.multivariate_normal(np.zeros(size), covariance), members, covariance


def test_criteria_are_their_definitions():
    groups, values, members, covariance = sample(25)
    inverse = np.linalg.inv(covariance)
    left = values - inverse.sum(axis=0) @ values / inverse.sum()
    whole = stats.multivariate_normal(cov=covariance).logpdf(left)
    assert scales.CRITERIA["likelihood"](groups, values, members, TRUTH) == pytest.approx(whole / 25)
    alone = []
    for out in range(25):
        rest = np.delete(np.arange(25), out)
        weights = np.linalg.solve(covariance[np.ix_(rest, rest)], covariance[rest, out])
        deviation = np.sqrt(covariance[out, out] - covariance[out, rest] @ weights)
        alone.append(stats.norm(left[rest] @ weights, deviation).logpdf(left[out]))
    assert scales.CRITERIA["leave one out"](groups, values, members, TRUTH) == pytest.approx(np.mean(alone))


@pytest.mark.parametrize("name", scales.CRITERIA)
def test_scales_that_made_the_values_are_about_what_is_chosen(name):
    groups, values, members, _ = sample(300)
    criterion = partial(scales.CRITERIA[name], groups, values, members)
    best = scales._best(criterion)
    assert criterion(best) >= criterion(TRUTH)
    assert np.abs(best - TRUTH).max() < np.log(2.5)


def test_features_are_the_groups_in_the_package_s_scales():
    rows = np.hstack([scale * group for scale, group in zip(SCALES, feature_groups(), strict=True)])
    assert np.array_equal(rows, features())


def test_the_program_writes_a_row_for_every_choice(call, tmp_path):
    done = call("smoothing_scales", "--draws", 1, "--families", 60, "--out", tmp_path)
    assert done.code == 0, done.err
    rows = pd.read_csv(tmp_path / "smoothing_scales.csv").set_index("chosen by")
    assert list(rows.index) == [*scales.CRITERIA, scales.PACKAGE]
    assert tuple(rows.loc[scales.PACKAGE, list(scales.NAMES)]) == SCALES
    for name in scales.CRITERIA:
        assert rows[name].idxmax() == name
    assert "| package | .100 | .280 | .090 |" in done.out


def test_the_page_has_what_was_chosen():
    chosen = pd.read_csv(ROOT / "analysis" / "results" / "smoothing_scales.csv")
    lines = scales.scales_table(chosen)
    assert "\n".join(lines) in (ROOT / "docs" / "predict.md").read_text()
    ranges = {name: chosen[chosen["chosen by"] == name] for name in scales.CRITERIA}
    inside = {
        (name, key): part[key].min() <= scale <= part[key].max()
        for name, part in ranges.items()
        for key, scale in zip(scales.NAMES, SCALES, strict=True)
    }
    assert [place for place, holds in inside.items() if not holds] == [
        ("leave one out", "count"),
        ("likelihood", "edge"),
        ("likelihood", "count"),
    ]
    errors = chosen.groupby("chosen by")["error"].median()
    assert errors.max() - errors.min() < 0.0015
