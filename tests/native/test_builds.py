"""The builds of the native engine: which one is used, that all agree, and what happens without one."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from native_twins import needs_engine

import nasbench_robust
from nasbench_robust.native import BUILDS, library

ROOT = Path(__file__).parents[2]
INSTALLED = Path(nasbench_robust.__file__).parents[1]
USABLE = [name for name in BUILDS if library._path(name) is not None and library._is_supported(name)]

# What one build makes of a network after a short training, and what it makes of a given network.
PROGRAM = """
import pickle, sys
from dataclasses import replace
import numpy as np
from native_twins import DIGITS, SKELETONS, random_batch, trained, twins
from nasbench_robust.cells import Cell
from nasbench_robust.images import load_arrays
from nasbench_robust.native import build_name

found = {"name": build_name(), "passes": [], "curves": []}
for number, skeleton in enumerate(SKELETONS):
    for index in (9930, 2581, 14000):
        _, native = twins(Cell.from_index(index), skeleton, seed=number)
        images, labels = random_batch(skeleton, 19, seed=number)
        slopes = np.ones((19, skeleton.classes), np.float32)
        slopes[:, 0] = -1
        logits, gradient = native.logits_and_gradient(images, slopes)
        native.differentiate(images, labels)
        found["passes"].append([logits, gradient, native.gradient.copy()])
for seed in range(2):
    found["curves"].append(trained(replace(DIGITS, epochs=4), load_arrays("digits"), seed).curve[-1])
sys.stdout.buffer.write(pickle.dumps(found))
"""


def call(code: str, folder: Path = INSTALLED, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != library.BUILD_VARIABLE}
    paths = os.pathsep.join([str(folder), str(ROOT / "tests")])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment, "PYTHONPATH": paths, **variables},
        capture_output=True,
        check=False,
    )


@pytest.fixture(scope="module")
def results() -> dict[str, dict]:
    found = {}
    for name in USABLE:
        done = call(PROGRAM, NASBENCH_ROBUST_ENGINE=name)
        assert done.returncode == 0, done.stderr.decode()
        found[name] = pickle.loads(done.stdout)
    return found


@needs_engine
def test_variable_names_the_build(results: dict[str, dict]) -> None:
    assert {name: result["name"] for name, result in results.items()} == {name: name for name in USABLE}
    assert "portable" in USABLE
    done = call("from nasbench_robust.native import build_name; print(build_name())")
    assert done.stdout.decode().strip() == USABLE[0]


@needs_engine
def test_builds_agree_up_to_rounding(results: dict[str, dict]) -> None:
    reference = results["portable"]["passes"]
    for result in results.values():
        for expected, found in zip(reference, result["passes"], strict=True):
            for one, other in zip(expected, found, strict=True):
                scale = np.abs(one).max()
                # A gradient may jump where rounding moves the input of a ReLU across 0, at very few places.
                assert np.median(np.abs(one - other)) < 1e-6 * scale
                assert (np.abs(one - other) > 1e-4 * scale).mean() < 0.01


@needs_engine
def test_builds_train_equally_well(results: dict[str, dict]) -> None:
    """Rounding grows into other networks, of the same quality."""
    means = {name: np.mean([epoch.train_loss for epoch in result["curves"]]) for name, result in results.items()}
    assert max(means.values()) - min(means.values()) < 0.1
    for accuracy in ("clean_acc", "pgd_acc"):
        measured = [np.mean([getattr(epoch, accuracy) for epoch in result["curves"]]) for result in results.values()]
        assert max(measured) - min(measured) < 0.06


@needs_engine
def test_unknown_build_is_one_sentence(tmp_path: Path) -> None:
    done = call("import nasbench_robust.native as n; n.build_name()", NASBENCH_ROBUST_ENGINE="avx1024")
    assert b"InvalidValueError: NASBENCH_ROBUST_ENGINE is 'avx1024', expected one of " in done.stderr
    command = [sys.executable, str(ROOT / "generation" / "train_cell.py"), "--index", "3", "--out", str(tmp_path)]
    environment = {**os.environ, "NASBENCH_ROBUST_ENGINE": "avx1024"}
    program = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert program.returncode == 2
    assert program.stderr.startswith("train_cell.py: NASBENCH_ROBUST_ENGINE is 'avx1024', expected one of ")
    assert "Traceback" not in program.stderr


WITHOUT = """
from nasbench_robust.errors import MissingDataError
from nasbench_robust.native import build_name, is_available
from nasbench_robust.runs import choose_engine
from nasbench_robust.settings import settings_for
assert not is_available()
assert choose_engine("auto", settings_for("digits")) == "torch-fast"
for ask in (build_name, lambda: choose_engine("native", settings_for("digits"))):
    try:
        ask()
    except MissingDataError as error:
        print(error)
"""


def copy_package(folder: Path) -> Path:
    """Copy the package without its extension and return the folder of the engine."""
    ignored = shutil.ignore_patterns("__pycache__", "_engine_*", "src")
    shutil.copytree(ROOT / "src" / "nasbench_robust", folder / "nasbench_robust", ignore=ignored)
    return folder / "nasbench_robust" / "native"


def test_package_without_extension_says_so(tmp_path: Path) -> None:
    copy_package(tmp_path)
    done = call(WITHOUT, folder=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stdout.decode().splitlines()
    assert len(said) == 2
    assert all("no native engine" in line and "use torch" in line for line in said)


def test_extension_of_another_machine_is_as_good_as_none(tmp_path: Path) -> None:
    native = copy_package(tmp_path)
    for name in BUILDS:
        (native / f"_engine_{name}.abi3.so").write_bytes(b"\x7fELF of another kind of processor")
    done = call(WITHOUT, folder=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.decode().splitlines()) == 2


@needs_engine
def test_faster_builds_may_be_missing(tmp_path: Path) -> None:
    native = copy_package(tmp_path)
    portable = library._path("portable")
    shutil.copy(portable, native / portable.name)
    done = call("from nasbench_robust.native import build_name; print(build_name())", folder=tmp_path)
    assert done.stdout.decode() == "portable\n", done.stderr.decode()
