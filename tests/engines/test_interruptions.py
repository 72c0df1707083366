"""Measurements stopped in their middle, checkpoints of another device, and what a run says of its own memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import StopAt

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines import Step, load_state, provenance, save_state, watching
from nasbench_robust.engines.checkpoints import finished_epochs
from nasbench_robust.engines.torch import evaluate, make_generator
from nasbench_robust.errors import InvalidValueError, RunInterruptedError
from nasbench_robust.images import load_images
from nasbench_robust.metrics import PARTS, Metric
from nasbench_robust.networks import network_for
from nasbench_robust.runs import run_cell
from nasbench_robust.search.supernet import run_search, search_settings_for
from nasbench_robust.settings import settings_for

CELL = Cell.from_index(9930)
SMALL = replace(
    settings_for("digits"),
    epochs=1,
    batch_size=64,
    attack=metrics.pgd(0.1, steps=1),
    evaluation=(metrics.fgsm(0.1),),
    skeleton=replace(settings_for("digits").skeleton, channels=2, cells_per_stage=1),
)
WANTED = [
    Metric("clean_acc"),
    Metric.of(metrics.pgd(0.05, steps=2)),
    Metric.of(replace(metrics.autoattack(0.05, steps=2), queries=10)),
    Metric.of(metrics.pgd(0.1, steps=2, norm="L2")),
]


@pytest.fixture(scope="module")
def few():
    images = load_images("digits")
    return replace(images, train=images.train[:128], test=images.test[:64], validation=images.validation[:32])


def measure(few, kept=None, should_stop=None, tell=None) -> list[np.ndarray]:
    network = network_for(CELL, SMALL.skeleton, "digits", make_generator(0, "weights"))
    with watching(should_stop, tell):
        generator = make_generator(0, "evaluation")
        found = evaluate(network, *few.test, WANTED, generator, batch_size=24, kept=kept)
    assert network.training
    assert not network._forward_pre_hooks
    return [*(found[metric].numpy() for metric in WANTED), generator.get_state().numpy()]


def test_a_measurement_stopped_anywhere_goes_on_with_the_same_draws(few, tmp_path: Path) -> None:
    asked = StopAt(0)
    whole = measure(few, should_stop=asked)
    for moment in np.linspace(1, asked.asked, 10).astype(int).tolist():
        kept: dict = {}
        with pytest.raises(RunInterruptedError):
            measure(few, kept, StopAt(moment))
        save_state(kept, tmp_path / "kept")
        stored = load_state(tmp_path / "kept")
        tensors = {name: [torch.from_numpy(each) for each in stored[name]] for name in ("outcomes", "parts")}
        if "draws" in stored:
            tensors["draws"] = torch.from_numpy(stored["draws"])
        left = StopAt(0)
        assert all(map(np.array_equal, measure(few, tensors, left), whole))
        # A part of an AutoAttack is what is lost at most; elsewhere it is a batch, of three passes here.
        assert left.asked <= asked.asked - moment + 1 + (asked.asked if len(kept["outcomes"]) == 2 else 3)


def test_batches_and_parts_are_told(few) -> None:
    told: list[Step] = []
    measure(few, tell=told.append)
    steps = list(dict.fromkeys(told))
    assert [step.done for step in steps if step.what == WANTED[1].column] == [0, 1, 2]
    attack = [step for step in steps if step.what == WANTED[2].column]
    assert attack == [Step(WANTED[2].column, done, len(PARTS)) for done in range(5)]


@pytest.mark.parametrize("engine", ["torch", "torch-fast"])
def test_a_checkpoint_of_a_gpu_is_refused_on_a_cpu(engine: str, few, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, SMALL, few, 0, engine=engine, checkpoint=path, should_stop=StopAt(2))
    state = load_state(path)
    assert state["device"] == "cpu"
    save_state({**state, "device": "cuda"}, path)
    content = path.read_bytes()
    with pytest.raises(InvalidValueError, match="use --device cuda, or remove the file to begin again"):
        run_cell(CELL, SMALL, few, 0, engine=engine, checkpoint=path)
    assert path.read_bytes() == content


def test_one_shot_scores_go_on_where_they_were(few, tmp_path: Path) -> None:
    settings = search_settings_for("digits", "darts")
    settings = replace(settings, epochs=1, one_shot_cells=3, skeleton=replace(settings.skeleton, channels=2))
    whole, path, stops = run_search(settings, few, 0), tmp_path / "search.ckpt", 0
    while True:
        try:
            found = run_search(settings, few, 0, checkpoint=path, should_stop=StopAt(12))
            break
        except RunInterruptedError:
            stops += 1
    assert stops >= 2
    assert {**found, "seconds": 0} == {**whole, "seconds": 0}
    state = load_state(path)
    assert len(state["one_shot"]["rows"]) > 0
    assert finished_epochs(path) == 1


def test_finished_epochs_are_read_and_a_file_that_cannot_be_read_stays(few, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    assert finished_epochs(path) is None
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, SMALL, few, 0, checkpoint=path, should_stop=StopAt(1))
    assert finished_epochs(path) == 0
    path.write_bytes(b"no checkpoint")
    assert finished_epochs(path) is None
    assert path.read_bytes() == b"no checkpoint"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak since a moment")
def test_peak_memory_is_that_of_the_run(few) -> None:
    ballast = np.ones(300 * 2**17)  # 300 MiB
    high = provenance.peak_memory_mib()
    assert ballast.sum() > 0
    del ballast
    Path("/proc/self/clear_refs").write_text("5")
    if provenance.peak_memory_mib() > high - 250:
        pytest.skip("the system does not let a process forget its peak")
    ballast = np.ones(300 * 2**17)
    assert provenance.peak_memory_mib() > high - 50
    del ballast
    run = run_cell(CELL, SMALL, few, 0)
    assert run.row["peak_memory_mib"] < high - 200
