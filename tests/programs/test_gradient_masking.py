"""The study of masked gradients: a small run, and that its certificates are sound."""

from __future__ import annotations

import pandas as pd
import pytest

from nasbench_robust import native

pytest.importorskip("matplotlib")
if not native.is_available():
    pytest.skip("the package was installed without the native engine", allow_module_level=True)


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
