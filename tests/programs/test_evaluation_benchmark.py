"""The program that compares evaluations: a tiny run, and that all sides measure the same network."""

from __future__ import annotations

import pytest

from nasbench_robust import native

pytest.importorskip("torch")
pytest.importorskip("torchattacks")


def test_all_sides_measure_the_same_network(call, tmp_path):
    out = tmp_path / "table.md"
    options = ["--cells", "light", "--epochs", "4", "--images", "48", "--repeats", "2"]
    done = call("evaluation", *options, "--steps", 10, "--queries", 50, "--out", out)
    lines = out.read_text().splitlines()
    assert lines == done.out.splitlines()
    rows = [[field.strip() for field in line.strip("| ").split("|")] for line in lines if line.startswith("| light")]
    sides = ["torchattacks", "plain", "fast", *(["native"] if native.is_available() else [])]
    assert [row[1:3] for row in rows] == [[task, side] for task in ("PGD-20", "AutoAttack") for side in sides]
    for task in ("PGD-20", "AutoAttack"):
        accuracies = [[float(value) for value in row[-1].split()] for row in rows if row[1] == task]
        reference, *others = accuracies
        assert reference == sorted(reference, reverse=True)
        assert reference[0] > 0.3  # it learned something that attacks can take away
        for accuracy in others:
            assert accuracy[0] == reference[0]  # as the images are
            assert accuracy == pytest.approx(reference, abs=0.05)  # other random numbers
