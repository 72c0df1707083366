"""What every public function refuses that takes images, labels or a radius: found by reflection, not by a list."""

from __future__ import annotations

import functools
import inspect
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from native_twins import needs_engine, twins

from nasbench_robust import attacks, metrics, ntk, proxies
from nasbench_robust.attacks import AttackWarning, autoattack, evaluating, perturb, pgd
from nasbench_robust.cells import Cell
from nasbench_robust.engines import native as native_engine
from nasbench_robust.engines import torch as torch_engine
from nasbench_robust.errors import NasbenchRobustError
from nasbench_robust.images import Images, Split, load_arrays, load_images
from nasbench_robust.metrics import ATTACKS, Attack, Metric
from nasbench_robust.networks import Network, network_for, supernet_for
from nasbench_robust.search import bounds, supernet
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton

ROOMS = (attacks, torch_engine, ntk, proxies, bounds, supernet)
SKELETON = Skeleton.for_dataset("digits", channels=2, cells_per_stage=1)
CELL = Cell.from_index(9930)
# Names of parameters that hold images; those of labels and of radii have one name everywhere.
PIXELS = ("images", "others", "adversarial", "statistics")
INTERNAL = {"check_images", "check_labels", "check_splits", "labels_in_range", "warn_of_network", "checked_radius"}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network() -> Network:
    return network_for(CELL, SKELETON, "digits", seeded())


IMAGES = torch.rand(6, 1, 8, 8, generator=seeded(1))
LABELS = torch.arange(6)
WRONG_PIXELS = {
    "sixteenths": IMAGES * 16,
    "bytes": IMAGES * 255,
    "centred": IMAGES * 2 - 1,
    "standardised": (IMAGES - 0.3) / 0.3,
    "nan": torch.where(IMAGES > 0.9, torch.nan, IMAGES),
    "inf": torch.where(IMAGES > 0.9, torch.inf, IMAGES),
    "uint8 on the scale of digits": (IMAGES * 16).to(torch.uint8),
    "integers": (IMAGES * 16).long(),
    "booleans": IMAGES > 0.5,
    "a row": IMAGES[:, 0, 0, 0],
}
WRONG_LABELS = {
    "-1": LABELS - 1,
    "10": LABELS + 5,
    "-100": torch.where(LABELS == 2, -100, LABELS),
    "floats": LABELS.float(),
    "booleans": LABELS > 2,
    "too few": LABELS[:3],
    "a column": LABELS[:, None],
    "one hot": torch.nn.functional.one_hot(LABELS, 10),
}
FLOAT32 = "expected float32, as the parameters of the network are; did you mean {}.to(torch.float32)?"
WRONG_RADII = {"nan": math.nan, "levels": 8, "negative": -0.1, "inf": math.inf, "text": "eight", "None": None}


def settings(name: str) -> Attack:
    """Return settings of an attack that end soon."""
    wanted = {"steps": 2, "queries": 5, "step_size": 0.05, "random_start": True}
    return Attack(name, 0.1, **{key: value for key, value in wanted.items() if key in ATTACKS[name].uses})


@functools.cache
def arguments() -> dict[str, Any]:
    """Return a value for every parameter that a public function with images may need, by its name."""
    model, shared = network().eval(), supernet_for(SKELETON, "digits", seeded()).eval()
    fixed = ntk.FixedNetwork(model, IMAGES, bn="batch_frozen")
    return {
        **{"network": model, "forward": model, "supernet": shared, "fixed": fixed, "cells": [CELL]},
        **{"images": IMAGES, "labels": LABELS, "statistics": IMAGES, "eps": 0.1, "attack": metrics.pgd(0.1, steps=2)},
        **{"metrics": [Metric("clean_acc")], "bn": "batch_frozen", "output": "sum"},
        **{"beta": 0.5, "name": "grad_norm", "names": ["grad_norm"], "others": IMAGES, "adversarial": IMAGES},
    }


