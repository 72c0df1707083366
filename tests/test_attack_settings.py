"""Settings of attacks: each one is used, has the default that the manual says, or cannot be set."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from native_twins import needs_engine, twins

from nasbench_robust.attacks import fgsm, perturb, pgd
from nasbench_robust.attacks.apgd import checkpoints
from nasbench_robust.cells import Cell
from nasbench_robust.engines import choose_engine
from nasbench_robust.engines.draws import Draws
from nasbench_robust.engines.native.evaluation import evaluate, measure
from nasbench_robust.engines.torch import evaluate as evaluate_in_torch
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.images import load_arrays
from nasbench_robust.metrics import ATTACKS, OPTIONS, PARTS, Attack, Metric, stored_fields
from nasbench_robust.runs import run_cell
from nasbench_robust.search.arnas import arnas_settings_for
from nasbench_robust.settings import read_settings, settings_for
from nasbench_robust.skeletons import Skeleton

SKELETON = Skeleton.for_dataset("digits", channels=2, cells_per_stage=1)
CELL = Cell.from_index(9930)
VALUES = {"steps": 7, "step_size": 0.01, "random_start": True, "restarts": 3, "queries": 50, "targets": 3}
VALUES["checkpoints"] = "programs"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """Return a network whose decisions change within some hundredths, here and there only after some effort."""
    torch.manual_seed(0)
    widths = (64, 64, 64, 10)
    layers = [layer for pair in itertools.pairwise(widths) for layer in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    model = torch.nn.Sequential(torch.nn.Flatten(), *layers[:-1]).eval()
    for parameter in model.parameters():
        parameter.data *= 3
    return model


@pytest.fixture(scope="module")
def batch(network: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(200, 1, 8, 8, generator=seeded(1))
    with torch.no_grad():
        return images, network(images).argmax(dim=1)


# ------------------------------------------------------------------ what an attack does not use


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_used_or_cannot_be_set(name: str, option: str) -> None:
    if option in ATTACKS[name].uses:
        needed = {"random_start": True, "steps": 2} if name == "pgd" else {}
        assert getattr(Attack(name, 0.1, **{**needed, option: VALUES[option]}), option) == VALUES[option]
    else:
        with pytest.raises(InvalidValueError, match=f"{option} is .*: {name} does not use it"):
            Attack(name, 0.1, **{option: VALUES[option]})


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "autoattack"])
def test_an_option_that_is_used_changes_what_comes_out(
    name: str, network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    start = {"pgd": {"steps": 3, "random_start": True}, "fgsm": {}}.get(
        name, {"steps": 10, "queries": 20, "targets": 1}
    )
    used = {option: value for option, value in start.items() if option in ATTACKS[name].uses}
    base = Attack(name, 0.012, **used)
    expected = perturb(network, *batch, base, seeded())
    changes = {**VALUES, "random_start": False, "targets": 9, "steps": 1, "step_size": 0.005}
    for option in ATTACKS[name].uses:
        changed = replace(base, **{option: changes[option]})
        assert not torch.equal(perturb(network, *batch, changed, seeded()), expected), option


def test_autoattack_hands_its_options_to_those_parts_that_use_them() -> None:
    options = {name: value for name, value in VALUES.items() if name in ATTACKS["autoattack"].uses}
    whole, used = Attack("autoattack", 0.1, **options), set()
    for name in PARTS:
        part = {option: getattr(whole.part(name), option) for option in OPTIONS}
        assert part == {option: options[option] if option in ATTACKS[name].uses else None for option in OPTIONS}
        used |= set(ATTACKS[name].uses)
    assert used == set(options)


@pytest.mark.parametrize("value", [0.0, -0.01, math.nan, math.inf, True, "0.1", 10**400])
def test_a_step_has_a_length(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="step_size is"):
        Attack("pgd", 0.1, steps=20, step_size=value)
    with pytest.raises(InvalidValueError, match="step_size is"):
        Attack.pgd(0.1, step_size=value)


def test_pgd_has_the_default_step_wherever_it_is_made(tmp_path: Any) -> None:
    assert Attack("pgd", 0.1, steps=20) == replace(Attack.pgd(0.1), random_start=None, restarts=None)
    path = tmp_path / "settings.json"
    path.write_text('{"attack": {"step_size": null}, "evaluation": [{"name": "pgd", "eps": 0.1, "steps": 5}]}')
    settings = read_settings(path, settings_for("digits"))
    assert settings.attack.step_size == 2.5 * 0.1 / 7
    assert settings.evaluation[0].step_size == 2.5 * 0.1 / 5


def test_pgd_of_unknown_steps_describes_a_table_and_cannot_be_run(
    network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    unknown = Attack("pgd", 1 / 255)
    assert Metric.of(unknown).long_name == "pgd_acc@1/255"
    with pytest.raises(InvalidValueError, match="no steps of pgd@1/255 is given"):
        perturb(network, *batch, unknown, seeded())
    with pytest.raises(InvalidValueError, match="no steps of pgd@1/255 is given"):
        replace(settings_for("digits"), evaluation=(unknown,))


def test_tables_that_were_written_with_ignored_settings_stay_readable() -> None:
    for stored in ({"name": "pgd", "eps": 0.1, "steps": 5, "queries": 7}, {"name": "fgsm", "eps": 0.1, "steps": 7}):
        metric = Metric.from_dict({"name": f"{stored['name']}_acc", "attack": stored, "split": "test"})
        assert metric.attack in (Attack("pgd", 0.1, steps=5), Attack("fgsm", 0.1))


def test_later_fields_are_stored_only_where_they_are_set() -> None:
    assert not {"targets", "checkpoints"} & set(asdict(Attack.autoattack(0.1), dict_factory=stored_fields))
    stored = asdict(Attack.autoattack(0.1, targets=99, checkpoints="programs"), dict_factory=stored_fields)
    assert Attack(**stored) == Attack.autoattack(0.1, targets=99, checkpoints="programs")


# ------------------------------------------------------------------ norms and names at the doors


def test_a_norm_that_an_attack_does_not_have_is_refused_and_not_run_in_linf(
    network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    with pytest.raises(UnknownNameError, match="fgsm L2"):
        fgsm(network, *batch, Attack("fgsm", 0.5, "L2"))
    with pytest.raises(InvalidValueError, match="attack is 'fgsm', expected an Attack of the name pgd"):
        pgd(network, *batch, Attack.fgsm(0.1), seeded())
    with pytest.raises(UnknownNameError, match="L2 fgsm"):
        replace(settings_for("digits"), evaluation=(Attack("fgsm", 0.5, "L2"),))


# ------------------------------------------------------------------ restarts of PGD


def test_restarts_keep_what_fooled_and_change_nothing_where_there_is_one(
    network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    images, labels = batch
    attack = Attack.pgd(0.012, steps=2)
    once = perturb(network, images, labels, attack, seeded())
    assert torch.equal(once, perturb(network, images, labels, replace(attack, restarts=None), seeded()))
    generator = seeded()
    runs = [perturb(network, images, labels, attack, generator) for _ in range(3)]
    assert torch.equal(runs[0], once)
    expected = runs[-1].clone()
    for run in reversed(runs):
        fooled = network(run).argmax(dim=1) != labels
        expected[fooled] = run[fooled]
    assert torch.equal(perturb(network, images, labels, replace(attack, restarts=3), seeded()), expected)
    assert not torch.equal(expected, once)


def test_restarts_without_draws_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="restarts is 3, expected 1 without random_start"):
        Attack("pgd", 0.1, steps=5, random_start=False, restarts=3)


@needs_engine
def test_restarts_in_the_native_engine() -> None:
    native, images = twins(CELL, SKELETON)[1], load_arrays("digits")
    metric = Metric.of(Attack.pgd(0.02, steps=2))
    once, again = (evaluate(native, images, metric, Draws(0, "evaluation")) for _ in range(2))
    assert np.array_equal(once, again)
    assert np.array_equal(
        once, evaluate(native, images, Metric.of(replace(metric.attack, restarts=None)), Draws(0, "evaluation"))
    )
    more = Metric.of(replace(metric.attack, restarts=4))
    robust = evaluate(native, images, more, Draws(0, "evaluation"))
    assert robust.sum() <= once.sum()
    pixels = load_arrays("digits").test.pixels[:40]
    noise = Draws(0, "evaluation").uniform(-0.02, 0.02, (3, *pixels.shape))
    labels, step = images.test.labels[:40], {"eps": 0.02, "step_size": 0.02, "steps": 2}
    runs = [native.pgd(pixels, labels, each, **step) for each in noise]
    expected = runs[-1].copy()
    for run in reversed(runs):
        expected[~native.is_right(run, labels)] = run[~native.is_right(run, labels)]
    assert np.array_equal(native.pgd(pixels, labels, noise, **step), expected)


@needs_engine
def test_restarts_go_on_where_an_interruption_left_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nasbench_robust.engines.native.evaluation.PIXELS", 64 * 100)
    native, images = twins(CELL, SKELETON)[1], load_arrays("digits")
    metric = Metric.of(Attack.pgd(0.05, steps=2, restarts=2))
    parts = list(measure(native, images, metric, Draws(0, "evaluation")))
    done = parts[0].shape[1]
    rest = list(measure(native, images, metric, Draws(0, "evaluation"), done))
    assert np.array_equal(np.concatenate(parts[1:], axis=1), np.concatenate(rest, axis=1))


QUICK = replace(settings_for("digits"), skeleton=SKELETON, epochs=1, batch_size=256, evaluation=(Attack.fgsm(0.05),))


@pytest.mark.parametrize("engine", ["torch", "torch-fast", pytest.param("native", marks=needs_engine)])
def test_training_uses_the_attack_that_the_settings_name(engine: str) -> None:
    losses = set()
    for attack in (Attack.fgsm(0.1), Attack.pgd(0.1, steps=2), Attack.pgd(0.1, steps=2, restarts=3)):
        run = run_cell(CELL, replace(QUICK, attack=attack), load_arrays("digits"), 0, engine=engine)
        losses.add(run.curve[0].train_loss)
    assert len(losses) == 3


def test_training_by_an_attack_for_whole_splits_is_refused() -> None:
    with pytest.raises(
        InvalidValueError, match="attack is 'autoattack', expected an attack on single batches: fgsm or"
    ):
        replace(QUICK, attack=Attack.autoattack(0.1))


def test_a_name_alone_does_not_turn_pgd_into_fgsm(tmp_path: Any) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"attack": {"name": "fgsm"}}')
    with pytest.raises(InvalidValueError, match="steps is 7, expected 1 or None: fgsm does not use it"):
        read_settings(path, settings_for("digits"))


# ------------------------------------------------------------------ one column for each attack


@pytest.mark.parametrize("other", [Attack.pgd(8 / 255, steps=100), Attack.pgd(0.031373), Attack.pgd(8 / 255)])
def test_two_attacks_with_one_column_are_refused_before_the_training(other: Attack) -> None:
    with pytest.raises(InvalidValueError, match="evaluation is"):
        replace(settings_for("cifar10"), evaluation=(Attack.pgd(8 / 255), other))
    replace(settings_for("cifar10"), evaluation=(Attack.pgd(8 / 255), Attack.pgd(8 / 255, norm="L2")))


def test_files_that_hold_whole_attacks_may_have_both() -> None:
    assert [attack.steps for attack in arnas_settings_for("cifar10").evaluation[1:3]] == [20, 100]
    with pytest.raises(InvalidValueError, match="every attack once"):
        replace(arnas_settings_for("cifar10"), evaluation=(Attack.pgd(8 / 255), Attack.pgd(8 / 255)))


# ------------------------------------------------------------------ targets and checkpoints of AutoAttack


def test_checkpoints_of_the_programs() -> None:
    assert checkpoints(10, "programs") == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert checkpoints(10) == checkpoints(10, "paper") == [3, 5, 6, 7, 8, 9, 10]
    assert checkpoints(100, "programs") == checkpoints(100)
    for steps in range(1, 60):
        assert checkpoints(steps, "programs")[-1] <= max(steps, 1)


def test_as_many_classes_are_aimed_at_as_the_settings_say() -> None:
    """Auto-PGD goes towards one class after the other, the most likely first, until it has been towards all wanted."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 16, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.eye(16))
    images, labels = torch.linspace(0.4, 0.6, 16).view(1, 1, 4, 4), torch.tensor([15])
    aims: list[int] = []
    from nasbench_robust.attacks import apgd

    original = apgd.targeted_dlr
    try:
        apgd.targeted_dlr = lambda logits, known, targets: (
            aims.append(int(targets[0])),
            original(logits, known, targets),
        )[1]
        for count, expected in ((None, 9), (3, 3), (15, 15), (99, 15)):
            aims.clear()
            perturb(network, images, labels, Attack("apgd_t", 1e-4, steps=1, targets=count), seeded())
            assert len(set(aims)) == expected
    finally:
        apgd.targeted_dlr = original


