"""Auto-PGD, FAB-T, Square, AutoAttack and L2 PGD: closed forms, constraints, and two other implementations."""

from __future__ import annotations

import importlib
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import seeded
from other_attacks import Batch, Linear, assert_same_up_to_chance, authors_part, right_ones, wrong
from run_folders import tables_in

import nasbench_robust as nbr
from nasbench_robust import metrics
from nasbench_robust.attacks import AutoAttackResult, autoattack, fab_t, perturb, square
from nasbench_robust.attacks._square import share_of_pixels
from nasbench_robust.attacks.apgd import checkpoints
from nasbench_robust.attacks.fab import nearest_on_hyperplane
from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import evaluate
from nasbench_robust.errors import InvalidValueError, MissingResultError, UnknownNameError
from nasbench_robust.metrics import PARTS, Attack, Metric
from nasbench_robust.runs import part_name, run_cell, write_run
from nasbench_robust.settings import settings_for

EPS = 0.1
QUICK = Attack("autoattack", EPS, steps=5, queries=200)
FAB = importlib.import_module("nasbench_robust.attacks.fab")  # the module; the package also has functions


# ---------------------------------------------------------------------- closed forms


@pytest.mark.parametrize(
    ("part", "classes"), [("apgd_ce", 2), ("apgd_t", 2), ("apgd_t", 3), ("apgd_t", 6), ("fab_t", 2), ("fab_t", 6)]
)
def test_attacks_find_the_radius_of_a_linear_network(part, classes):
    network = Linear(classes)
    images, labels, radius = network.case()
    eps = float(radius.median())
    found = perturb(network, images, labels, replace(Attack("autoattack", eps, steps=50), name=part), seeded())
    sure = (radius / eps - 1).abs() > 0.003
    assert sure.sum() >= 38
    assert torch.equal(wrong(network, found, labels)[sure], (radius < eps)[sure])


@pytest.mark.parametrize("classes", [2, 6])
def test_fab_finds_the_nearest_misclassified_point(classes):
    network = Linear(classes)
    images, labels, radius = network.case()
    found = fab_t(network, images, labels, Attack("fab_t", EPS, steps=30), minimal=True)
    assert wrong(network, found, labels).all()
    distance = (found - images).abs().flatten(1).amax(dim=1)
    assert (distance >= radius).all()
    torch.testing.assert_close(distance, radius, rtol=0.01, atol=0)


def test_fab_returns_the_nearest_of_all_misclassified_points_that_it_looked_at():
    layers = torch.nn.Linear(16, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3)
    network = torch.nn.Sequential(torch.nn.Flatten(), *layers).double()
    for number, parameter in enumerate(network.parameters()):
        torch.nn.init.normal_(parameter, generator=seeded(number))
    for image in torch.rand(10, 1, 1, 4, 4, generator=seeded(8), dtype=torch.float64):
        label, seen = network(image).argmax(dim=1), []
        handle = network.register_forward_hook(lambda _, given, logits, seen=seen: seen.append((given[0], logits)))
        found = fab_t(network, image, label, Attack("fab_t", EPS, steps=10), minimal=True)
        handle.remove()
        misclassified = torch.cat([points[logits.argmax(dim=1) != label] for points, logits in seen])
        nearest = (misclassified - image).abs().flatten(1).amax(dim=1).min()
        assert (found - image).abs().max() == nearest


def test_square_never_breaks_a_robust_image_and_gains_with_the_radius():
    network = Linear(6)
    images, labels, radius = network.case()
    shares = []
    for factor in (0.5, 1.0, 2.0, 4.0):
        eps = factor * float(radius.median())
        found = square(network, images, labels, Attack("square", eps, queries=500), seeded())
        broken = wrong(network, found, labels)
        assert not (broken & (radius > eps)).any()
        shares.append(broken.double().mean().item())
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_hyperplane_is_reached_by_the_shortest_way_inside_the_box():
    points = torch.rand(50, 1, 3, 3, generator=seeded(1), dtype=torch.float64)
    normal = torch.randn(50, 1, 3, 3, generator=seeded(2), dtype=torch.float64)
    value = 2 * torch.randn(50, generator=seeded(3), dtype=torch.float64)
    way = nearest_on_hyperplane(points, normal, value)
    target = points + way
    assert target.min() >= -1e-12
    assert target.max() <= 1 + 1e-12
    rest = value + (normal * way).flatten(1).sum(dim=1)
    reached = rest.abs() < 1e-9
    assert 0 < reached.sum() < 50
    # Slightly shorter ways, each pixel going as far as it can, do not reach it.
    shorter = 0.999 * way.abs().flatten(1).amax(dim=1)[:, None, None, None]
    best = (points - normal * value.sign()[:, None, None, None] * 1e9).clamp(points - shorter, points + shorter)
    gained = value + (normal * (best.clamp(0, 1) - points)).flatten(1).sum(dim=1)
    assert (gained[reached].sign() == value[reached].sign()).all()
    # Where the box ends before the hyperplane, the way leads to the box's corner.
    assert ((target[~reached] < 1e-12) | (target[~reached] > 1 - 1e-12)).all()