def doors() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every public function that takes images, and how it is called."""
    for room in ROOMS:
        for name in room.__all__:
            function = getattr(room, name)
            if inspect.isfunction(function) and name not in INTERNAL:
                images = inspect.signature(function).parameters.get("images")
                if images is not None and images.annotation == "torch.Tensor":
                    yield f"{room.__name__}.{name}", function
    yield "FixedNetwork", ntk.FixedNetwork
    yield (
        "FixedNetwork.attacked",
        lambda images, labels, attack, generator: ntk.FixedNetwork(network(), IMAGES, bn="eval").attacked(
            images, labels, attack, generator
        ),
    )


DOORS = dict(doors())


def call(name: str, **changes: Any) -> Any:
    """Call a door with arguments as they should be, but for the changes."""
    function = DOORS[name]
    given = {**arguments(), "generator": seeded(), **changes}
    last = name.rpartition(".")[2]
    if last in ATTACKS and "attack" not in changes:
        given["attack"] = settings(last)
    taken = inspect.signature(function).parameters
    if last == "scores":  # where the attack is only a name
        given["attack"] = "pgd"
    return function(**{key: given[key] for key in taken if key in given})


def refusal(name: str, **changes: Any) -> str:
    """Return the one sentence by which a door refuses the changes; nothing if it takes them."""
    try:
        call(name, **changes)
    except NasbenchRobustError as error:
        return str(error).replace("\n", " (in several lines)")
    return ""


def is_sentence(text: str) -> bool:
    return bool(text) and "several lines" not in text


def test_doors_are_found() -> None:
    found = {name.rpartition(".")[2] for name in DOORS}
    assert found >= {*ATTACKS, "perturb", "evaluate", "ntk", "kernels", "score", "scores", "log_radius"} - {"corners"}
    assert found >= {"certified_margins", "jacobian_norms", "jacobian_robustness", "linearised_radius", "versions"}
    assert found >= {"gram_matrix", "one_shot_accuracies", "image_box"}


@pytest.mark.parametrize("name", DOORS)
def test_every_door_opens_to_good_input(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AttackWarning)
        call(name)


@pytest.mark.parametrize("name", DOORS)
def test_wrong_pixels_are_refused_everywhere(name: str) -> None:
    for argument in PIXELS:
        if argument in inspect.signature(DOORS[name]).parameters:
            for kind, wrong in WRONG_PIXELS.items():
                assert is_sentence(refusal(name, **{argument: wrong})), f"{name} took {kind} as {argument}"


@pytest.mark.parametrize("name", DOORS)
def test_images_of_another_precision_are_converted_or_refused_by_both_types(name: str) -> None:
    for argument in PIXELS:
        if argument in inspect.signature(DOORS[name]).parameters:
            told = refusal(name, **{argument: IMAGES.double()})
            assert told in ("", f"the type of {argument} is 'float64', {FLOAT32.format(argument)}")
            assert told or not name.startswith("nasbench_robust.attacks")


class Casting(torch.nn.Module):
    """A network that takes whatever it is given, and one that fails for another reason."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.inner, self.fails = network(), fails

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images.float()[:, :, : 7 if self.fails else 8].reshape(-1, 1, 8, 8))


def test_a_network_that_converts_is_attacked_and_another_fault_stays_what_it_is() -> None:
    attacked = pgd(Casting(), IMAGES.double(), LABELS, settings("pgd"), seeded())
    assert attacked.dtype == torch.float64
    with pytest.raises(RuntimeError, match="shape"):
        pgd(Casting(fails=True), IMAGES.double(), LABELS, settings("pgd"), seeded())


@pytest.mark.parametrize(
    "name", [name for name, door in DOORS.items() if "labels" in inspect.signature(door).parameters]
)
def test_wrong_labels_are_refused_everywhere(name: str) -> None:
    for kind, wrong in WRONG_LABELS.items():
        assert is_sentence(refusal(name, labels=wrong)), f"{name} took labels of the kind {kind}"


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if "eps" in inspect.signature(door).parameters])
def test_wrong_radii_are_refused_everywhere(name: str) -> None:
    for wrong in WRONG_RADII.values():
        with pytest.raises(NasbenchRobustError, match=r"^(eps is|no eps is given)"):
            call(name, eps=wrong)


@needs_engine
@pytest.mark.parametrize(
    "name", ["logits", "logits_and_gradient", "tangent_kernel", "pgd", "autoattack", "differentiate"]
)
def test_the_native_engine_refuses_the_same(name: str) -> None:
    engine = twins(CELL, SKELETON)[1]
    taken = inspect.signature(getattr(engine, name)).parameters
    good = {
        **{"images": IMAGES.numpy(), "labels": LABELS.numpy(), "noise": None, "eps": 0.1, "step_size": 0.1, "steps": 1},
        **{"queries": 1, "restarts": 1, "seed": 0, "logit_gradient": np.ones((6, 10), np.float32)},
        "cotangents": np.ones((6, 10), np.float32),
    }
    good = {key: value for key, value in good.items() if key in taken}
    getattr(engine, name)(**good)
    scales = {kind: wrong for kind, wrong in WRONG_PIXELS.items() if kind != "booleans"}  # 0 and 1 are pixels
    wrongs = {"images": scales, "labels": WRONG_LABELS, "eps": WRONG_RADII}
    wrongs |= {"step_size": {"nan": math.nan, "negative": -0.1}, "steps": {"negative": -1, "float": 1.5}}
    wrongs |= {"seed": {"negative": -1}, "cotangents": {"nan": np.full((6, 10), np.nan)}}
    for argument, values in wrongs.items():
        for wrong in values.values() if argument in taken else ():
            with pytest.raises(NasbenchRobustError):
                getattr(engine, name)(**{**good, argument: wrong.numpy() if hasattr(wrong, "numpy") else wrong})


