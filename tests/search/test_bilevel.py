"""What a step of a search in a supernet does: on which images, in which mode, at which temperature, how far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import SMALL

from nasbench_robust.errors import InvalidValueError
from nasbench_robust.search.supernet import BilevelSearch, bilevel, find_method, run_search, search_settings_for
from nasbench_robust.search.supernet.views import Batch, Model


def search_of(images: Any, method: str = "darts", **changes: Any) -> BilevelSearch:
    settings = search_settings_for("digits", method, **{"skeleton": SMALL, "epochs": 3, "batch_size": 128, **changes})
    return BilevelSearch(settings, images, 0)


def test_an_attack_leaves_every_module_in_train_mode(images) -> None:
    search = search_of(images, "arnas-s", order=1)
    search.step()
    assert all(module.training for module in search.supernet.modules())


def test_temperatures_go_along_a_line_from_the_first_to_the_last(images, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    original = bilevel.sample_operations

    def watched(alpha: torch.Tensor, temperature: float, generator: torch.Generator) -> Any:
        seen.append(temperature)
        return original(alpha, temperature, generator)

    monkeypatch.setattr(bilevel, "sample_operations", watched)
    search = search_of(images, "gdas", first_temperature=9.0, last_temperature=1.0)
    while not search.finished:
        search.step()
    assert list(dict.fromkeys(seen)) == pytest.approx([9.0, 5.0, 1.0])


def test_each_half_has_its_own_move(images, monkeypatch: pytest.MonkeyPatch) -> None:
    """The architecture sees the second half of the images, the weights the perturbed images of the first one."""
    method, seen = find_method("rnas-like-v3"), []

    def terms(model: Model, batch: Batch) -> tuple[torch.Tensor, ...]:
        seen.append(batch)
        return method.terms(model, batch)

    settings = search_settings_for("digits", "rnas-like-v3", skeleton=SMALL, epochs=1, batch_size=128, crop_padding=0)
    search = BilevelSearch(settings, images, 0, method=replace(method, terms=terms))
    passed: list[torch.Tensor] = []
    search.supernet.register_forward_pre_hook(lambda _, inputs: passed.append(inputs[0]))
    known = {image.numpy().tobytes(): number for number, image in enumerate(images.train.pixels)}
    while not search.finished:
        search.step()
    halves = [set(half.tolist()) for half in search.halves]
    assert {known[image.numpy().tobytes()] for batch in seen for image in batch.images} <= halves[1]
    # Three passes a step: clean and noisy images of the architecture's half, then noisy ones of the weights' half.
    assert len(passed) == 3 * search.steps_per_epoch
    for number in range(search.steps_per_epoch):
        clean, noisy, of_weights = passed[3 * number : 3 * number + 3]
        assert clean is seen[number].images
        assert noisy is seen[number].perturbed
        distances = (of_weights[:, None] - images.train.pixels[search.halves[0]][None]).abs().amax(dim=(2, 3, 4))
        nearest = distances.amin(dim=1)
        assert ((nearest > 0) & (nearest <= settings.attack.eps + 1e-6)).all()


def test_a_search_sees_some_images_at_the_size_of_its_network(images) -> None:
    """Those that its seed draws, half for either move, each pixel the mean of a square."""
    small = {"skeleton": replace(SMALL, image_size=4), "train_images": 150, "batch_size": 25, "crop_padding": 0}
    search = search_of(images, **small)
    passed: list[torch.Tensor] = []
    search.supernet.register_forward_pre_hook(lambda _, inputs: passed.append(inputs[0]))
    while not search.finished:
        search.step()
    first, second = (set(half.tolist()) for half in search.halves)
    assert (len(first), len(second), len(first | second), search.steps_per_epoch) == (75, 75, 150, 3)
    means = images.train.pixels.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
    chosen = {image.numpy().tobytes() for image in means[sorted(first | second)]}
    assert {image.numpy().tobytes() for batch in passed for image in batch} == chosen
    other = BilevelSearch(search.settings, images, 1)
    assert set(torch.cat(other.halves).tolist()) != first | second
    state = other.state_dict()
    search.load_state_dict(state)
    for wrong in (0 * state["halves"][0], state["halves"][0] + 1024):
        with pytest.raises(ValueError, match="halves of the images"):
            search.load_state_dict({**state, "halves": [wrong, state["halves"][1]]})


def test_a_search_of_more_images_than_there_are_is_refused(images) -> None:
    with pytest.raises(InvalidValueError, match=r"train_images is 1025, .* did you mean 1024"):
        search_of(images, train_images=1025)


def test_one_shot_scores_are_of_the_size_of_the_network(images) -> None:
    small = {"skeleton": replace(SMALL, image_size=4), "train_images": 64, "batch_size": 32, "one_shot_cells": 2}
    settings = search_settings_for("digits", **{**small, "epochs": 1})
    assert len(run_search(settings, images, 0)["one_shot"]["pgd_acc"]) == 2


def test_gradients_of_the_weights_are_clipped_and_logs_are_means(images, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, losses = [], []
    original = torch.nn.utils.clip_grad_norm_

    def watched(parameters: Any, most: float) -> Any:
        length = original(parameters, most)
        kept = [parameter.grad for parameter in parameters if parameter.grad is not None]
        lengths.append(float(torch.stack([gradient.norm() for gradient in kept]).norm()))
        return length

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    search = search_of(images, clip=0.01, epochs=1)
    move = search._move_weights
    monkeypatch.setattr(search, "_move_weights", lambda batch: losses.append(move(batch)) or losses[-1])
    while not search.finished:
        epoch = search.step()
    assert max(lengths) <= 0.01 * 1.001
    assert len(losses) == search.steps_per_epoch > 1
    assert epoch is not None
    assert epoch.train_loss == pytest.approx(sum(losses) / len(losses))
