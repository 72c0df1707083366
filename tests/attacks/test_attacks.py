"""FGSM and PGD: closed forms on linear networks, and the constraints of the threat model."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import seeded

from nasbench_robust import metrics
from nasbench_robust.attacks import fgsm, perturb, pgd
from nasbench_robust.cells import Cell
from nasbench_robust.errors import UnknownNameError
from nasbench_robust.metrics import Attack
from nasbench_robust.networks import network_for
from nasbench_robust.settings import settings_for

EPS = 0.1


class Linear(torch.nn.Module):
    """Two classes, logits w.x and -w.x: the worst perturbation is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5, -0.1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = images.flatten(1) @ self.weight
        return torch.stack([score, -score], dim=1)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return network_for(Cell.from_index(9930), settings_for("digits").skeleton, "digits", seeded(1)).eval()


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(32, 1, 8, 8, generator=seeded(2)), torch.randint(0, 10, (32,), generator=seeded(3))


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_linear_network_gets_the_worst_perturbation(name):
    images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
    attack = metrics.fgsm(EPS) if name == "fgsm" else metrics.pgd(EPS)
    found = perturb(Linear(), images, labels, attack, seeded())
    towards = Linear().weight.sign().view(1, 2, 2)
    torch.testing.assert_close(found[0], images[0] - EPS * towards)
    torch.testing.assert_close(found[1], images[1] + EPS * towards)


@pytest.mark.parametrize("attack", [metrics.fgsm(EPS), metrics.pgd(EPS)], ids=["fgsm", "pgd"])
def test_result_stays_in_the_ball_and_in_the_pixel_range(attack, network, batch):
    images, labels = batch
    found = perturb(network, images, labels, attack, seeded())
    assert (found - images).abs().max() <= EPS + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    assert not torch.equal(found, images)


def test_more_work_finds_a_higher_loss(network, batch):
    images, labels = batch
    losses = [F.cross_entropy(network(images), labels).item()]
    losses += [F.cross_entropy(network(fgsm(network, images, labels, metrics.fgsm(EPS))), labels).item()]
    losses += [F.cross_entropy(network(pgd(network, images, labels, metrics.pgd(EPS), seeded())), labels).item()]
    assert losses == sorted(losses)
    assert losses[0] < losses[1]


def test_random_start_is_uniform_in_the_ball(batch):
    images, labels = torch.full((500, 1, 2, 2), 0.5), torch.zeros(500, dtype=torch.int64)
    start = pgd(Linear(), images, labels, metrics.pgd(EPS, steps=1, step_size=1e-9), seeded()) - images
    assert start.abs().max() <= EPS
    assert start.std().item() == pytest.approx(EPS / 3**0.5, rel=0.05)
    assert start.mean().item() == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_no_point_outside_the_pixel_range_is_ever_looked_at(norm):
    class Watched(Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append((images.min().item(), images.max().item()))
            return super().forward(images)

    seen: list[tuple[float, float]] = []
    images = torch.cat([torch.zeros(30, 1, 2, 2), torch.ones(30, 1, 2, 2)])
    labels = torch.zeros(60, dtype=torch.int64)
    pgd(Watched(), images, labels, metrics.pgd(EPS, steps=3, norm=norm), seeded())
    assert len(seen) >= 3  # the start first
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1


def test_pgd_takes_as_many_steps_as_it_is_told():
    images, labels = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, dtype=torch.int64)
    for steps in (1, 4):
        attack = Attack("pgd", EPS, steps=steps, step_size=0.02, random_start=False)
        moved = (pgd(Linear(), images, labels, attack, seeded()) - images).abs()
        assert moved.flatten().tolist() == pytest.approx([0.02 * steps] * 4, abs=1e-6)


def test_pgd_depends_on_its_generator_alone(network, batch):
    attack = metrics.pgd(EPS, steps=3)
    torch.manual_seed(1)
    one = pgd(network, *batch, attack, seeded(5))
    torch.manual_seed(2)
    assert torch.equal(one, pgd(network, *batch, attack, seeded(5)))
    assert not torch.equal(one, pgd(network, *batch, attack, seeded(6)))


def test_attack_leaves_the_network_as_it_was(network, batch):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pgd(network, *batch, metrics.pgd(EPS, steps=2), seeded())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_attack_that_cannot_be_run_is_named(batch):
    with pytest.raises(UnknownNameError, match="attack that can be run 'fgsm L2'"):
        perturb(Linear(), *batch, metrics.Attack("fgsm", EPS, norm="L2"), seeded())