@needs_engine
def test_the_native_engine_takes_images_of_another_precision() -> None:
    engine = twins(CELL, SKELETON)[1]
    step = {"eps": 0.1, "step_size": 0.1, "steps": 2}
    single, double = (engine.pgd(IMAGES.numpy().astype(kind), LABELS.numpy(), None, **step) for kind in ("f4", "f8"))
    assert np.array_equal(single, double)


# ------------------------------------------------------------------ the network comes back as it was


@pytest.mark.parametrize("name", [name for name in DOORS if name.split(".")[1:2] == ["attacks"] or "evaluate" in name])
@pytest.mark.parametrize("fails", [False, True])
def test_a_network_in_train_mode_is_attacked_in_eval_mode(name: str, fails: bool) -> None:
    model = network().train()
    model.stem.eval()
    modes = {path: module.training for path, module in model.named_modules()}
    state = {path: tensor.clone() for path, tensor in model.state_dict().items()}
    seen: list[bool] = []
    model.classifier.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    if fails:
        model.classifier.register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            call(name, network=model, metrics=[Metric.of(settings("pgd"))])
    else:
        call(name, network=model, metrics=[Metric.of(settings("pgd"))])
    assert seen
    assert not any(seen)
    assert {path: module.training for path, module in model.named_modules()} == modes
    assert all(torch.equal(state[path], tensor) for path, tensor in model.state_dict().items())
    assert not model._forward_hooks


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_attacks_find_gradients_where_nobody_else_wants_them(context: Any) -> None:
    model = network().eval()
    expected = perturb(model, IMAGES, LABELS, settings("pgd"), seeded())
    with context():
        assert torch.equal(perturb(model, IMAGES.clone(), LABELS.clone(), settings("pgd"), seeded()), expected)


# ------------------------------------------------------------------ what is no number is never robust


class Broken(torch.nn.Module):
    """Logits that are no numbers, in all classes or in the label's; pixels have a say, so that there are gradients."""

    def __init__(self, label_only: bool) -> None:
        super().__init__()
        self.label_only = label_only

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = images.flatten(1)[:, :10] * 1.0
        logits[:, 3 if self.label_only else slice(None)] = torch.nan
        return logits


@pytest.mark.filterwarnings("ignore::nasbench_robust.attacks.AttackWarning")
@pytest.mark.parametrize("label_only", [False, True])
def test_nan_is_neither_right_nor_robust(label_only: bool) -> None:
    labels = torch.full((6,), 3 if label_only else 0)
    measured = [Metric("clean_acc"), *(Metric.of(settings(name)) for name in ATTACKS)]
    outcomes = torch_engine.evaluate(Broken(label_only), IMAGES, labels, measured, seeded())
    assert not any(outcome.any() for outcome in outcomes.values())


@needs_engine
def test_nan_is_not_robust_in_the_native_engine() -> None:
    engine = twins(CELL, SKELETON)[1]
    engine.parameters[-1] = np.nan  # the last class's bias
    engine.fold()
    labels = np.full(6, 9)
    assert not engine.is_right(IMAGES.numpy(), labels).any()
    assert not engine.autoattack(IMAGES.numpy(), labels, eps=0.1, steps=2, queries=5, restarts=1, seed=0)[0].any()


def test_a_search_that_diverged_has_found_no_cell() -> None:
    lost = supernet_for(SKELETON, "digits", seeded())
    with torch.no_grad():
        lost.alpha[0, 2, 1] = torch.nan
    with pytest.raises(NasbenchRobustError, match="alpha is 'not finite'"):
        lost.cells()
    with pytest.raises(NasbenchRobustError, match="mixture"):
        bounds.log_radius(lost.eval(), IMAGES, 0.1, lost.mixture())


