"""A run that is stopped anywhere and taken up again is the run that was never stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import StopAt

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines import load_checkpoint, save_checkpoint
from nasbench_robust.errors import InvalidValueError, RunInterruptedError
from nasbench_robust.images import TensorImages
from nasbench_robust.runs import Run, run_cell
from nasbench_robust.settings import settings_for
from nasbench_robust.table import Reader

CPU = torch.device("cpu")
CELL = Cell.from_index(9930)
QUICK = replace(
    settings_for("digits"),
    epochs=3,
    batch_size=64,
    attack=metrics.pgd(0.1, steps=1),
    evaluation=(metrics.fgsm(0.1), metrics.pgd(0.1, steps=2)),
)
STEPS = 3 * 4 + 6  # four batches an epoch, three metrics on two splits
CIRCUMSTANCES = ("train_seconds", "eval_seconds", "peak_memory_mib", "date", "revision")
PROGRAM = Path(__file__).parents[1] / "generation" / "train_cell.py"


@pytest.fixture(scope="module")
def few(first_digits: Callable[[int], TensorImages]) -> TensorImages:
    return first_digits(250)


@pytest.fixture(scope="module")
def undisturbed(few: TensorImages) -> Run:
    return run_cell(CELL, QUICK, few, seed=1)


def assert_same(one: Run, other: Run) -> None:
    assert {**one.row, **dict.fromkeys(CIRCUMSTANCES)} == {**other.row, **dict.fromkeys(CIRCUMSTANCES)}
    assert one.curve == other.curve
    assert list(one.outcomes) == list(other.outcomes) == list(QUICK.metrics)
    assert all(np.array_equal(one.outcomes[metric], other.outcomes[metric]) for metric in other.outcomes)


@pytest.mark.parametrize("stop", range(1, STEPS + 1))
def test_run_stopped_at_any_step_gives_the_same_row(
    stop: int, few: TensorImages, undisturbed: Run, tmp_path: Path
) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(RunInterruptedError, match="stopped on request"):
        run_cell(CELL, QUICK, few, seed=1, checkpoint=path, should_stop=StopAt(stop))
    assert_same(run_cell(CELL, QUICK, few, seed=1, checkpoint=path), undisturbed)


def test_run_stopped_at_every_step_gives_the_same_row(few: TensorImages, undisturbed: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    for _ in range(STEPS):
        with pytest.raises(RunInterruptedError):
            run_cell(CELL, QUICK, few, seed=1, checkpoint=path, should_stop=lambda: True)
    assert_same(run_cell(CELL, QUICK, few, seed=1, checkpoint=path), undisturbed)


def test_seconds_of_all_parts_are_added(few: TensorImages, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, QUICK, few, seed=1, checkpoint=path, should_stop=StopAt(6))
    before = load_checkpoint(path, CPU)["training"]["seconds"]
    assert run_cell(CELL, QUICK, few, seed=1, checkpoint=path).row["train_seconds"] > before > 0


def test_checkpoint_of_another_run_is_refused(few: TensorImages, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, QUICK, few, seed=1, checkpoint=path, should_stop=lambda: True)
    with pytest.raises(InvalidValueError, match="expected a state of the run"):
        run_cell(CELL, QUICK, few, seed=2, checkpoint=path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_damaged_checkpoint_is_set_aside_and_the_run_starts_again(
    damage: str, few: TensorImages, undisturbed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, QUICK, few, seed=1, checkpoint=path, should_stop=StopAt(6))
    content = path.read_bytes()
    replacement = {"cut": content[:-500], "flipped": b"x" * 100 + content[100:], "empty": b"", "foreign": b"hello"}
    path.write_bytes(replacement[damage])
    assert_same(run_cell(CELL, QUICK, few, seed=1, checkpoint=path), undisturbed)
    assert (tmp_path / "run.pt.damaged").exists()
    assert "cannot be read" in caplog.text


def test_checkpoint_that_would_run_code_is_not_unpickled(tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "run.pt"
    torch.save({"key": Malicious()}, path)
    assert load_checkpoint(path, CPU) is None
    assert not (tmp_path / "ran").exists()


def test_failed_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.pt"
    save_checkpoint({"step": 1}, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint({"step": 2}, path)
    assert load_checkpoint(path, CPU) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


SETTINGS = json.dumps(
    {
        "epochs": 12,
        "skeleton": {"channels": 2},
        "attack": {"steps": 1},
        "batch_size": 128,
        "evaluation": [asdict(attack) for attack in QUICK.evaluation],
    }
)


def command(out: Path, settings: Path) -> list[str]:
    arguments = ["--index", "9930", "--settings", str(settings), "--out", str(out), "--engine", "torch"]
    return [sys.executable, str(PROGRAM), *arguments]


def row_of(out: Path) -> dict:
    (row,) = Reader(out / "runs").read().to_pylist()
    return {**row, **dict.fromkeys(CIRCUMSTANCES)}


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_program_killed_at_random_moments_gives_the_same_row(kind: signal.Signals, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(SETTINGS)
    subprocess.run(command(tmp_path / "peace", settings), check=True)
    rng, out = random.Random(int(kind)), tmp_path / "disturbed"
    codes = []
    for _ in range(4):
        process = subprocess.Popen(command(out, settings))
        time.sleep(rng.uniform(0.5, 4.5))
        process.send_signal(kind)
        codes.append(process.wait())
    subprocess.run(command(out, settings), check=True)
    assert row_of(out) == row_of(tmp_path / "peace")
    assert set(codes) <= ({-signal.SIGKILL, 0} if kind == signal.SIGKILL else {75, 0, -signal.SIGTERM})
    assert not list((out / "checkpoints").iterdir())
