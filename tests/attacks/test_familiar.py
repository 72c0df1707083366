"""Attacks as users of other packages call them do what the attacks of this package do."""

from __future__ import annotations

import pytest
import torch
from helpers import seeded

from nasbench_robust import metrics
from nasbench_robust.attacks import Attacker, autoattack, benchmark, perturb
from nasbench_robust.errors import InvalidValueError, MissingDataError, NasbenchRobustError
from nasbench_robust.images import load_images

FEW = 30


class NearestMean(torch.nn.Module):
    """Somebody's own network: how near an image is to the mean of each class."""

    def __init__(self) -> None:
        super().__init__()
        train = load_images("digits").train
        means = [train.pixels[train.labels == label].mean(dim=0).flatten() for label in range(10)]
        self.register_buffer("means", torch.stack(means))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(torch.cdist(images.flatten(1), self.means) ** 2)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return NearestMean().eval()


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    test = load_images("digits").test
    return test.pixels[:FEW], test.labels[:FEW]


@pytest.mark.parametrize("attack", [metrics.fgsm(0.1), metrics.pgd(0.1, steps=3), metrics.pgd(0.5, steps=3, norm="L2")])
def test_an_attacker_is_its_attack(network, images, attack):
    attacker, generator = Attacker(network, attack, seed=3), seeded(3)
    for _ in range(2):  # the second call goes on drawing
        assert torch.equal(attacker(*images), perturb(network, *images, attack, generator))
    network.train()
    attacker(*images)
    assert network.training
    network.eval()


def test_it_looks_like_torchattacks(network, images):
    torchattacks = pytest.importorskip("torchattacks")
    ours, theirs = Attacker(network, metrics.fgsm(0.1))(*images), torchattacks.FGSM(network, eps=0.1)(*images)
    torch.testing.assert_close(ours, theirs)


def test_a_benchmark_is_clean_accuracy_and_that_under_autoattack(network, images):
    clean, robust = benchmark(network, n_examples=FEW, dataset="digits", eps=0.05, seed=2)
    found = autoattack(network, *images, metrics.autoattack(0.05), seeded(2))
    assert (clean, robust) == (found.accuracies["clean"], int(found.robust.sum()) / FEW)
    assert 0 < robust < clean < 1


def test_the_radius_is_that_of_the_data_set_unless_it_is_given(network, monkeypatch):
    asked = []

    def attack_fully(model, pixels, labels, attack, generator, **options):
        asked.append((len(pixels), attack.eps, attack.steps))
        return autoattack(
            model, pixels[:1], labels[:1], metrics.Attack("autoattack", 0.1, steps=1, queries=1), generator
        )

    monkeypatch.setattr("nasbench_robust.attacks.familiar.attack_fully", attack_fully)
    benchmark(network, dataset="digits")
    benchmark(network, 5, "digits", eps=0.2)
    assert asked == [(517, 0.1, 100), (5, 0.2, 100)]


REFUSED = {
    "network is": lambda network: Attacker(lambda x: x, metrics.fgsm(0.1)),
    "attack is 'pgd'": lambda network: Attacker(network, "pgd"),
    "seed is -1": lambda network: Attacker(network, metrics.fgsm(0.1), seed=-1),
    "batch_size is 0": lambda network: Attacker(network, metrics.fgsm(0.1), batch_size=0),
    "n_examples is 518, expected an integer from 1 to 517; did you mean 517": lambda network: benchmark(
        network, 518, "digits"
    ),
    "eps is 8": lambda network: benchmark(network, 1, "digits", eps=8),
    "did you mean 'digits'": lambda network: benchmark(network, 1, "digit"),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_makes_no_sense_says_what_would(network, told):
    with pytest.raises(NasbenchRobustError) as caught:
        REFUSED[told](network)
    assert told in str(caught.value)


def test_images_that_are_not_there_are_one_sentence(network, monkeypatch):
    monkeypatch.delenv("NASBENCH_ROBUST_IMAGES", raising=False)
    with pytest.raises(MissingDataError, match="no folder of cifar10 was named"):
        benchmark(network, 1)


def test_pixels_of_another_scale_are_refused(network, images):
    with pytest.raises(InvalidValueError, match="images"):
        Attacker(network, metrics.fgsm(0.1))(255 * images[0], images[1])
