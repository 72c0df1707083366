"""The attacks of the native engine against those of torch, given the same draws, and against their own promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from native_twins import DIGITS, SplitMix, needs_engine, pgd_from, random_batch, torch_twin, trained, twins

from nasbench_robust import metrics
from nasbench_robust.attacks import apgd, apgd_ce, apgd_t, autoattack, fab_t, fgsm
from nasbench_robust.cells import Cell
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.images import load_arrays
from nasbench_robust.native import NativeNetwork
from nasbench_robust.networks import Network
from nasbench_robust.skeletons import Skeleton

pytestmark = needs_engine

EPS = 0.1
CHEAP = {"eps": EPS, "steps": 10, "queries": 300, "restarts": 1, "seed": 3}


@dataclass
class Trained:
    """A cell that resists a little, and images that it mostly gets right."""

    native: NativeNetwork
    network: Network
    images: np.ndarray
    labels: np.ndarray

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.images).double(), torch.from_numpy(self.labels)

    def torch_logits(self, images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self.network(torch.from_numpy(images).double()).numpy()


def train(index: int, count: int = 150) -> Trained:
    arrays = load_arrays("digits")
    network = trained(replace(DIGITS, epochs=6), arrays, 1, Cell.from_index(index)).network
    pixels, labels = arrays.test
    return Trained(network, torch_twin(network, DIGITS), pixels[:count], labels[:count])


@pytest.fixture(scope="module", params=[9930, 2581, 11472])
def each(request: pytest.FixtureRequest) -> Trained:
    return train(request.param)


@pytest.fixture(scope="module")
def one() -> Trained:
    return train(9930)


# --- FGSM and PGD


def losses(network: Network, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        logits = network(torch.from_numpy(images).double())
        return F.cross_entropy(logits, torch.from_numpy(labels), reduction="none").numpy()


def assert_as_good(each: Trained, found: np.ndarray, expected: np.ndarray) -> None:
    """Few pixels differ, those whose gradients are about 0, and they matter as little as that says."""
    assert (np.abs(found - expected) > 1e-5).mean() < 0.01
    ours, theirs = (losses(each.network, images, each.labels) for images in (found, expected))
    assert np.median(np.abs(ours - theirs)) < 1e-5
    assert ours.mean() == pytest.approx(theirs.mean(), rel=1e-3)


def test_fgsm_equals_that_of_torch(each: Trained) -> None:
    found = each.native.pgd(each.images, each.labels, None, eps=EPS, step_size=EPS, steps=1)
    assert_as_good(each, found, fgsm(each.network, *each.tensors, metrics.fgsm(EPS)).numpy())


def test_pgd_equals_that_of_torch_from_the_same_start(each: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    attack = metrics.pgd(EPS)
    noise = np.random.default_rng(0).uniform(-EPS, EPS, each.images.shape).astype(np.float32)
    found = each.native.pgd(each.images, each.labels, noise, eps=EPS, step_size=attack.step_size, steps=attack.steps)
    assert_as_good(each, found, pgd_from(each.network, each.images, each.labels, noise, attack, monkeypatch))
    assert np.abs(found - each.images).max() <= EPS + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


def test_no_steps_leave_the_start(one: Trained) -> None:
    images, labels = one.images[:5], one.labels[:5]
    noise = np.full_like(images, 0.3)
    assert np.array_equal(one.native.pgd(images, labels, None, eps=EPS, step_size=1, steps=0), images)
    projected = one.native.pgd(images, labels, noise, eps=EPS, step_size=1, steps=0)
    np.testing.assert_allclose(projected, np.minimum(images + EPS, 1), atol=1e-6)


# --- AutoAttack: what it promises


def test_autoattack_keeps_its_promises(each: Trained) -> None:
    survivors, found = each.native.autoattack(each.images, each.labels, **CHEAP)
    assert np.array_equal(survivors[0], each.native.logits(each.images).argmax(axis=1) == each.labels)
    assert (survivors[1:] <= survivors[:-1]).all()
    assert np.abs(found - each.images).max() <= EPS + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    broken = survivors[0] & ~survivors[-1]
    assert 10 < broken.sum() < survivors[0].sum()  # of both kinds there are some
    assert np.array_equal(found[~broken], each.images[~broken])
    assert (each.native.logits(found[broken]).argmax(axis=1) != each.labels[broken]).all()
    logits = each.torch_logits(found[broken])
    own = logits[np.arange(len(logits)), each.labels[broken]]
    assert (logits.max(axis=1) - own > -1e-5).all()  # in float64 a tie of float32 may go the other way
    assert (logits.argmax(axis=1) != each.labels[broken]).mean() > 0.95


def test_an_image_is_attacked_the_same_in_any_company(one: Trained) -> None:
    whole, found = one.native.autoattack(one.images, one.labels, **CHEAP)
    first, alone = one.native.autoattack(one.images[:21], one.labels[:21], **CHEAP)
    assert np.array_equal(first, whole[:, :21])
    assert np.array_equal(alone, found[:21])
    # Draws belong to a position: with other images around, it is the same image at the same position that counts.
    images, labels = one.images.copy(), one.labels.copy()
    images[::2], labels[::2] = images[::2][::-1], labels[::2][::-1]
    mixed, points = one.native.autoattack(images, labels, **CHEAP)
    assert np.array_equal(mixed[:, 1::2], whole[:, 1::2])
    assert np.array_equal(points[1::2], found[1::2])


def test_autoattack_depends_on_its_seed_alone(one: Trained) -> None:
    survivors, found = one.native.autoattack(one.images, one.labels, **CHEAP)
    again, same = one.native.autoattack(one.images, one.labels, **CHEAP)
    assert np.array_equal(survivors, again)
    assert np.array_equal(found, same)
    _, other = one.native.autoattack(one.images, one.labels, **{**CHEAP, "seed": 4})
    assert not np.array_equal(found, other)


def test_more_restarts_break_no_fewer_images(one: Trained) -> None:
    once, _ = one.native.autoattack(one.images, one.labels, **CHEAP)
    thrice, _ = one.native.autoattack(one.images, one.labels, **{**CHEAP, "restarts": 3})
    assert (thrice[1] <= once[1]).all()  # the first restart draws the same


def test_nothing_to_attack_is_no_error(one: Trained) -> None:
    wrong = (one.labels + 1) % 10
    right = one.native.logits(one.images).argmax(axis=1) == wrong
    survivors, found = one.native.autoattack(one.images[~right], wrong[~right], **CHEAP)
    assert not survivors.any()
    assert np.array_equal(found, one.images[~right])
    none, nothing = one.native.autoattack(one.images[:0], one.labels[:0], **CHEAP)
    assert none.shape == (5, 0)
    assert nothing.shape == one.images[:0].shape


def test_of_equal_logits_the_first_class_counts() -> None:
    skeleton = Skeleton(2, 1, 5, 1, 8)
    _, native = twins(Cell.from_index(9930), skeleton)
    native.parameters[-(skeleton.widths[-1] + 1) * skeleton.classes :] = 0  # of the linear layer
    native.fold()
    images, _ = random_batch(skeleton, 10)
    labels = np.arange(10) % 5
    survivors, _ = native.autoattack(images, labels, **CHEAP)
    assert (survivors == (labels == 0)).all()


def test_fewer_than_four_classes_are_refused() -> None:
    skeleton = Skeleton(2, 1, 3, 1, 8)
    _, native = twins(Cell.from_index(9930), skeleton)
    with pytest.raises(InvalidValueError, match="classes is 3, expected at least 4"):
        native.autoattack(*random_batch(skeleton, 3), **CHEAP)


# --- AutoAttack against torch


def test_survivors_of_every_part_are_those_of_torch_but_for_chance(each: Trained) -> None:
    found, _ = each.native.autoattack(each.images, each.labels, **{**CHEAP, "queries": 1000})
    attack = replace(metrics.autoattack(EPS, steps=10), queries=1000)
    network = each.network.float()
    images = torch.from_numpy(each.images)
    result = autoattack(network, images, each.tensors[1], attack, torch.Generator().manual_seed(0))
    network.double()
    expected = np.array([alive.numpy() for alive in result.survivors.values()])
    assert np.array_equal(found[0], expected[0])
    # Of 150 images, a few are broken by chance by one and not by the other: draws differ.
    assert np.abs(found.sum(axis=1) - expected.sum(axis=1)).max() <= 4
    assert (found[-1] != expected[-1]).sum() <= 4


@pytest.fixture
def same_starts(one: Trained, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Let torch's Auto-PGD start where the engine's does; to be called with the number of the part."""
    position = {pixels.tobytes(): index for index, pixels in enumerate(one.images)}
    original, state = apgd._start, {"part": 0, "attempt": 0}

    def start(images: torch.Tensor, labels: torch.Tensor, attack: metrics.Attack, generator: torch.Generator) -> object:
        indices = [position[pixels.float().numpy().tobytes()] for pixels in images]
        draws = [SplitMix.of(CHEAP["seed"], state["part"], state["attempt"], index) for index in indices]
        noise = np.stack([attack.eps * (2 * draw.units(images[0].numel()) - 1) for draw in draws])
        state["attempt"] += 1
        with monkeypatch.context() as patch:
            values = torch.from_numpy(noise).view_as(images)
            patch.setattr(torch.Tensor, "uniform_", lambda empty, *_, **__: empty.copy_(values))
            return original(images, labels, attack, generator)

    monkeypatch.setattr(apgd, "_start", start)
    return lambda part: state.update(part=part, attempt=0)