def test_checkpoints_are_those_of_the_paper():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert all(1 <= step <= 10 for step in checkpoints(10))


def test_l2_pgd_finds_the_worst_point_of_a_linear_network():
    network = Linear(2)
    images, labels, _ = network.case()
    found = perturb(network, images, labels, metrics.pgd(0.3, step_size=3.0, norm="L2"), seeded())
    direction = network.weight.detach()[1 - labels] - network.weight.detach()[labels]
    expected = 0.3 * direction / direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close((found - images).flatten(1), expected, rtol=0, atol=1e-3)


def test_l2_start_is_uniform_in_the_ball():
    images, labels = torch.full((4000, 1, 1, 3), 0.5), torch.zeros(4000, dtype=torch.int64)
    attack = metrics.pgd(0.2, steps=1, step_size=1e-9, norm="L2")
    radius = (perturb(Linear(2, 3).float(), images, labels, attack, seeded()) - images).flatten(1).norm(dim=1)
    assert radius.max() <= 0.2 + 1e-6
    assert ((radius / 0.2) ** 3).mean().item() == pytest.approx(0.5, abs=0.02)


# ---------------------------------------------------------------------- constraints and independence


@pytest.mark.parametrize("part", [*PARTS, "pgd in L2"])
def test_result_stays_in_the_ball_and_in_the_pixel_range(part, network, batch):
    if part in PARTS:
        found = perturb(network, *batch, QUICK.part(part), seeded())
        assert (found - batch[0]).abs().max() <= EPS + 1e-6
    else:
        found = perturb(network, *batch, metrics.pgd(0.7, norm="L2"), seeded())
        assert (found - batch[0]).flatten(1).norm(dim=1).max() <= 0.7 + 1e-5
    assert found.min() >= 0
    assert found.max() <= 1
    assert wrong(network, found, batch[1]).sum() > wrong(network, *batch).sum()


def run(network: torch.nn.Module, batch: Batch, attack: Attack = QUICK, **options: int) -> AutoAttackResult:
    return autoattack(network, *batch, attack, seeded(), **options)


def test_result_depends_on_the_generator_and_not_on_the_batch_size(network, batch):
    torch.manual_seed(1)
    one = run(network, batch)
    torch.manual_seed(2)
    again, small = run(network, batch), run(network, batch, batch_size=7)
    assert torch.equal(one.adversarial, again.adversarial)
    for name, alive in one.survivors.items():
        assert torch.equal(alive, again.survivors[name])
        assert torch.equal(alive, small.survivors[name])


def test_survivors_are_nested_and_told_by_the_images(network, batch):
    told: list[str] = []
    result = autoattack(network, *batch, QUICK, seeded(), on_part=lambda part, _: told.append(part))
    assert told == list(PARTS)
    assert list(result.survivors) == ["clean", *PARTS]
    masks = list(result.survivors.values())
    assert all((after <= before).all() for before, after in itertools.pairwise(masks))
    assert torch.equal(~wrong(network, result.adversarial, batch[1]), result.robust)
    assert result.accuracies["square"] == result.robust.double().mean()
    assert torch.equal(result.adversarial[result.robust], batch[0][result.robust])


def test_images_pooled_or_one_by_one_give_the_same_where_nothing_is_drawn(network, batch):
    images, labels = batch
    attack = Attack("fab_t", EPS, steps=5)
    pooled = wrong(network, fab_t(network, images, labels, attack), labels)
    single = [fab_t(network, images[i : i + 1], labels[i : i + 1], attack) for i in range(30)]
    assert torch.equal(pooled[:30], wrong(network, torch.cat(single), labels[:30]))


