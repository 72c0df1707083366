"""The study of the digits settings: tiny runs of two variants."""

from __future__ import annotations

import pandas as pd
import pytest

from nasbench_robust import native

pytest.importorskip("scipy")
if not native.is_available():
    pytest.skip("the package was installed without the native engine", allow_module_level=True)


def test_every_variant_is_described(call, made_up_table, tmp_path):
    options = ("--published", made_up_table, "--out", tmp_path, "--cells", 4, "--seeds", 2, "--epochs", 1)
    done = call("digits_settings", *options, "--variants", "chosen", "C=3", "--workers", 2)
    assert done.code == 0, done.err
    table = pd.read_csv(tmp_path / "digits_settings.csv")
    assert table["variant"].tolist() == ["chosen", "C=3"]
    assert table["settings"].nunique() == 2
    assert ((table["min"] <= table["median"]) & (table["median"] <= table["max"])).all()
    assert (table["seconds"] > 0).all()
    assert "chosen is number" in done.out
