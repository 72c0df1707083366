"""The formulas of differentiable search: directions, divergences, second order, draws."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from helpers import SMALL, seeded

from nasbench_robust.cells.cell import OPERATIONS
from nasbench_robust.datasets import dataset
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.networks import Supernet, supernet_for
from nasbench_robust.search.supernet import METHODS, find_method, first_plus
from nasbench_robust.search.supernet.methods import between, kl_divergence, minimum_norm_direction
from nasbench_robust.search.supernet.views import Batch, Model, look_ahead, sample_operations


def tiny_supernet(seed: int = 0) -> Supernet:
    return supernet_for(SMALL, "digits", seeded(seed)).double()


def batch_of(count: int, seed: int = 0) -> Batch:
    draws = seeded(seed)
    images = torch.rand(count, 1, 8, 8, generator=draws, dtype=torch.float64)
    noise = 0.1 * torch.rand(images.shape, generator=draws, dtype=torch.float64)
    labels = torch.randint(0, dataset("digits").classes, (count,), generator=draws)
    return Batch(images, labels, (images + noise).clamp(0, 1), 0.1, draws)


# ------------------------------------------------------------------ minimum-norm direction


@pytest.mark.parametrize(
    ("natural", "adversarial", "share", "direction"),
    [
        ([1.0, 0.0], [0.0, 1.0], 0.5, [0.5, 0.5]),  # orthogonal
        ([1.0, 0.0], [-1.0, 0.0], 0.5, [0.0, 0.0]),  # opposite: nothing helps both
        ([2.0, 0.0], [-1.0, 1.0], 0.4, [0.2, 0.6]),  # conflicting: a = (-3, 1), a . g_a = 4, |a|^2 = 10
        ([3.0, 0.0], [1.0, 0.0], 0.0, [1.0, 0.0]),  # aligned: the shorter one
        ([1.0, 0.0], [3.0, 0.0], 1.0, [1.0, 0.0]),
        ([1.0, 2.0], [1.0, 2.0], 0.0, [1.0, 2.0]),  # equal: the denominator is zero
        ([0.0, 0.0], [0.0, 0.0], 0.0, [0.0, 0.0]),
    ],
)
def test_minimum_norm_direction(natural, adversarial, share, direction):
    found, logs = minimum_norm_direction([torch.tensor(natural), torch.tensor(adversarial)], 1.0)
    assert logs["natural_share"] == pytest.approx(share)
    assert found.tolist() == pytest.approx(direction)


def test_minimum_norm_is_the_minimum_and_helps_both():
    draws = seeded()
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    for _ in range(50):
        natural, adversarial = torch.randn(2, 6, generator=draws, dtype=torch.float64)
        for strength in (0.1, 1.0):
            found, _ = minimum_norm_direction([natural, adversarial], strength)
            norms = (grid * natural + (1 - grid) * strength * adversarial).norm(dim=1)
            assert float(found.norm()) <= float(norms.min()) + 1e-12
            square = float(found @ found)
            assert float(found @ natural) >= square - 1e-12
            assert float(found @ adversarial) * strength >= square - 1e-12


def test_sums_of_two_gradients():
    gradients = [torch.tensor([3.0, 4.0]), torch.tensor([0.0, 10.0])]
    total, logs = first_plus(gradients, 0.5)
    assert total.tolist() == [3.0, 9.0]
    assert logs["ratio"] == pytest.approx(1.0)
    assert between(gradients, 0.25)[0].tolist() == [2.25, 5.5]
    assert first_plus([torch.zeros(2), torch.ones(2)], 1.0)[1]["ratio"] == float("inf")


# ------------------------------------------------------------------ divergence


def test_kl_divergence_by_its_definition():
    logits, others = torch.randn(2, 5, 10, generator=seeded(), dtype=torch.float64)
    p, q = F.softmax(logits, dim=1), F.softmax(others, dim=1)
    assert float(kl_divergence(logits, others)) == pytest.approx(float((p * (p / q).log()).sum() / 5), rel=1e-12)


def test_kl_divergence_of_small_noise_is_the_fisher_form():
    """For noise of standard deviation s on the input, the mean of KL is s^2 / 2 tr(J^T F J), F = diag(p) - p p^T."""
    draws = seeded(3)
    weights = torch.randn(10, 64, generator=draws, dtype=torch.float64) / 8
    image = torch.rand(64, generator=draws, dtype=torch.float64)
    logits = torch.tanh(weights @ image)
    jacobian = (1 - logits**2)[:, None] * weights
    p = F.softmax(logits, dim=0)
    expected = torch.trace(jacobian.T @ (torch.diag(p) - torch.outer(p, p)) @ jacobian) / 2
    spread = 1e-3
    noise = spread * torch.randn(20000, 64, generator=draws, dtype=torch.float64)
    noisy = torch.tanh((image + noise) @ weights.T)
    found = kl_divergence(logits.expand_as(noisy), noisy) / spread**2
    assert float(found) == pytest.approx(float(expected), rel=0.03)  # 20,000 draws: a standard error of 1 %


# ------------------------------------------------------------------ second order


def look_ahead_loss(supernet: Supernet, alpha: torch.Tensor, optimiser: torch.optim.SGD) -> torch.Tensor:
    """Return the loss of one batch after one step of the weights on another, as a function of alpha."""
    train, held_out = batch_of(6, 1), batch_of(6, 2)
    model = Model(supernet, F.softmax(alpha, dim=-1))
    ahead = look_ahead(model, F.cross_entropy(model(train.images), train.labels), optimiser)
    return F.cross_entropy(ahead(held_out.images), held_out.labels)


@pytest.mark.parametrize("velocity", [False, True])
def test_second_order_gradient_against_finite_differences(velocity):
    supernet = tiny_supernet()
    weights = [value for _, value in supernet.weights()]
    optimiser = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01)
    if velocity:
        draws = seeded(9)
        for value in weights:
            optimiser.state[value]["momentum_buffer"] = 0.1 * torch.empty_like(value).normal_(generator=draws).detach()
    alpha = torch.randn(1, 6, 5, generator=seeded(5), dtype=torch.float64).requires_grad_()
    (exact,) = torch.autograd.grad(look_ahead_loss(supernet, alpha, optimiser), alpha)
    step = 1e-6
    for entry in [(0, 0, 3), (0, 2, 1), (0, 3, 2), (0, 5, 4), (0, 4, 0)]:
        move = torch.zeros_like(alpha)
        move[entry] = step
        above, below = (look_ahead_loss(supernet, alpha.detach() + way * move, optimiser) for way in (1, -1))
        assert float((above - below).detach()) / (2 * step) == pytest.approx(float(exact[entry]), rel=1e-4, abs=1e-9)


def test_look_ahead_takes_the_optimisers_step():
    supernet = tiny_supernet()
    names, weights = zip(*supernet.weights(), strict=True)
    optimiser = torch.optim.SGD(weights, lr=0.1, momentum=0.9, weight_decay=0.01)
    train = batch_of(8)
    for _ in range(2):  # the second step has a velocity
        model = Model(supernet, supernet.mixture())
        loss = F.cross_entropy(model(train.images), train.labels)
        ahead = look_ahead(model, loss, optimiser)
        optimiser.zero_grad()
        F.cross_entropy(supernet(train.images), train.labels).backward()
        optimiser.step()
        assert ahead.weights is not None
        for name, value in zip(names, weights, strict=True):
            torch.testing.assert_close(ahead.weights[name], value, rtol=1e-10, atol=1e-12)


def test_second_order_differs_from_first_order_by_the_step():
    """With a learning rate of zero the look-ahead is no look-ahead."""
    supernet = tiny_supernet()
    weights = [value for _, value in supernet.weights()]
    alpha = torch.zeros(1, 6, 5, dtype=torch.float64, requires_grad=True)
    gradients = [
        torch.autograd.grad(look_ahead_loss(supernet, alpha, torch.optim.SGD(weights, lr=rate)), alpha)[0]
        for rate in (0.0, 0.1)
    ]
    held_out = batch_of(6, 2)
    model = Model(supernet, F.softmax(alpha, dim=-1))
    (first,) = torch.autograd.grad(F.cross_entropy(model(held_out.images), held_out.labels), alpha)
    torch.testing.assert_close(gradients[0], first, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(gradients[1], first, rtol=1e-2)


# ------------------------------------------------------------------ GDAS


def test_draws_follow_the_softmax_of_alpha():
    alpha = torch.tensor([[[0.0, 1.0, 2.0, -1.0, 0.5]] * 6])
    draws, count = seeded(), 4000
    seen = torch.zeros(6, 5)
    for _ in range(count):
        mixture, choice = sample_operations(alpha, 5.0, draws)
        assert torch.equal(mixture.argmax(dim=-1), torch.tensor(choice))
        seen += F.one_hot(torch.tensor(choice[0]), 5)
    expected = F.softmax(alpha[0, 0], dim=0) * count
    squares = ((seen - expected) ** 2 / expected).sum(dim=1)
    assert (squares < 18.5).all()  # 99.9 % point of chi-square with 4 degrees of freedom; the seed is fixed


def test_a_draw_is_one_hot_and_differentiates_as_the_softmax():
    alpha = torch.randn(1, 6, 5, generator=seeded(2), dtype=torch.float64).requires_grad_()
    direction = torch.randn(1, 6, 5, generator=seeded(4), dtype=torch.float64)
    mixture, _ = sample_operations(alpha, 0.7, seeded(1))
    assert set(mixture.detach().round(decimals=12).unique().tolist()) == {0.0, 1.0}
    (found,) = torch.autograd.grad((mixture * direction).sum(), alpha)
    uniform = torch.rand(alpha.shape, generator=seeded(1)).to(alpha)
    noisy = (F.log_softmax(alpha, dim=-1) - torch.log(-torch.log(uniform))) / 0.7
    (expected,) = torch.autograd.grad((F.softmax(noisy, dim=-1) * direction).sum(), alpha)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------ the catalogue


def test_every_method_has_terms_that_depend_on_the_architecture():
    supernet, batch = tiny_supernet(), batch_of(4)
    for method in METHODS.values():
        model = Model(supernet, supernet.mixture())
        losses = method.terms(model, batch)
        gradients = [torch.autograd.grad(loss, supernet.alpha, retain_graph=True)[0] for loss in losses]
        direction, _ = method.combine(gradients, method.strength)
        assert direction.shape == supernet.alpha.shape
        assert float(direction.norm()) > 0, method.name


def test_bounds_are_the_second_terms_of_dsrna():
    """The sum of both is that of the parts; the interval bound alone takes weight from 3x3 convolutions for none."""
    supernet, batch = tiny_supernet(), batch_of(16)
    for _ in range(20):  # running statistics of these images
        supernet(batch.images)
    terms = []
    for name in ("jacobian", "combined", "certified"):
        same = copy.deepcopy(supernet)  # the clean loss, in train mode, moves the statistics
        model = Model(same, same.mixture())
        terms.append(METHODS[f"dsrna-like-{name}"].terms(model, replace(batch, draws=seeded()))[1])
    jacobian, both, radius = terms
    assert float(both.detach()) == pytest.approx(float((jacobian + radius).detach()))
    assert float(jacobian.detach()) > 0
    (gradient,) = torch.autograd.grad(radius, same.alpha)
    none, convolution = (float(gradient[..., OPERATIONS.index(each)].sum()) for each in ("none", "nor_conv_3x3"))
    assert none < 0 < convolution
    assert all(module.training for module in same.modules())


def test_unknown_method_and_order():
    with pytest.raises(UnknownNameError, match=r"dart.*darts"):
        find_method("dart")
    with pytest.raises(InvalidValueError, match=r"order.*2.*gdas"):
        find_method("gdas", 2)
