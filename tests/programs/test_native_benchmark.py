"""The programs that time the native engine and compare it with torch: tiny runs, and what they count and conclude."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from nasbench_robust import native
from nasbench_robust.cells import Cell
from nasbench_robust.metrics import pgd
from nasbench_robust.native.library import peak
from nasbench_robust.skeletons import Skeleton

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
stats = pytest.importorskip("scipy.stats")
pytest.importorskip("matplotlib")
if not native.is_available():
    pytest.skip("the package was installed without the native engine", allow_module_level=True)
ROOT = Path(__file__).parents[2]


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, str(ROOT / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a program with its neighbours, and forget them all again after the test."""
    path = ROOT / f"{name}.py"
    monkeypatch.syspath_prepend(str(path.parent))
    for neighbour in path.parent.glob("*.py"):
        monkeypatch.delitem(sys.modules, neighbour.stem, raising=False)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, loaded)  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


# ------------------------------------------------------------------ benchmarks/native_engine.py


def test_the_benchmark_prints_ratios_and_shares(monkeypatch, capsys):
    pytest.importorskip("torchattacks")
    options = ["--cells", "light", "--epochs", "1", "--repeats", "1"]
    program = module("benchmarks/native_engine", monkeypatch)
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


def test_multiplications_are_those_without_padding(monkeypatch):
    forward = module("benchmarks/native_forward", monkeypatch)
    for size in (4, 8, 32):
        for kernel, stride in ((1, 1), (3, 1), (3, 2)):
            ones = torch.ones(1, 1, size, size), torch.ones(1, 1, kernel, kernel)
            products = torch.nn.functional.conv2d(*ones, stride=stride, padding=kernel // 2).sum()
            assert forward.multiplications(size, kernel, stride) == int(products)


def test_executed_multiplications_are_the_flops_where_nothing_is_padded(monkeypatch):
    forward = module("benchmarks/native_forward", monkeypatch)
    monkeypatch.setattr(forward, "multiplications", lambda size, kernel, stride=1: (size // stride * kernel) ** 2)
    for arch in forward.CELLS.values():
        for skeleton in (Skeleton(), Skeleton(4, 1, 10, 1, 8)):
            cell = Cell.from_str(arch)
            assert forward.executed_multiplications(cell, skeleton) == cell.flops(skeleton)


def test_every_build_has_a_peak(monkeypatch):
    forward = module("benchmarks/native_forward", monkeypatch)
    before = os.environ.get(forward.BUILD_VARIABLE)
    try:
        found = [peak(0.001) for build in native.BUILDS if forward.use_build(build)]
    finally:
        forward.restore(before)
    assert found
    assert min(found) > 0.1
    assert os.environ.get(forward.BUILD_VARIABLE) == before


# ------------------------------------------------------------------ analysis/engine_parity.py


def test_parity_trains_with_both_engines_and_makes_no_run_twice(tmp_path, monkeypatch, capsys):
    parity = module("analysis/engine_parity", monkeypatch)
    whole = parity.parity_settings

    def quick(epochs):
        return replace(whole(epochs), evaluation=(pgd(0.1, steps=1),), batch_size=512)

    monkeypatch.setattr(parity, "parity_settings", quick)
    options = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--cells", "1835", "--seeds", "2"]
    assert parity.main([*options, "--epochs", "1"]) == 0
    for engine in ("native", "torch"):
        shards = sorted(path.name for path in (tmp_path / "runs" / engine / "runs").iterdir())
        assert shards == ["digits-01835-0.parquet", "digits-01835-1.parquet"]
    table = pd.read_csv(tmp_path / "out" / "engine_parity.csv", dtype={"cell": str})
    assert set(table["cell"]) == {"1835", "all"}
    assert table["metric"].drop_duplicates().tolist() == ["clean_acc", "pgd_acc@0.1"]
    assert np.allclose(table["difference"], table["first_mean"] - table["second_mean"], atol=1e-4)
    assert (tmp_path / "out" / "engine_parity.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "The interval of the mean difference" in printed

    assert parity.main([*options, "--epochs", "1", "--summary"]) == 0
    assert capsys.readouterr().out == printed
    assert parity.main([*options[:-1], "2", "1", "--epochs", "1"]) == 2
    assert "no cell has two runs by each engine" in capsys.readouterr().err
    assert parity.main([*options, "3", "--epochs", "1"]) == 0  # 2 native runs, 3 of torch
    table = pd.read_csv(tmp_path / "out" / "engine_parity.csv", dtype={"cell": str})
    assert set(zip(table["first_runs"], table["second_runs"], strict=True)) == {(2, 3)}
    capsys.readouterr()
    assert parity.main([*options, "--epochs", "2", "--summary"]) == 2
    assert "runs with other settings" in capsys.readouterr().err
    assert parity.main([*options, "--engines", "torch", "jax"]) == 2
    assert "jax" in capsys.readouterr().err


def test_differences_are_welchs_and_their_mean_has_the_error_of_the_spread_between_seeds(monkeypatch):
    parity = module("analysis/engine_parity", monkeypatch)
    rng = np.random.default_rng(0)
    samples = [(rng.normal(0.7, 0.03, 8), rng.normal(0.69, 0.02, 6)) for _ in range(12)]
    expected = stats.ttest_ind(*samples[0], equal_var=False).confidence_interval()
    assert parity.difference(*samples[0]).interval == pytest.approx((expected.low, expected.high))
    sides = list(zip(*samples, strict=True))
    together = parity.pooled(*sides)
    assert together.value == pytest.approx(np.mean([one.mean() - other.mean() for one, other in samples]))
    expected = stats.ttest_ind(*(np.mean(side, axis=0) for side in sides), equal_var=False).confidence_interval()
    assert together.interval == pytest.approx((expected.low, expected.high))
    shared = [sample + np.linspace(-0.1, 0.1, 8) for sample in sides[0]]
    assert parity.pooled(shared, sides[1]).variance > 10 * together.variance  # what a seed does to all cells counts
    lacking = [sides[0][0].copy(), *sides[0][1:]]
    lacking[0][3] = np.nan
    assert parity.pooled(lacking, sides[1]).parts[0][1] == 6  # seven seeds are left
    assert together.interval[0] < 0.01 < together.interval[1]
    # Of a difference as large as it calls detectable, about four in five are seen.
    z = together.detectable / together.variance**0.5
    assert stats.nct.sf(stats.t.ppf(0.975, together.freedom), together.freedom, z) == pytest.approx(0.8, abs=0.01)
    ratio, low, high = parity.variance_ratio(*zip(*samples, strict=True))
    assert low < (0.03 / 0.02) ** 2 < high
    assert low < ratio < high


def test_the_conclusion_of_parity_follows_from_the_numbers(monkeypatch):
    parity = module("analysis/engine_parity", monkeypatch)
    rng = np.random.default_rng(0)
    runs = {
        (engine, metric, cell): rng.normal(0.7 - 0.05 * (metric == "worse" and engine == "native"), 0.02, 8)
        for engine in ("native", "torch")
        for metric in ("same", "worse")
        for cell in (14, 263, 818)
    }
    table = parity.summarise(runs, ("native", "torch"))
    assert len(table) == 2 * (3 + 1)
    said = " ".join(module("analysis/engine_parity_report", monkeypatch).sentences(table, "same"))
    assert "does not contain 0 for worse: the engines differ there" in said
    assert "of 3 intervals contain 0" in said


def test_the_cells_of_parity_are_representatives_that_differ_in_their_operations(monkeypatch):
    parity = module("analysis/engine_parity", monkeypatch)
    found = [Cell.from_index(index) for index in parity.CELLS]
    assert len(found) == 12
    assert all(cell.representative == cell.index and cell.connected for cell in found)
    assert {operation for cell in found for operation in cell.operations} == {
        *("none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "nor_conv_3x3")
    }
    assert len({tuple(sorted(cell.operations)) for cell in found}) >= 10


# ------------------------------------------------------------------ analysis/digits_settings.py


def test_the_study_of_the_settings_describes_every_variant(made_up_table, tmp_path):
    options = ("--published", made_up_table, "--out", tmp_path, "--cells", 4, "--seeds", 2, "--epochs", 1)
    done = run("analysis/digits_settings.py", *options, "--variants", "chosen", "C=3", "--workers", 2)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "digits_settings.csv")
    assert table["variant"].tolist() == ["chosen", "C=3"]
    assert table["settings"].nunique() == 2
    assert ((table["min"] <= table["median"]) & (table["median"] <= table["max"])).all()
    assert (table["seconds"] > 0).all()
    assert "chosen is number" in done.stdout

    wrong = run("analysis/digits_settings.py", *options, "--variants", "C=5")
    assert wrong.returncode == 2
    assert "C=5" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1