@pytest.mark.parametrize("channels", [1, 3])
def test_square_gives_the_same_without_its_saving(channels, network, batch):
    if channels == 1:
        images, labels = batch
    else:
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Flatten(), Linear(4, 96))
        network.double()
        images = torch.rand(30, 3, 6, 6, generator=seeded(4), dtype=torch.float64)
        labels = network(images).argmax(dim=1)
    attack = Attack("square", 0.05, queries=600)
    asked, results, states = [], [], []
    handle = network.register_forward_hook(lambda module, given, _: asked.append(len(given[0])))
    for skip in (True, False):
        generator = seeded(5)
        results.append(square(network, images, labels, attack, generator, skip=skip))
        states.append(generator.get_state())
        asked.append(0)
    handle.remove()
    assert torch.equal(*results)
    assert torch.equal(*states)
    border = asked.index(0)
    assert sum(asked[:border]) < sum(asked[border:])


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_are_enough(classes):
    network = Linear(classes)
    images, labels, radius = network.case()
    eps = float(radius.median())
    result = autoattack(network, images, labels, replace(QUICK, eps=eps, steps=20), seeded())
    sure = (radius / eps - 1).abs() > 0.003
    assert torch.equal(result.robust[sure], (radius > eps)[sure])


def test_network_without_any_right_answer_is_no_problem(network, batch):
    labels = (network(batch[0]).argmax(dim=1) + 1) % 10
    result = run(network, (batch[0], labels))
    assert not result.robust.any()
    assert torch.equal(result.adversarial, batch[0])


def test_attack_leaves_the_network_as_it_was(network, batch):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    run(network, batch)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert not network.training


# ---------------------------------------------------------------------- names, evaluation, rows


def test_names_of_l2_metrics_go_there_and_back():
    metric = Metric.of(metrics.pgd(0.5, norm="L2"))
    assert metric.long_name == "pgd_acc@L2:0.5"
    assert metric.count_column == "pgd_correct@L2:0.5"
    assert metrics.parse_long_name(metric.long_name) == ("pgd_acc", 0.5, "L2")
    assert metrics.parse_long_name("pgd_acc@L2:128/255") == ("pgd_acc", 128 / 255, "L2")
    assert metrics.parse_long_name("pgd_acc@8/255") == ("pgd_acc", 8 / 255, "Linf")
    assert metrics.pgd(2.0, norm="L2").eps == 2
    for text in ("pgd_acc@L2:0", "pgd_acc@L2:inf", "pgd_acc@L2:"):
        with pytest.raises(InvalidValueError, match=r"^eps is"):
            metrics.parse_long_name(text)
    for text in ("clean_acc@L2:0.5", "pdg_acc@L2:0.5"):
        with pytest.raises(UnknownNameError, match="unknown metric"):
            metrics.parse_long_name(text)


def test_settings_name_both_protocols():
    assert (metrics.autoattack(8 / 255).steps, metrics.autoattack(8 / 255, steps=10).steps) == (100, 10)
    assert metrics.autoattack(EPS).queries == 5000


def test_every_attack_can_be_evaluated(network, batch):
    measured = [Metric("clean_acc"), *(Metric.of(QUICK.part(name)) for name in ("autoattack", *PARTS))]
    parts: dict[str, torch.Tensor] = {}
    correct = evaluate(
        network, *batch, measured, seeded(), batch_size=16, on_part=lambda _, part, left: parts.update({part: left})
    )
    clean, robust = correct[measured[0]], correct[measured[1]]
    assert robust.sum() < clean.sum()
    assert torch.equal(parts["square"], robust)
    assert all((correct[metric] <= clean).all() for metric in measured)
    assert torch.equal(run(network, batch).robust, robust)


