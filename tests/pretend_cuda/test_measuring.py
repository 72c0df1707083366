"""Attacks, kernels, proxies, scores, bounds and searches on a pretended CUDA device: no device mixes, results stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pretend_cuda.device import PretendCuda, storage_of

from nasbench_robust import metrics
from nasbench_robust.attacks import perturb
from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import evaluate, make_generator
from nasbench_robust.images import TensorImages
from nasbench_robust.metrics import PARTS, Attack, Metric
from nasbench_robust.networks import Network, make_path, network_for
from nasbench_robust.networks.fast.sums import Sums
from nasbench_robust.ntk import BN_MODES, PRECISIONS, kernels, ntk
from nasbench_robust.proxies import PROXIES, scores
from nasbench_robust.scores import chosen_images, score_cell, score_settings_for
from nasbench_robust.search.arnas import ARNAS, arnas_settings_for, parse_architecture, run_architecture
from nasbench_robust.search.bounds import certified_margins, interval_bounds, jacobian_norms, linearised_radius
from nasbench_robust.search.supernet import METHODS, BilevelSearch, run_search, search_settings_for
from nasbench_robust.settings import TrainingSettings

CELL = Cell.from_index(9930)
AUTO = replace(metrics.autoattack(0.1, steps=2), queries=20)
ATTACKS = [metrics.fgsm(0.1), metrics.pgd(0.1, steps=2), metrics.pgd(0.5, norm="L2", steps=2), AUTO]
ATTACKS += [replace(metrics.pgd(0.1, steps=2), restarts=2), *map(AUTO.part, PARTS)]


@pytest.fixture
def network(few: TensorImages, quick: TrainingSettings) -> Network:
    return network_for(CELL, quick.skeleton, "digits", make_generator(0, "weights")).to("cuda")


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.name}-{attack.norm}")
@pytest.mark.parametrize("path", ["plain", "fast"])
def test_attacks_measure(path: str, attack: Attack, network: Network, few: TensorImages) -> None:
    draws, metric = make_generator(0, "evaluation", "cuda"), Metric.of(attack)
    measured = make_path(path, network).measured()
    (right,) = evaluate(measured, few.test.pixels, few.test.labels, [metric], draws, batch_size=5).values()
    assert right.device.type == "cuda"
    clean = Metric("clean_acc")
    (before,) = evaluate(measured, few.test.pixels, few.test.labels, [clean], draws).values()
    assert not (right & ~before).any()  # nobody is right under attack who is not so without


def test_survivors_pass_in_batches_of_few_sizes(network: Network, few: TensorImages) -> None:
    """Every size of a batch is another plan of the library of convolutions."""
    sizes = set()
    network.register_forward_pre_hook(lambda _, inputs: sizes.add(len(inputs[0])))
    for count in (3, 12, 50):
        for part in PARTS:
            batch = few.train[:count]
            draws = make_generator(0, "evaluation", "cuda")
            found = perturb(network, *batch, AUTO.part(part), draws, batch_size=40)
            assert found.shape == batch.pixels.shape
    assert sizes == {32, 40}


def test_parts_of_bfloat16_are_copied_on_a_cpu_alone(device: PretendCuda) -> None:
    for place in ("cuda", "cpu"):
        side_by_side = torch.ones(1, 4, 2, 2).to(place, torch.bfloat16, memory_format=torch.channels_last)
        sums = Sums(side_by_side)
        sums.add_parts((0, 1), side_by_side)
        is_view = storage_of(sums[1]).data_ptr() == storage_of(side_by_side).data_ptr()
        assert is_view == (place == "cuda")


@pytest.mark.parametrize("bn", BN_MODES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_kernels_are_those_of_the_cpu(bn: str, precision: str, network: Network, few: TensorImages) -> None:
    images = few.test.pixels[:4]
    found = [
        ntk(network.to(place), images.to(place), output="trace", bn=bn, precision=precision, engine="torch").cpu()
        for place in ("cuda", "cpu")
    ]
    assert torch.allclose(*found, rtol=1e-3)


def test_kernels_in_parts_and_of_attacked_images(network: Network, few: TensorImages) -> None:
    images, labels = few.test.pixels[:6], few.test.labels[:6]
    options = {"output": "sum", "bn": "batch_frozen"}
    whole, parts = (ntk(network, images, images[:3], budget_mib=size, **options) for size in (100, 0.05))
    assert torch.allclose(whole.cpu(), parts.cpu())
    attack, draws = metrics.pgd(0.1, steps=2), make_generator(0, "scores", "cuda")
    made = kernels(network, images, attack, beta=0.5, bn="batch_frozen", labels=labels, generator=draws)
    assert made.robust_twice.shape == (6, 6)


def test_proxies_and_scores_have_values(network: Network, few: TensorImages) -> None:
    images, labels = few.train.pixels[:8], few.train.labels[:8]
    rows = scores(network, images, labels, generator=make_generator(0, "scores", "cuda"))
    assert [row.score for row in rows if row.value is not None] == list(PROXIES)
    settings = replace(score_settings_for("digits"), images=8, skeleton=network.skeleton)
    assert len(score_cell(CELL, settings, *chosen_images(settings, few), 0)) == 133


def test_bounds_are_those_of_the_cpu(network: Network, few: TensorImages) -> None:
    x, labels = few.test.pixels[:4], few.test.labels[:4]
    network.eval()
    for bound in (
        lambda net, images, classes: certified_margins(net, images, classes, 0.01),
        lambda net, images, _: interval_bounds(net, images, images).centre,
        lambda net, images, classes: linearised_radius(net, images, classes),
        lambda net, images, _: jacobian_norms(net, images),
    ):
        found = bound(network.to("cuda"), x, labels).detach().cpu()
        assert torch.allclose(found, bound(network.cpu(), x.cpu(), labels.cpu()).detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_searches_take_steps(method: str, few: TensorImages, quick: TrainingSettings) -> None:
    settings = search_settings_for("digits", method, epochs=1, batch_size=8, skeleton=quick.skeleton)
    search = BilevelSearch(settings, few, 0)
    before = search.supernet.alpha.detach().cpu()
    search.step()
    assert not torch.equal(search.supernet.alpha.detach().cpu(), before)


def test_a_search_ends_with_one_shot_scores(few: TensorImages, quick: TrainingSettings, tmp_path: Path) -> None:
    settings = search_settings_for("digits", epochs=1, batch_size=8, skeleton=quick.skeleton, one_shot_cells=2)
    record = run_search(replace(settings, attack=metrics.pgd(0.1, steps=1)), few, 0, checkpoint=tmp_path / "kept")
    assert len(record["one_shot"]["pgd_acc"]) == 2
    assert record["device"] == "a pretend GPU"


def test_what_was_found_is_trained(few: TensorImages, quick: TrainingSettings) -> None:
    recipe = replace(arnas_settings_for("digits"), epochs=1, batch_size=28, milestones=(), attack=quick.attack)
    recipe = replace(recipe, evaluation=quick.evaluation[:1], channels=2, layers=4)
    for found, settings in ((ARNAS, recipe), (parse_architecture("9930,172"), replace(quick, epochs=1))):
        assert len(run_architecture(found, settings, few, 0)["curve"]) == 1
