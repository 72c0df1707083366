"""The study of masked gradients: a small run, and that its certificates are sound."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from nasbench_robust import native

pytest.importorskip("matplotlib")
if not native.is_available():
    pytest.skip("the package was installed without the native engine", allow_module_level=True)


STUDY = Path(__file__).parents[2] / "analysis" / "gradient_masking"


def test_accuracies_fall_with_the_radius_and_certificates_are_sound(call, tmp_path):
    options = ("--cells", 1835, 9930, "--images", 60, "--queries", 30, "--epochs", 4, "--out", tmp_path)
    done = call("gradient_masking", *options)
    assert done.code == 0, done.err
    assert "certified <= AutoAttack at every radius of every cell: yes" in done.out
    table = pd.read_csv(tmp_path / "gradient_masking.csv")
    counts = table.pivot(index=["cell", "eps"], columns="measured", values="correct")
    whole = counts.dropna(subset="square").xs(1.0, level="eps")
    assert (whole[["pgd", "square", "autoattack"]] <= 20).all(axis=None)
    attacked = counts.dropna(subset="autoattack")
    assert (attacked["certified"] <= attacked["autoattack"]).all()
    assert (attacked["autoattack"] <= attacked["gradients"]).all()
    clean = counts["clean"].dropna().droplevel("eps")
    smallest = attacked.xs(1e-5, level="eps")
    assert smallest.loc[1835, "certified"] >= clean[1835] - 3  # a chain of three convolutions outside cells
    assert (tmp_path / "gradient_masking.png").stat().st_size > 10_000


def test_the_page_says_what_the_results_say() -> None:
    page = (STUDY / "README.md").read_text()
    table = pd.read_csv(STUDY.parent / "results" / "gradient_masking.csv")
    counts = table.pivot(index=["cell", "eps"], columns="measured", values="correct")
    attacked = counts.dropna(subset="autoattack")
    assert (attacked["certified"] <= attacked["autoattack"]).all()
    assert (attacked["pgd"].groupby("cell").diff().dropna() <= 0).all()
    assert (attacked.loc[attacked.index.get_level_values("eps") > 0.5, ["pgd", "autoattack"]] == 0).all(axis=None)
    broken, withstood = int((attacked["gradients"] - attacked["autoattack"]).sum()), int(attacked["gradients"].sum())
    assert f"breaks {broken} of {withstood:,} outcomes" in page
    both = counts.dropna(subset="square")
    for other, words in (("gradients", "together by {} images at most"), ("pgd", "by up to {} images of 300")):
        assert words.format(int((both[other] - both["square"]).max())) in page
    level = both.xs(32 / 255, level="eps") if 32 / 255 in both.index.levels[1] else both.xs(0.12549, level="eps")
    for cell in (4317, 7581):
        assert f"{int(level.loc[cell, 'pgd'])} " in page
        assert f"against {int(level.loc[cell, 'autoattack'])}" in page
    half = attacked["certified"] >= 150
    reach = {
        cell: max((eps for number, eps in half[half].index if number == cell), default=0) for cell in (1835, 7581, 4317)
    }
    assert reach == {1835: 1e-3, 7581: 1e-4, 4317: 1e-5}
    assert not half.loc[[1462, 9930]].any()