def test_more_targets_than_wrong_classes_are_refused_by_settings() -> None:
    with pytest.raises(InvalidValueError, match="targets is 99, expected at most 9, the wrong classes of cifar10"):
        replace(settings_for("cifar10"), evaluation=(Attack.autoattack(8 / 255, targets=99),))
    replace(settings_for("cifar100"), evaluation=(Attack.autoattack(8 / 255, steps=10, targets=99),))


def test_the_engine_without_other_targets_says_so_and_auto_takes_another() -> None:
    settings = replace(QUICK, evaluation=(Attack.autoattack(0.1, targets=3, checkpoints="programs"),))
    with pytest.raises(
        InvalidValueError, match="torch for Linf autoattack with 3 targets and the checkpoints 'programs'"
    ):
        choose_engine("native", settings)
    assert choose_engine("auto", settings) == "torch-fast"


# ------------------------------------------------------------------ before anything is submitted or trained


@pytest.mark.parametrize("engine", ["torch", "torch-fast", pytest.param("native", marks=needs_engine)])
def test_a_network_for_other_images_is_refused_by_every_engine(engine: str) -> None:
    settings = replace(QUICK, skeleton=replace(SKELETON, classes=7))
    with pytest.raises(InvalidValueError, match=r"skeleton is .*10 classes and 1 x 8"):
        run_cell(CELL, settings, load_arrays("digits"), 0, engine=engine)