def test_parts_become_outcome_rows(digits, tmp_path):
    images = replace(digits, train=digits.train[:256])
    aa, l2 = replace(QUICK, steps=2, queries=20), metrics.pgd(0.5, steps=2, norm="L2")
    same = metrics.pgd(0.5, steps=2)
    settings = replace(settings_for("digits"), epochs=1, evaluation=(aa, l2, same))
    done = run_cell(Cell.from_index(9930), settings, images, seed=0)
    write_run(done, settings, tmp_path)
    outcomes = {row["metric"]: row for row in tables_in(tmp_path)["outcomes"].to_pylist()}
    metric = Metric.of(aa)
    assert [name for name in outcomes if ">" in name] == [part_name(metric, part) for part in PARTS]
    counts = []
    for name in ("clean_acc", *(part_name(metric, part) for part in PARTS)):
        row = outcomes[name]
        bits = np.unpackbits(np.frombuffer(row["correct"], np.uint8), bitorder="little", count=row["images"])
        counts.append(int(bits.sum()))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == done.row["autoattack_correct@0.1"]
    assert outcomes[part_name(metric, "square")]["correct"] == outcomes["autoattack_acc@0.1"]["correct"]
    bench = nbr.load(tmp_path)
    assert bench.query(9930, "digits", "pgd_acc@L2:0.5") == done.row["pgd_acc@L2:0.5"]
    assert bench.query(9930, "digits", "pgd_acc", eps=0.5) == done.row["pgd_acc@0.5"]
    assert bench.query(9930, "digits", "autoattack_acc", eps=EPS) == counts[-1] / 517
    with pytest.raises(MissingResultError, match=r"no autoattack_acc@.* on the validation split"):
        bench.query(9930, "digits", "autoattack_acc", eps=EPS, split="validation")
    listed = bench.metrics().query("split == 'test'").set_index("long_name")
    assert not listed.loc["pgd_acc@L2:0.5", "default"]
    assert listed.loc["pgd_acc@0.5", "default"]
    assert not [finding for finding in nbr.validate(tmp_path) if finding.severity == "error"]


# ---------------------------------------------------------------------- other implementations


def test_fab_breaks_the_images_that_the_authors_break(authors, networks, digits, monkeypatch):
    attack = Attack("fab_t", EPS, steps=10)
    for network in networks:
        images, labels = right_ones(network, digits, 150)
        expected = authors_part(authors, "fab-t", network, (images, labels), EPS, 10)
        searched = ~wrong(network, fab_t(network, images, labels, attack), labels)
        with monkeypatch.context() as patch:
            patch.setattr(FAB, "SEARCH_STEPS", 0)
            plain = ~wrong(network, fab_t(network, images, labels, attack), labels)
        # Nothing is drawn: image by image equal. The final search is in the paper and not in the authors' AutoAttack;
        # it can only bring points closer, hence break a few images more.
        assert torch.equal(plain, expected)
        assert (searched <= expected).all()
        assert (searched != expected).sum() <= 3


@pytest.mark.parametrize(("part", "authors_name"), [("apgd_ce", "apgd-ce"), ("apgd_t", "apgd-t")])
def test_apgd_is_as_strong_as_the_authors(part, authors_name, authors, networks, digits):
    for network in networks:
        images, labels = right_ones(network, digits, 150)
        expected = authors_part(authors, authors_name, network, (images, labels), EPS, 10)
        found = perturb(network, images, labels, metrics.autoattack(EPS, steps=10).part(part), seeded())
        assert_same_up_to_chance(~wrong(network, found, labels), expected)


def test_full_protocol_ends_where_the_authors_does_after_every_part(authors, network, digits):
    images, labels = right_ones(network, digits, 40)
    result = run(network, (images, labels), metrics.autoattack(EPS))
    alive = torch.ones(len(labels), dtype=torch.bool)
    for part, name in zip(PARTS, ("apgd-ce", "apgd-t", "fab-t", "square"), strict=True):
        left = alive.nonzero()[:, 0]
        alive[left] = authors_part(authors, name, network, (images[left], labels[left]), EPS, 100)
        assert_same_up_to_chance(result.survivors[part], alive)


def test_squares_shrink_as_the_authors_do(authors):
    theirs = importlib.import_module("pyautoattack.square").SquareAttack(
        torch.nn.Identity(), n_queries=5000, eps=EPS, p_init=0.8
    )
    theirs.rescale_schedule = True  # as in the paper; the authors' AutoAttack leaves it off
    assert all(share_of_pixels(query, 5000) == theirs.p_selection(query) for query in range(5000))


def test_short_protocol_ends_where_torchattacks_does(network, digits):
    torchattacks = pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    images, labels = right_ones(network, digits, 100)
    other = torchattacks.AutoAttack(network, eps=EPS, version="standard", n_classes=10, seed=0)
    other._autoattack.attacks[-1].n_queries = 500  # its Square attack is slow
    mine = run(network, (images, labels), Attack("autoattack", EPS, steps=10, queries=500))
    assert_same_up_to_chance(mine.robust, ~wrong(network, other(images, labels), labels))
