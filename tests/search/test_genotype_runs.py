"""Training of what a search found, ARNAS's genotypes and staged cells: recipe, interruptions, the program."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import StopAt
from processes import PATIENCE, started, wait_for

from nasbench_robust import metrics
from nasbench_robust.engines import Running, engine_named
from nasbench_robust.errors import InvalidValueError, RunInterruptedError
from nasbench_robust.images import TensorImages, load_images
from nasbench_robust.search.arnas import (
    ARNAS,
    ArnasSettings,
    arnas_settings_for,
    parse_architecture,
    run_architecture,
    run_name,
)
from nasbench_robust.search.arnas.runs import make_trainer
from nasbench_robust.settings import read_settings, settings_for

PROGRAM = Path(__file__).parents[2] / "generation" / "train_genotype.py"
TWO_PGDS = (metrics.pgd(0.1, steps=2), metrics.pgd(0.1, steps=3))  # the same column, not the same metric
QUICK = replace(
    arnas_settings_for("digits"),
    epochs=3,
    batch_size=64,
    milestones=(1, 2),
    attack=metrics.pgd(0.1, steps=1),
    evaluation=TWO_PGDS,
    channels=2,
    layers=4,
)
TIMES = (
    "train_seconds",
    "eval_seconds",
    "train_cpu_seconds",
    "eval_cpu_seconds",
    "peak_memory_mib",
    "date",
    "revision",
)


@pytest.fixture(scope="module")
def few(first_digits: Callable[[int], TensorImages]) -> TensorImages:
    return first_digits(160)


def test_defaults_are_the_published_recipe():
    settings = ArnasSettings()
    assert (settings.epochs, settings.batch_size, settings.max_lr, settings.weight_decay) == (200, 32, 0.1, 1e-4)
    assert (settings.attack.eps, settings.attack.steps, settings.attack.step_size) == (8 / 255, 7, 0.01)
    assert [settings.decay(epoch) for epoch in (98, 99, 148, 149, 199)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])
    assert [attack.steps for attack in settings.evaluation] == [1, 20, 100, 100]
    assert ArnasSettings.from_dict(settings.to_dict()) == settings
    assert len({settings.hash, replace(settings, layers=8).hash, replace(settings, milestones=()).hash}) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("milestones", [3, 2]), ("milestones", 5), ("milestones", [0]), ("gradient_clip", 0), ("layers", 3)],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InvalidValueError, match=f"{name} is"):
        ArnasSettings(**{name: value})


def test_long_gradients_are_clipped(few):
    settings = replace(QUICK, weight_decay=0.0, gradient_clip=1e-3)
    trainer = make_trainer(ARNAS, settings, few, 0)
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    trainer.step()
    moved = [new - old for new, old in zip(trainer.network.parameters(), before, strict=True)]
    length = torch.cat([part.detach().double().flatten() for part in moved]).norm().item()
    assert length == pytest.approx(0.1 * 1e-3, rel=1e-2)


@pytest.mark.parametrize("kind", ["arnas", "9930,1462"])
def test_interrupted_run_gives_the_same_result(kind, few, tmp_path):
    architecture = parse_architecture(kind)
    two = metrics.pgd(0.1, steps=2), metrics.pgd(0.05, steps=3)  # settings of tables have one PGD for a budget
    settings = replace(settings_for("digits"), epochs=3, batch_size=64, attack=QUICK.attack, evaluation=two)
    if kind == "arnas":
        settings = QUICK
    whole = run_architecture(architecture, settings, few, 1)
    path = tmp_path / "run.pt"
    for stop in (2, 5, 5):  # in the first epoch, in a later one, after both PGDs on the test images
        with pytest.raises(RunInterruptedError, match=f"{run_name(architecture, settings, 1)}: stopped"):
            run_architecture(architecture, settings, few, 1, checkpoint=path, should_stop=StopAt(stop))
    resumed = run_architecture(architecture, settings, few, 1, checkpoint=path)
    assert {**whole, **dict.fromkeys(TIMES)} == {**resumed, **dict.fromkeys(TIMES)}
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert [(entry["split"], entry["images"]) for entry in whole["accuracies"]] == [("test", 60)] * 3 + [
        ("validation", 40)
    ] * 3
    if kind == "arnas":
        assert [epoch["learning_rate"] for epoch in whole["curve"]] == pytest.approx([0.1, 0.01, 0.001])
        with pytest.raises(InvalidValueError, match="expected a state of the run"):
            run_architecture(architecture, replace(settings, max_lr=0.2), few, 1, checkpoint=path)


def test_two_attacks_of_one_budget_stay_apart_in_a_checkpoint(few, tmp_path):
    work = Running(engine_named("torch"), make_trainer(ARNAS, QUICK, few, 0), "run", [], tmp_path / "run.pt")
    with pytest.raises(RunInterruptedError):
        work.measure(lambda: len(work.outcomes) == 3)
    again = Running(engine_named("torch"), make_trainer(ARNAS, QUICK, few, 0), "run", [], tmp_path / "run.pt")
    assert list(again.outcomes) == list(QUICK.metrics[:3])
    assert all(np.array_equal(again.outcomes[metric], outcome) for metric, outcome in work.outcomes.items())
    again.measure(lambda: False)
    assert list(again.outcomes) == list(QUICK.metrics)


def test_settings_of_the_other_kind_are_refused(few):
    with pytest.raises(InvalidValueError, match="ArnasSettings for a Genotype"):
        make_trainer(ARNAS, settings_for("digits"), few, 0)


def test_diverged_run_has_a_reason_and_no_accuracies(few):
    result = run_architecture(ARNAS, replace(QUICK, max_lr=1e38), few, 0)
    assert result["failure"] == "the training loss is not finite in epoch 1"
    assert not {"curve", "accuracies"} & set(result)


def test_published_cells_learn_digits():
    settings = replace(QUICK, epochs=3, milestones=(2,), channels=4, batch_size=32)
    trainer = make_trainer(ARNAS, settings, load_images("digits"), 0)
    while not trainer.finished:
        trainer.step()
    first, last = trainer.curve[0], trainer.curve[-1]
    assert last.train_loss < 0.9 * first.train_loss
    assert last.clean_acc > 0.45  # chance is 0.1
    assert 0.2 < last.pgd_acc < last.clean_acc


# --- the program


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Sequence[str]], int]]:
    """The program's main function; the signal handlers that it sets are taken back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    monkeypatch.syspath_prepend(str(PROGRAM.parent))
    yield importlib.import_module("train_genotype").main
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_program_writes_a_result_once(program, tmp_path, capsys):
    overrides = tmp_path / "settings.json"
    overrides.write_text(json.dumps({"epochs": 1, "attack": {"steps": 1}, "evaluation": []}))
    arguments = ["--out", str(tmp_path / "out"), "--settings", str(overrides), "--genotype", "9930,77", "77"]
    assert program(arguments) == 0
    made = capsys.readouterr().out.splitlines()
    results = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert len(made) == len(results) == 2
    for result in results:
        (entry,) = (entry for entry in result["accuracies"] if entry["split"] == "test")
        assert any(f"clean_acc {entry['correct'] / 517:.4f}" in line for line in made)
        assert result["versions"].startswith("nasbench-robust")
    assert program(arguments) == 0
    assert capsys.readouterr().out.count("already in") == 2
    assert program([*arguments[:-2], "9930,nothing"]) == 2
    assert capsys.readouterr().err.startswith("train_genotype.py: ")


def test_program_stops_on_request(tmp_path):
    overrides = tmp_path / "settings.json"
    overrides.write_text(json.dumps({"channels": 2, "layers": 4, "attack": {"steps": 1}, "evaluation": []}))
    name = run_name(ARNAS, read_settings(overrides, arnas_settings_for("digits")), 0)
    command = [sys.executable, str(PROGRAM), "--out", str(tmp_path), "--settings", str(overrides)]
    checkpoint = tmp_path / "checkpoints" / f"{name}.ckpt"
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        wait_for((tmp_path / "claims").exists)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE)[0] == f"{name}: stopped on request\n"
    assert process.returncode == 75
    assert checkpoint.exists()
    assert not (tmp_path / f"{name}.json").exists()