@pytest.mark.parametrize("command", ["train", "run", "submit"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "cuda", "--engine", "native"], "torch for cuda"),
        (["--device", "cuad"], "device"),
        (["--settings", "{L2}", "--engine", "native"], "L2 pgd"),
        (["--settings", "{L2 FGSM}"], "L2 fgsm"),
        (["--settings", "{L2 AutoAttack}", "--engine", "native"], "L2 autoattack"),
        (["--settings", "{two}"], "one column"),
        (["--settings", "{no step}"], "step_size"),
        (["--settings", "{other images}"], "skeleton"),
    ],
)
def test_what_cannot_run_is_refused_before_the_work(
    command: str, arguments: list[str], said: str, tmp_path: Any, capsys: Any, monkeypatch: Any
) -> None:
    from nasbench_robust.cli import main

    monkeypatch.setattr("nasbench_robust.runs.make_locally", lambda *_, **__: pytest.fail("started"))
    pgd_of = {"name": "pgd", "eps": 0.1, "steps": 5, "random_start": True}
    written = {
        "{L2}": {"evaluation": [{**pgd_of, "norm": "L2"}]},
        "{L2 FGSM}": {"evaluation": [{"name": "fgsm", "eps": 0.5, "norm": "L2"}]},
        "{L2 AutoAttack}": {"evaluation": [{"name": "autoattack", "eps": 0.5, "norm": "L2"}]},
        "{two}": {"evaluation": [pgd_of, {**pgd_of, "steps": 50}]},
        "{other images}": {"skeleton": {"classes": 7}},
        "{no step}": {"attack": {"step_size": -1}},
    }
    import json

    for number, (name, content) in enumerate(written.items()):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(content))
        arguments = [str(path) if word == name else word for word in arguments]
    cells = ["--index", "3"] if command == "train" else ["--cells", "3"]
    out = tmp_path / "out"
    assert main([command, *cells, "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (out / "runs").exists()
    assert not (out / "jobs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("command", ["train", "run"])
def test_no_gpu_is_noticed_before_the_work(command: str, tmp_path: Any, capsys: Any) -> None:
    from nasbench_robust.cli import main

    cells = ["--index", "3"] if command == "train" else ["--cells", "3"]
    assert main([command, *cells, "--out", str(tmp_path), "--device", "cuda"]) == 2
    assert "there is no CUDA device here" in capsys.readouterr().err


def test_evaluation_in_torch_and_counts_agree(
    network: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    one, three = (Metric.of(Attack.pgd(0.012, steps=2, restarts=count)) for count in (1, 3))
    outcomes = [evaluate_in_torch(network, *batch, [metric], seeded())[metric].sum() for metric in (one, three)]
    assert outcomes[1] <= outcomes[0]
