"""A native run that is stopped anywhere and taken up again is the run that was never stopped, to the last bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from native_twins import DIGITS, needs_engine

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines import Draws
from nasbench_robust.engines.checkpoints import load_archive, save_archive
from nasbench_robust.engines.native import NativeWork, evaluation
from nasbench_robust.engines.native import work as native_work
from nasbench_robust.errors import InvalidValueError, RunInterruptedError
from nasbench_robust.images import ArrayImages, load_arrays
from nasbench_robust.metrics import Metric
from nasbench_robust.native import NativeNetwork
from nasbench_robust.runs import Run, run_cell
from nasbench_robust.table import Reader

pytestmark = needs_engine

CELL = Cell.from_index(9930)
QUICK = replace(
    DIGITS,
    epochs=3,
    batch_size=64,
    flip=True,
    attack=metrics.pgd(0.1, steps=2),
    evaluation=(metrics.pgd(0.1, steps=2), replace(metrics.autoattack(0.1, steps=3), queries=50)),
)
STEPS = 3 * 4  # four batches an epoch
MOMENTS = STEPS + 2 * 3 + 2 * 2 + 3  # 48 images of test and 24 of validation, measured 16 at a time; AutoAttack on test
CIRCUMSTANCES = ("train_seconds", "eval_seconds", "peak_memory_mib", "date", "revision")
PROGRAM = Path(__file__).parents[1] / "generation" / "train_cell.py"


@pytest.fixture(scope="module")
def few() -> ArrayImages:
    images = load_arrays("digits")
    train, test, validation = (
        split[:count]
        for split, count in zip((images.train, images.test, images.validation), (250, 48, 24), strict=True)
    )
    return replace(images, train=train, test=test, validation=validation)


@pytest.fixture(scope="module")
def undisturbed(few: ArrayImages) -> Run:
    return make(few)


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PIXELS", 16 * 64)


def make(images: ArrayImages, path: Path | None = None, should_stop: Callable[[], bool] = lambda: False) -> Run:
    return run_cell(CELL, QUICK, images, seed=1, engine="native", checkpoint=path, should_stop=should_stop)


def assert_same(one: Run, other: Run) -> None:
    assert {**one.row, **dict.fromkeys(CIRCUMSTANCES)} == {**other.row, **dict.fromkeys(CIRCUMSTANCES)}
    assert one.curve == other.curve
    assert list(one.outcomes) == list(other.outcomes) == list(QUICK.metrics)
    assert all(np.array_equal(one.outcomes[metric], other.outcomes[metric]) for metric in other.outcomes)
    assert list(one.parts) == list(other.parts)
    assert all(np.array_equal(one.parts[part], other.parts[part]) for part in other.parts)


class StopAt:
    """Says yes when it is asked for the n-th time."""

    def __init__(self, number: int) -> None:
        self.asked, self.number = 0, number

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked == self.number


@pytest.mark.usefixtures("in_small_parts")
def test_run_stopped_at_any_moment_gives_the_same_row(few: ArrayImages, undisturbed: Run, tmp_path: Path) -> None:
    asked = StopAt(0)
    assert_same(make(few, should_stop=asked), undisturbed)  # the size of the parts changes nothing
    assert asked.asked == MOMENTS
    for moment in range(1, MOMENTS + 1):
        path = tmp_path / f"{moment}.npz"
        with pytest.raises(RunInterruptedError, match="cell 9930, seed 1: stopped on request"):
            make(few, path, StopAt(moment))
        assert_same(make(few, path), undisturbed)


@pytest.mark.usefixtures("in_small_parts")
def test_run_stopped_at_every_moment_gives_the_same_row(few: ArrayImages, undisturbed: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    for _ in range(MOMENTS):
        with pytest.raises(RunInterruptedError):
            make(few, path, lambda: True)
    assert_same(make(few, path), undisturbed)


def test_weights_of_a_run_taken_up_again_are_equal_to_the_last_bit(few: ArrayImages, tmp_path: Path) -> None:
    whole = NativeWork(CELL, QUICK, few, 1, None)
    whole.train(None, 1, lambda: False)
    path = tmp_path / "run.npz"
    for moment in (2, 4, 5):  # within the first epoch, at the end of an epoch, anywhere
        part = NativeWork(CELL, QUICK, few, 1, path)
        with pytest.raises(RunInterruptedError):
            part.train(None, 1, StopAt(moment))
    part = NativeWork(CELL, QUICK, few, 1, path)
    part.train(None, 1, lambda: False)
    for name in ("parameters", "momentum", "statistics"):
        assert np.array_equal(getattr(part.trainer.network, name), getattr(whole.trainer.network, name))


def test_work_is_kept_at_epochs_and_metrics_that_take_long(
    few: ArrayImages, undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, epochs = tmp_path / "run.npz", []

    def killed(epoch: object) -> None:
        epochs.append(epoch)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    def run(seconds: float, progress: Callable[[object], None] | None = None) -> Run:
        monkeypatch.setattr(native_work, "SPARING", seconds)
        return run_cell(CELL, QUICK, few, seed=1, engine="native", checkpoint=path, progress=progress)

    run(60)
    assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        run(0, killed)
    assert len(load_archive(path)["curve"]) == 2
    resumed = run(0, epochs.append)
    assert_same(resumed, undisturbed)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 3]
    state = load_archive(path)
    assert {metric.column for metric in QUICK.metrics[:-1]} <= set(state)  # the last one is at work when it is written
    assert state["eval_seconds"] > 0


def test_a_long_epoch_is_kept_in_its_middle(
    few: ArrayImages, undisturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = tmp_path / "run.npz", iter(range(6))
    monkeypatch.setattr(native_work, "GENEROUS", 0)
    with pytest.raises(StopIteration):  # killed in its second epoch of four batches, without a chance to checkpoint
        run_cell(CELL, QUICK, few, 1, engine="native", checkpoint=path, should_stop=lambda: next(asked) < 0)
    assert load_archive(path)["sums"][0] == 3 * QUICK.batch_size
    assert_same(run_cell(CELL, QUICK, few, 1, engine="native", checkpoint=path), undisturbed)


def test_checkpoint_of_another_run_is_refused(few: ArrayImages, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with pytest.raises(RunInterruptedError):
        make(few, path, lambda: True)
    with pytest.raises(InvalidValueError, match="expected a state of the run"):
        run_cell(CELL, QUICK, few, seed=2, engine="native", checkpoint=path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "of torch"])
def test_damaged_checkpoint_is_set_aside(
    damage: str, few: ArrayImages, undisturbed: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.npz"
    with pytest.raises(RunInterruptedError):
        make(few, path, StopAt(6))
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    replacement = {"cut": content[:-500], "flipped": flipped, "empty": b"", "foreign": b"hello"}
    if damage == "of torch":
        import torch

        torch.save({"key": [1]}, path)
    else:
        path.write_bytes(replacement[damage])
    assert_same(make(few, path), undisturbed)
    assert (tmp_path / "run.npz.damaged").exists()
    assert "cannot be read" in caplog.text


def test_archive_that_would_run_code_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    with open(path, "wb") as file:
        np.savez(file, facts=np.array([{"an": "object"}], dtype=object))
    assert load_archive(path) is None
    save_archive({"array": np.arange(3), "number": 0.1, "large": 2**127, "none": None}, path)
    state = load_archive(path)
    assert state.pop("array").tolist() == [0, 1, 2]
    assert state == {"number": 0.1, "large": 2**127, "none": None}


def test_images_measured_in_parts_have_the_draws_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_arrays("digits")
    trainer = NativeWork(CELL, replace(QUICK, epochs=4), images, 1, None).trainer
    while not trainer.finished:
        trainer.step()
    network: NativeNetwork = trainer.network
    for attack in (metrics.pgd(0.1, steps=3), replace(metrics.autoattack(0.1, steps=2), queries=20)):
        metric = Metric.of(attack)
        whole = list(evaluation.measure(network, images, metric, Draws(0, "evaluation")))
        assert [found.shape[1] for found in whole] == [517]
        monkeypatch.setattr(evaluation, "PIXELS", 100 * 64)
        parts = list(evaluation.measure(network, images, metric, Draws(0, "evaluation"), done=96))
        assert [found.shape[1] for found in parts] == [96, 96, 96, 96, 37]
        assert np.array_equal(np.concatenate(parts, axis=1), whole[0][:, 96:])
        assert 0 < whole[0][-1].sum() < 517
        monkeypatch.undo()


def test_program_goes_on_after_signals(tmp_path: Path) -> None:
    settings, out = tmp_path / "settings.json", tmp_path / "disturbed"
    evaluation = [asdict(attack) for attack in QUICK.evaluation]
    settings.write_text(json.dumps({"epochs": 40, "evaluation": evaluation}))

    def command(folder: Path) -> list[str]:
        arguments = ["--index", "9930", "--settings", str(settings), "--out", str(folder), "--engine", "native"]
        return [sys.executable, str(PROGRAM), *arguments]

    def row(folder: Path) -> dict:
        (found,) = Reader(folder / "runs").read().to_pylist()
        return {**found, **dict.fromkeys(CIRCUMSTANCES)}

    process = subprocess.Popen(command(out))
    while process.poll() is None and not (out / "claims").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    (checkpoint,) = (out / "checkpoints").iterdir()
    state = load_archive(checkpoint)
    assert len(state["curve"]) < 40
    for folder in (out, tmp_path / "peace"):
        subprocess.run(command(folder), check=True)
    assert row(out) == row(tmp_path / "peace")
    assert not list((out / "checkpoints").iterdir())
