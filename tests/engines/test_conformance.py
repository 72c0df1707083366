"""What every engine owes: the same run again, stopped anywhere and taken up again, refused where it is not its own."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, StopAt
from native_twins import trained
from processes import PATIENCE, started, wait_for
from run_folders import rows_in

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines import ENGINES, choose_engine, engine_named, load_state, running, save_state
from nasbench_robust.engines.native import evaluation
from nasbench_robust.errors import (
    InvalidValueError,
    MissingDataError,
    RunInterruptedError,
    TrainingDivergedError,
    UnknownNameError,
)
from nasbench_robust.images import ArrayImages, load_arrays
from nasbench_robust.metrics import Metric
from nasbench_robust.native import is_available
from nasbench_robust.runs import Run, run_cell
from nasbench_robust.runs.jobs import EXIT_REQUEUE
from nasbench_robust.settings import settings_for

# Engines that can run here; graphs are played back on a pretended GPU in tests/pretend_cuda.
HERE = [
    pytest.param(name, marks=pytest.mark.skipif(name == "native" and not is_available(), reason="no native engine"))
    for name, row in ENGINES.items()
    if not row.graph
]
each_engine = pytest.mark.parametrize("engine", HERE)
CELL = Cell.from_index(9930)
QUICK = replace(
    settings_for("digits"),
    epochs=3,
    batch_size=16,
    flip=True,
    attack=metrics.pgd(0.1, steps=2),
    evaluation=(metrics.pgd(0.1, steps=2), replace(metrics.autoattack(0.1, steps=2), queries=10)),
    skeleton=replace(settings_for("digits").skeleton, channels=2, cells_per_stage=1),
)
STEPS = 3 * 4  # four batches an epoch
COSTS = ("train_seconds", "eval_seconds", "train_cpu_seconds", "eval_cpu_seconds", "peak_memory_mib")
CIRCUMSTANCES = (*COSTS, "date", "revision")
PROGRAM = ROOT / "generation" / "train_cell.py"


@pytest.fixture(scope="module")
def few() -> ArrayImages:
    images = load_arrays("digits")
    return replace(images, train=images.train[:62], test=images.test[:48], validation=images.validation[:24])


@pytest.fixture(autouse=True)
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "PIXELS", 16 * 64)


@pytest.fixture(scope="module")
def undisturbed(few: ArrayImages) -> Callable[[str], Run]:
    """The run of an engine that was left alone, made once."""
    made: dict[str, Run] = {}

    def of(engine: str) -> Run:
        if engine not in made:
            made[engine] = make(engine, few)
        return made[engine]

    return of


def make(engine, images, path=None, should_stop=lambda: False, seed=1, progress=None) -> Run:
    options = {"engine": engine, "checkpoint": path, "should_stop": should_stop, "progress": progress}
    return run_cell(CELL, QUICK, images, seed, **options)


def assert_same(one: Run, other: Run) -> None:
    assert {**one.row, **dict.fromkeys(CIRCUMSTANCES)} == {**other.row, **dict.fromkeys(CIRCUMSTANCES)}
    assert one.curve == other.curve
    assert list(one.outcomes) == list(other.outcomes) == list(QUICK.metrics)
    assert all(np.array_equal(one.outcomes[metric], other.outcomes[metric]) for metric in other.outcomes)
    assert list(one.parts) == list(other.parts)
    assert all(np.array_equal(one.parts[part], other.parts[part]) for part in other.parts)


# ------------------------------------------------------------------ one run


@each_engine
def test_a_run_is_complete_and_names_its_engine(engine, few, undisturbed):
    run = undisturbed(engine)
    assert run.row["engine"] == engine
    assert [epoch.epoch for epoch in run.curve] == [1, 2, 3]
    assert [len(outcome) for outcome in run.outcomes.values()] == [48, 48, 48, 24, 24]
    assert all(run.row[metric.count_column] == outcome.sum() for metric, outcome in run.outcomes.items())
    assert list(run.parts) == [f"autoattack_acc@0.1>{part}" for part in metrics.PARTS]
    assert np.array_equal(run.parts["autoattack_acc@0.1>square"], run.outcomes[Metric.of(QUICK.evaluation[1])])
    assert min(run.row[name] for name in COSTS) > 0
    assert_same(make(engine, few), run)
    assert make(engine, few, seed=2).curve != run.curve


@each_engine
def test_divergence_is_an_error_of_the_trainer_and_no_number(engine: str, few: ArrayImages) -> None:
    wild, made = replace(QUICK, max_lr=1e30), engine_named(engine)
    trainer = made.trainer(CELL, wild, made.load(few, "cpu"), 0)
    with pytest.raises(TrainingDivergedError, match=r"the training loss is not finite in epoch 1"):
        _ = [trainer.step() for _ in range(STEPS)]
    row = run_cell(CELL, wild, few, 0, engine=engine).row
    assert row["failure"] == "the training loss is not finite in epoch 1"
    assert not any("_acc" in name for name in row)


@each_engine
def test_images_without_the_split_of_the_curves_are_refused_at_once(engine: str, few: ArrayImages) -> None:
    made = engine_named(engine)
    images = made.load(replace(few, validation=None), "cpu")
    with pytest.raises(InvalidValueError, match="have no validation split"):
        made.trainer(CELL, QUICK, images, 0)


# ------------------------------------------------------------------ stopped and taken up again


@each_engine
def test_run_stopped_at_any_moment_gives_the_same_row(engine, few, undisturbed, tmp_path):
    asked = StopAt(0)
    assert_same(make(engine, few, should_stop=asked), undisturbed(engine))
    assert asked.asked >= STEPS + len(QUICK.metrics)
    moments = np.linspace(1, asked.asked, 25 if engine == "native" else 8).astype(int)  # within a measurement too
    for moment in moments.tolist():
        path = tmp_path / f"{moment}.ckpt"
        with pytest.raises(RunInterruptedError, match="cell 9930, seed 1: stopped on request"):
            make(engine, few, path, StopAt(moment))
        assert_same(make(engine, few, path), undisturbed(engine))


@each_engine
def test_run_stopped_again_and_again_gives_the_same_row(engine, few, undisturbed, tmp_path):
    path, stops = tmp_path / "run.ckpt", 0
    while True:
        try:  # a part of an AutoAttack is the most that is made without a stop
            run = make(engine, few, path, StopAt(1 if stops < STEPS else 100))
        except RunInterruptedError:
            stops += 1
        else:
            break
    assert stops >= STEPS
    assert_same(run, undisturbed(engine))
    assert run.row["train_seconds"] > 0


@each_engine
def test_weights_of_a_run_taken_up_again_are_equal_to_the_last_bit(engine, few, tmp_path):
    def train(path: Path | None, should_stop: Callable[[], bool]) -> dict:
        made = engine_named(engine)
        under_way = running.Running(made, made.trainer(CELL, QUICK, made.load(few, "cpu"), 1), "run", [1], path)
        under_way.train(None, 1, should_stop)
        return under_way.trainer.state_dict()

    path = tmp_path / "run.ckpt"
    for moment in (2, 4, 5):  # within the first epoch, at the end of an epoch, anywhere
        with pytest.raises(RunInterruptedError):
            train(path, StopAt(moment))
    states = [train(where, lambda: False) for where in (path, None)]
    for state, name in zip(states, ("resumed", "whole"), strict=True):
        save_state({**state, "seconds": 0}, tmp_path / name)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


@each_engine
def test_seconds_of_all_parts_are_added(engine: str, few: ArrayImages, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    epochs, more = [], iter(range(2))
    with pytest.raises(RunInterruptedError):  # in a measurement after the training
        make(engine, few, path, lambda: len(epochs) == 3 and next(more, None) is None, progress=epochs.append)
    before = load_state(path)
    assert min(before["eval_seconds"], before["eval_cpu_seconds"]) > 0
    assert min(before["training"]["seconds"], before["train_cpu_seconds"]) > 0
    save_state({**before, "eval_seconds": 1e6, "eval_cpu_seconds": 2e6}, path)  # far more than is left to do
    row = make(engine, few, path).row
    assert row["train_seconds"] == before["training"]["seconds"]
    assert row["train_cpu_seconds"] == before["train_cpu_seconds"]
    assert row["eval_seconds"] > 1e6
    assert row["eval_cpu_seconds"] > 2e6


@each_engine
def test_seconds_of_processors_are_those_of_all_threads_and_not_of_waiting(engine, few, monkeypatch) -> None:
    made, beside = engine_named(engine), []

    def work() -> None:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000)
        beside.append(time.thread_time())

    def busy_and_idle(*_: object) -> Iterator[np.ndarray]:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        time.sleep(0.2)
        yield np.ones((1, 48), bool)

    monkeypatch.setattr(made, "measure", busy_and_idle)
    under_way = running.Running(made, made.trainer(CELL, QUICK, made.load(few, "cpu"), 1), "run", [1], None)
    under_way._measure_rest(Metric("clean_acc"))
    assert 0.01 < sum(beside) <= under_way.eval_cpu_seconds < under_way.eval_seconds - 0.15


@each_engine
def test_work_is_kept_at_epochs_and_metrics_that_take_long(engine, few, undisturbed, tmp_path, monkeypatch):
    path, epochs = tmp_path / "run.ckpt", []

    def killed(epoch: object) -> None:
        epochs.append(epoch)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    make(engine, few, path)
    assert not path.exists()  # half a minute has not passed
    monkeypatch.setattr(running, "SPARING", 0)
    with pytest.raises(KeyboardInterrupt):
        make(engine, few, path, progress=killed)
    assert len(load_state(path)["training"]["curve"]) == 2
    assert_same(make(engine, few, path, progress=epochs.append), undisturbed(engine))
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 3]
    state = load_state(path)
    assert len(state["ended"]) == len(QUICK.metrics) - 1  # the last one is at work when it is written
    assert state["eval_seconds"] > 0


@each_engine
def test_a_long_epoch_is_kept_in_its_middle(engine, few, undisturbed, tmp_path, monkeypatch):
    path, asked = tmp_path / "run.ckpt", iter(range(2))
    monkeypatch.setattr(running, "GENEROUS", 0)
    with pytest.raises(StopIteration):  # killed in an epoch of four batches, without a chance to checkpoint
        make(engine, few, path, lambda: next(asked) < 0)
    assert load_state(path)["training"]["sums"][0] == 3 * QUICK.batch_size
    monkeypatch.undo()
    assert_same(make(engine, few, path), undisturbed(engine))


# ------------------------------------------------------------------ checkpoints


@each_engine
def test_checkpoint_of_another_run_or_engine_is_refused_and_kept(engine: str, few: ArrayImages, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    with pytest.raises(RunInterruptedError):
        make(engine, few, path, lambda: True)
    content = path.read_bytes()
    other = "torch" if engine != "torch" else "torch-fast"
    for made_by, seed, differs in ((engine, 2, "seed 2, not 1:"), (other, 1, f"engine {other}, not {engine}:")):
        with pytest.raises(InvalidValueError, match=f"expected a state of the run with {differs} use another --out"):
            make(made_by, few, path, seed=seed)
    longer = replace(QUICK, epochs=4)
    with pytest.raises(
        InvalidValueError, match=f"with settings {longer.hash}, not {QUICK.hash}: use another --out, or"
    ):
        run_cell(CELL, longer, few, 1, engine=engine, checkpoint=path)
    assert path.read_bytes() == content


@each_engine
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "of torch"])
def test_damaged_checkpoint_is_set_aside_and_the_run_starts_again(engine, damage, few, undisturbed, tmp_path, caplog):
    path = tmp_path / "run.ckpt"
    with pytest.raises(RunInterruptedError):
        make(engine, few, path, StopAt(6))
    content = path.read_bytes()
    middle = len(content) // 2
    turned = bytes(byte ^ 1 for byte in content[middle : middle + 500])  # so many that some are no padding
    flipped = content[:middle] + turned + content[middle + 500 :]
    replacement = {"cut": content[:-500], "flipped": flipped, "empty": b"", "foreign": b"hello"}
    if damage == "of torch":
        torch.save({"key": [1]}, path)
    else:
        path.write_bytes(replacement[damage])
    assert_same(make(engine, few, path), undisturbed(engine))
    assert (tmp_path / "run.ckpt.damaged").exists()
    assert "cannot be read" in caplog.text


def test_a_state_comes_back_and_what_would_run_code_does_not(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    with open(path, "wb") as file:
        np.savez(file, skeleton=np.array([{"an": "object"}], dtype=object))
    assert load_state(path) is None
    state = {"number": 0.1, "large": 2**127, "none": None, "nested": {0: [1, "a", {"b": True}]}, "empty": {}}
    save_state({"array": np.arange(3), "tensors": [torch.eye(2), torch.tensor(7)], **state}, path)
    again = load_state(path)
    assert again.pop("array").tolist() == [0, 1, 2]
    matrix, number = again.pop("tensors")
    assert (matrix.tolist(), number.shape, int(number)) == ([[1, 0], [0, 1]], (), 7)
    assert again == state


def test_failed_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.ckpt"
    save_state({"step": 1}, path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_state({"step": 2}, path)
    assert load_state(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def text_in(folder: Path) -> str:
    return "".join(map(Path.read_text, folder.glob("*")))


# As the program, but that it keeps what it has at every epoch.
EAGER = f"""
import runpy, sys
from nasbench_robust.engines import running
running.SPARING = 0
sys.argv = sys.argv[1:]
runpy.run_path({str(PROGRAM)!r}, run_name="__main__")
"""


@pytest.mark.parametrize(("engine", "channels"), [pytest.param("native", 16, marks=HERE[0].marks), ("torch-fast", 2)])
def test_program_killed_at_random_moments_gives_the_same_row(engine, channels, tmp_path):
    """A run takes some seconds: more than the moments, and not many more."""
    settings = replace(settings_for("digits"), epochs=8 if engine == "native" else 5, evaluation=QUICK.evaluation[:1])
    skeleton = replace(settings.skeleton, channels=channels)
    settings = replace(settings, attack=metrics.pgd(0.1, steps=1), skeleton=skeleton)
    (tmp_path / "settings.json").write_text(json.dumps(settings.to_dict()))
    arguments = ["--index", "9930", "--settings", str(tmp_path / "settings.json"), "--out", str(tmp_path)]
    command = [sys.executable, "-c", EAGER, str(PROGRAM), *arguments, "--engine", engine]
    rng, codes, claims = random.Random(0), [], tmp_path / "claims"
    for kind in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        with started(command) as process:
            pid = f'"pid": {process.pid},'
            wait_for(lambda pid=pid, process=process: process.poll() is not None or pid in text_in(claims))
            time.sleep(rng.uniform(0.1, 0.6))
            process.send_signal(kind)
            codes.append(process.wait(PATIENCE))
    subprocess.run(command, check=True, timeout=PATIENCE)
    (row,) = rows_in(tmp_path)
    expected = {**dict.fromkeys(row), **run_cell(CELL, settings, load_arrays("digits"), 0, engine=engine).row}
    left_out = dict.fromkeys((*CIRCUMSTANCES, "release", "run"))
    assert {**row, **left_out} == {**expected, **left_out}
    assert not list((tmp_path / "checkpoints").iterdir())
    assert codes[0] == -signal.SIGKILL  # in the middle of the run
    assert set(codes) <= {-signal.SIGKILL, EXIT_REQUEUE, 0}


# ------------------------------------------------------------------ the table of engines


def test_every_row_says_what_it_is_for_and_why_it_may_be_trusted() -> None:
    for name, row in ENGINES.items():
        assert name == row.name == engine_named(name).name
        assert min(len(row.use), len(row.evidence)) > 10
        assert row.precision == next((kind for kind in ("bf16", "tf32") if kind in name), "fp32")
        assert row.graph == name.endswith("graph")


def test_unknown_engines_are_refused(few: ArrayImages) -> None:
    with pytest.raises(UnknownNameError, match="unknown engine 'nativ'; did you mean 'native'"):
        make("nativ", few)


@pytest.mark.parametrize(
    ("name", "device", "change", "message"),
    [
        ("native", "cuda", {}, "expected torch for cuda"),
        ("native", "cpu", {"evaluation": (metrics.pgd(0.5, norm="L2"),)}, "expected torch for L2 pgd"),
        ("native", "cpu", {"attack": metrics.pgd(0.5, norm="L2")}, "expected torch for L2 pgd"),
        ("torch-fast-graph", "cpu", {}, "expected torch-fast for cpu"),
    ],
)
def test_an_engine_refuses_what_it_cannot_do(name: str, device: str, change: dict, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        choose_engine(name, replace(QUICK, **change), device)


def test_auto_takes_the_engine_of_the_largest_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    l2, large = replace(QUICK, evaluation=(metrics.pgd(0.5, norm="L2"),)), settings_for("cifar10")
    first = "native" if is_available() else "torch-fast"
    assert choose_engine("auto", QUICK) == choose_engine("auto", large) == first
    assert choose_engine("auto", QUICK, threads=2) == first
    assert choose_engine("auto", large, threads=2) == first
    assert choose_engine("auto", l2) == "torch-fast"
    assert choose_engine("auto", QUICK, "cuda") == "torch-fast-graph"
    monkeypatch.setattr("nasbench_robust.engines.native.engine.is_available", lambda: False)
    assert choose_engine("auto", QUICK) == "torch-fast"
    with pytest.raises(MissingDataError, match="this installation has no native engine; install a C\\+\\+ compiler"):
        choose_engine("native", QUICK)


def test_images_measured_in_parts_have_the_draws_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_available():
        pytest.skip("no native engine")
    engine, images = engine_named("native"), load_arrays("digits")
    trainer = trained(replace(QUICK, epochs=4), images, 1)
    for attack in (metrics.pgd(0.1, steps=3), replace(metrics.autoattack(0.1, steps=2), queries=20)):
        metric = Metric.of(attack)
        monkeypatch.setattr(evaluation, "PIXELS", 2**19)
        whole = list(engine.measure(trainer, metric, 0))
        assert [part.shape[1] for part in whole] == [517]
        monkeypatch.setattr(evaluation, "PIXELS", 100 * 64)
        parts = list(engine.measure(trainer, metric, 96))
        assert [part.shape[1] for part in parts] == [96, 96, 96, 96, 37]
        assert np.array_equal(np.concatenate(parts, axis=1), whole[0][:, 96:])
        assert 0 < whole[0][-1].sum() < 517
