"""The program that says what starting costs: one turn of each process."""

from __future__ import annotations

import pytest

from nasbench_robust import native

pytest.importorskip("torch")
if not native.is_available():
    pytest.skip("the package was installed without the native engine", allow_module_level=True)


def test_every_start_is_compared_with_its_peer(call):
    done = call("starting", "--repeats", 1)
    assert done.code == 0, done.err
    first, _, _, *rows = done.out.splitlines()
    assert first == "CIFAR-10 left out: no --cifar"
    named = [[field.strip() for field in row.strip("| ").split("|")] for row in rows]
    assert [row[0] for row in named] == ["a digits run", "scoring of digits"]
    for _, _, ours, peer, ratio in named:
        assert 0 < float(ratio) == pytest.approx(float(ours) / float(peer), rel=0.1)