@pytest.mark.parametrize(("steps", "eps"), [(10, EPS), (12, 0.2)])
def test_auto_pgd_equals_that_of_torch_from_the_same_starts(
    one: Trained, same_starts: Callable[[int], None], steps: int, eps: float
) -> None:
    """With more steps and a larger budget some images are broken late, by steps that were halved before."""
    survivors, found = one.native.autoattack(one.images, one.labels, **{**CHEAP, "eps": eps, "steps": steps})
    images, labels = one.tensors
    others = 0
    for part, attack in enumerate((apgd_ce, apgd_t)):
        same_starts(part)
        left = survivors[part]
        settings = metrics.autoattack(eps, steps=steps)
        points = attack(one.network, images[left], labels[left], settings, torch.Generator()).numpy()
        broken = one.torch_logits(points).argmax(axis=1) != one.labels[left]
        ours = ~survivors[part + 1][left]
        assert (broken & ours).sum() > 0
        elsewhere = np.abs(found[left] - points).max(axis=(1, 2, 3)) > 1e-3
        others += ((broken != ours) | (broken & elsewhere)).sum()
    assert others <= 1


@pytest.mark.parametrize(("steps", "eps", "least"), [(1, 0.2, 8), (2, 0.16, 4), (3, 0.08, 1)])
def test_fab_equals_that_of_torch(steps: int, eps: float, least: int) -> None:
    """FAB is given few steps, as the parts before it, or they would leave it nothing to find."""
    one = train(2581, count=517)
    survivors, found = one.native.autoattack(one.images, one.labels, **{**CHEAP, "eps": eps, "steps": steps})
    left, broken = survivors[2], survivors[2] & ~survivors[3]
    images, labels = one.tensors
    points = fab_t(one.network, images[left], labels[left], metrics.autoattack(eps, steps=steps)).numpy()
    theirs = np.abs(points - one.images[left]).max(axis=(1, 2, 3)) > 0
    assert (theirs != broken[left]).sum() <= 1
    both = theirs & broken[left]
    assert both.sum() >= least
    np.testing.assert_allclose(found[left][both], points[both], atol=1e-4)
