"""The two cells of ARNAS's placement and their controls: searched, trained and tabled by the program itself."""

from __future__ import annotations

import json

import pandas as pd

from nasbench_robust.cells import Cell
from nasbench_robust.search.supernet import read_search


def test_rows_are_those_of_the_networks_of_the_search(call, tmp_path):
    (tmp_path / "runs" / "networks").mkdir(parents=True)
    (tmp_path / "runs" / "networks" / "of-another-time.json").write_text("{}")  # is not taken for a result
    done = call("arnas_two_cells", "--runs", tmp_path / "runs", "--out", tmp_path, "--epochs", 1, "--seeds", 1)
    assert done.code == 0, done.err
    (record,) = (tmp_path / "runs" / "searches").glob("arnas-s-two-cells-*.json")
    accurate, robust = read_search(record)["argmax"]
    rows = pd.read_csv(tmp_path / "arnas_two_cells.csv", dtype={"cells": str}).set_index("role")
    assert dict(rows["cells"]) == {
        "found": f"{accurate},{robust}",
        "reversed": f"{robust},{accurate}",
        "accurate cell alone": str(accurate),
        "robust cell alone": str(robust),
    }
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "networks").glob("digits-*.json")]
    (reversed_,) = [
        result
        for result in results
        if result["architecture"]["stages"] == [str(Cell.from_index(index)) for index in (robust, robust, accurate)]
    ]
    assert reversed_["parameters"] == rows.loc["reversed", "parameters"]
    assert rows["clean_acc"].between(0, 1).all()
    assert "pair found minus reversed" in done.out
