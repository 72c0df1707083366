"""The programs that time the native engine beside torch: tiny runs, and what they count."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.native.library import peak
from nasbench_robust.skeletons import Skeleton

torch = pytest.importorskip("torch")
if not native.is_available():
    pytest.skip("the package was installed without the native engine", allow_module_level=True)

import native_forward as forward


def test_the_benchmark_prints_ratios_and_shares(monkeypatch, capsys):
    pytest.importorskip("torchattacks")
    import native_engine as program

    options = ["--cells", "light", "--epochs", "1", "--repeats", "1"]
    arrays, images = program.load_arrays("digits"), program.load_images("digits")
    few, fewer = (
        replace(whole, **{name: getattr(whole, name)[:64] for name in ("train", "validation", "test")})
        for whole in (arrays, images)
    )
    monkeypatch.setattr(program, "load_arrays", lambda name: few)
    monkeypatch.setattr(program, "load_images", lambda name: fewer)
    monkeypatch.setattr(sys, "argv", ["native_engine.py", *options])
    program.main()
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "trained for 1 epoch(s) only, whose time counts 20 times" in printed
    rows = [[field.strip() for field in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    ratios = {row[1]: row[3] for row in rows if row[0] == "light"}
    assert ratios.pop("native") == ""
    assert all(float(ratio.split()[0]) > 2 for ratio in ratios.values())
    assert {row[0] for row in rows if row[2:3] == ["light"]} <= set(native.BUILDS)
    assert any(row[2:3] == ["light"] for row in rows)


def test_multiplications_are_those_without_padding():
    for size in (4, 8, 32):
        for kernel, stride in ((1, 1), (3, 1), (3, 2)):
            ones = torch.ones(1, 1, size, size), torch.ones(1, 1, kernel, kernel)
            products = torch.nn.functional.conv2d(*ones, stride=stride, padding=kernel // 2).sum()
            assert forward.multiplications(size, kernel, stride) == int(products)


def test_executed_multiplications_are_the_flops_where_nothing_is_padded(monkeypatch):
    monkeypatch.setattr(forward, "multiplications", lambda size, kernel, stride=1: (size // stride * kernel) ** 2)
    for arch in forward.CELLS.values():
        for skeleton in (Skeleton(), Skeleton(4, 1, 10, 1, 8)):
            cell = Cell.from_str(arch)
            assert forward.executed_multiplications(cell, skeleton) == cell.flops(skeleton)


def test_every_build_has_a_peak():
    before = os.environ.get(forward.BUILD_VARIABLE)
    try:
        peaks = [peak(0.001) for build in native.BUILDS if forward.use_build(build)]
    finally:
        forward.restore(before)
    assert peaks
    assert min(peaks) > 0.1
    assert os.environ.get(forward.BUILD_VARIABLE) == before