# ------------------------------------------------------------------ trainers


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=needs_engine)])
def test_trainers_look_at_all_splits_before_the_first_step(engine: str) -> None:
    digits: Images[Any] = load_images("digits") if engine == "torch" else load_arrays("digits")
    make = torch_engine.Trainer if engine == "torch" else native_engine.NativeTrainer
    small = replace(settings_for("digits"), skeleton=SKELETON)
    for split in ("train", "test", "validation"):
        pixels, labels = getattr(digits, split)
        for wrong in (Split(pixels * 16, labels), Split(pixels * 2 - 1, labels), Split(pixels, labels + 1)):
            with pytest.raises(NasbenchRobustError, match=f"{split} (images|labels)"):
                make(CELL, small, replace(digits, **{split: wrong}), 0)


# ------------------------------------------------------------------ warnings


class Noisy(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10] + torch.rand(len(images), 10)


class Stepped(torch.nn.Module):
    """Pixels rounded to black and white: no gradient passes, and attacks without gradients succeed."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.flatten(1)[:, :10]
        return torch.where(pixels > 0.5, 1.0, 0.0) * 5 + 0 * pixels


class Probable(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :10].softmax(dim=1)


@pytest.mark.parametrize(
    ("model", "message"),
    [(Noisy(), "differently twice"), (Stepped(), r"gradient of . of 6 images is zero"), (Probable(), "probabilities")],
)
def test_signs_of_masked_gradients_are_told(model: torch.nn.Module, message: str) -> None:
    with pytest.warns(AttackWarning, match=message):
        autoattack(model, IMAGES, LABELS, settings("autoattack"), seeded())
    with pytest.warns(AttackWarning, match=message):
        torch_engine.evaluate(model, IMAGES, LABELS, [Metric.of(settings("pgd"))], seeded())


def test_attacks_by_gradients_that_do_nothing_beside_one_that_succeeds_are_told() -> None:
    images, labels = torch.full((6, 1, 8, 8), 0.3), torch.ones(6, dtype=torch.int64)
    images[:, 0, 0, 1] = 0.599  # a corner of the ball is beyond the step, a random start seldom
    black_box = Attack("square", 0.1, queries=100)
    measured = [Metric("clean_acc"), Metric.of(metrics.fgsm(0.1)), Metric.of(black_box)]
    with pytest.warns(AttackWarning, match=r"fgsm_acc@0\.1 equals clean accuracy"):
        torch_engine.evaluate(Stepped(), images, labels, measured, seeded())
    with pytest.warns(AttackWarning, match=r"Square breaks [1-6] of 6"):
        autoattack(Stepped(), images, labels, Attack("autoattack", 0.1, steps=2, queries=100), seeded())


@pytest.mark.parametrize(("radius", "warns"), [(0.05, True), (0.1, True), (0.2, False)])
def test_an_attack_in_a_larger_ball_says_nothing(radius: float, warns: bool) -> None:
    square = Metric.of(Attack("square", radius))
    accuracies = {Metric("clean_acc"): 0.9, Metric.of(metrics.pgd(0.1)): 0.9, square: 0.3}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        attacks.warn_of_accuracies(accuracies)
    assert bool(caught) == warns


def test_a_sound_network_is_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", AttackWarning)
        measured = [Metric("clean_acc"), Metric.of(settings("pgd")), Metric.of(settings("autoattack"))]
        torch_engine.evaluate(network(), IMAGES, LABELS, measured, seeded())


# ------------------------------------------------------------------ cost


@pytest.mark.alone
def test_checks_cost_next_to_nothing() -> None:
    model = network_for(CELL, settings_for("digits").skeleton, "digits", seeded()).eval()
    images, labels = torch.rand(500, 1, 8, 8), torch.randint(0, 10, (500,))

    def best(work: Callable[[], Any]) -> float:
        spent = []
        for _ in range(7):
            start = time.perf_counter()
            work()
            spent.append(time.perf_counter() - start)
        return min(spent)

    def check() -> None:
        attacks.check_images(images)
        attacks.check_labels(labels, 500)
        with evaluating(model), attacks.labels_in_range(model, labels):
            pass

    with torch.no_grad():
        assert best(check) < 0.02 * best(lambda: model(images))


def test_nothing_is_checked_in_the_loop_of_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    from nasbench_robust.attacks import dispatch

    asked: list[int] = []
    monkeypatch.setattr(dispatch, "check_images", lambda images, **_: asked.append(len(images)))
    pgd(network(), IMAGES, LABELS, metrics.pgd(0.1, steps=20), seeded())
    autoattack(network(), IMAGES, LABELS, settings("autoattack"), seeded())
    assert asked == [6, 6]
