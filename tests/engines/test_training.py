"""Training and evaluation follow the protocol, reproduce themselves, and learn."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import Trainer, evaluate, make_generator, train
from nasbench_robust.engines.torch.training import STREAMS
from nasbench_robust.images import TensorImages, load_images
from nasbench_robust.metrics import Metric
from nasbench_robust.settings import settings_for

QUICK = replace(settings_for("digits"), epochs=2, batch_size=64, attack=metrics.pgd(0.1, steps=2))
CELL = Cell.from_index(9930)


@pytest.fixture(scope="module")
def few() -> TensorImages:
    """The first 320 training, 50 validation and 100 test images: 5 steps an epoch."""
    images = load_images("digits")
    return replace(images, train=images.train[:320], test=images.test[:100], validation=images.validation[:50])


def test_schedule_cycles_rate_and_momentum(few: TensorImages, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Watched(torch.optim.SGD):
        def step(self, closure: object = None) -> None:
            group = self.param_groups[0]
            seen.append((group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]))
            super().step()

    monkeypatch.setattr(torch.optim, "SGD", Watched)
    _, curve = train(CELL, replace(QUICK, epochs=10), few, seed=0)
    rates, momenta = [row[0] for row in seen], [row[1] for row in seen]
    assert len(seen) == 50
    assert rates[0] == pytest.approx(0.004)
    assert max(rates) == pytest.approx(0.1, rel=0.01)
    assert rates[-1] == pytest.approx(4e-7)
    assert momenta[0] == pytest.approx(0.95)
    assert min(momenta) == pytest.approx(0.85, rel=0.01)
    assert momenta[-1] == pytest.approx(0.95)
    assert not any(row[2] for row in seen)
    assert {row[3] for row in seen} == {5e-4}
    assert [epoch.learning_rate for epoch in curve] == rates[4::5]


def test_attack_sees_eval_mode_and_update_sees_train_mode(few: TensorImages, monkeypatch: pytest.MonkeyPatch) -> None:
    import nasbench_robust.engines.torch.training as training

    modes = []

    def watched(network: torch.nn.Module, *rest: object) -> torch.Tensor:
        modes.append(network.training)
        return original(network, *rest)

    original = training.unchecked(QUICK.attack)
    monkeypatch.setattr(training, "unchecked", lambda attack: watched)
    network, _ = train(CELL, QUICK, few, seed=0)
    assert modes == [False] * 10
    assert int(network.state_dict()["stem.1.num_batches_tracked"]) == 10  # BN saw each batch once, adversarial only
    assert not network.training


def test_equal_seeds_give_equal_weights(few: TensorImages) -> None:
    torch.manual_seed(1)
    one, curve = train(CELL, QUICK, few, seed=3)
    torch.manual_seed(2)
    two, again = train(CELL, QUICK, few, seed=3)
    other, _ = train(CELL, QUICK, few, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert curve == again
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_training_learns_to_resist_the_attack() -> None:
    images = load_images("digits")
    settings = replace(settings_for("digits"), epochs=8)
    network, curve = train(CELL, settings, images, seed=0)
    assert curve[-1].train_loss < 0.7 * curve[0].train_loss
    assert curve[-1].clean_acc > 0.8
    assert curve[-1].pgd_acc > 0.5
    measured = evaluate(network, *images.held_out("validation"), [Metric("clean_acc")], torch.Generator())
    assert curve[-1].clean_acc == pytest.approx(measured[Metric("clean_acc")].double().mean().item())


def test_last_short_batch_is_kept(few: TensorImages) -> None:
    network, _ = train(CELL, replace(QUICK, epochs=1, batch_size=300), few, seed=0)
    assert int(network.state_dict()["stem.1.num_batches_tracked"]) == 2


def test_the_loss_of_an_epoch_is_the_mean_over_its_images(few: TensorImages, monkeypatch: pytest.MonkeyPatch) -> None:
    import nasbench_robust.engines.torch.training as training

    seen: list[tuple[float, int]] = []

    def watched(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(logits, labels)
        seen.append((loss.item(), len(labels)))
        return loss

    monkeypatch.setattr(training, "F", SimpleNamespace(cross_entropy=watched))
    _, curve = train(CELL, replace(QUICK, epochs=2, batch_size=300), few, seed=0)
    assert [count for _, count in seen] == [300, 20] * 2
    for epoch, batches in zip(curve, (seen[:2], seen[2:]), strict=True):
        assert epoch.train_loss == pytest.approx(sum(loss * count for loss, count in batches) / 320, rel=1e-12)


def test_curves_have_draws_of_their_own(few: TensorImages, monkeypatch: pytest.MonkeyPatch) -> None:
    import nasbench_robust.engines.torch.training as training

    states = []

    def watched(network, images, labels, wanted, generator, **options):
        states.append(generator.get_state())
        return evaluate(network, images, labels, wanted, generator, **options)

    monkeypatch.setattr(training, "evaluate", watched)
    train(CELL, QUICK, few, seed=5)
    expected = make_generator(5, "curve").get_state()
    assert len(states) == 2
    assert all(torch.equal(state, expected) for state in states)  # from the beginning in every epoch


def test_every_epoch_has_an_order_of_its_own_and_all_images(few: TensorImages) -> None:
    trainer, orders = Trainer(CELL, QUICK, few, 0), []
    chosen = trainer._descend
    trainer._descend = lambda batch: orders.append(batch.tolist()) or chosen(batch)
    while not trainer.finished:
        trainer.step()
    first, second = ([image for batch in part for image in batch] for part in (orders[:5], orders[5:]))
    assert sorted(first) == sorted(second) == list(range(320))
    assert first != second


def test_progress_is_told_every_epoch(few: TensorImages) -> None:
    told = []
    _, curve = train(CELL, QUICK, few, seed=0, progress=told.append)
    assert told == curve
    assert [epoch.epoch for epoch in told] == [1, 2]


def test_streams_of_seeds_and_purposes_differ() -> None:
    first = {torch.rand(1, generator=make_generator(seed, s)).item() for seed in range(20) for s in STREAMS}
    assert len(first) == 20 * len(STREAMS)


def test_evaluation_counts_per_image_and_keeps_the_mode(few: TensorImages) -> None:
    network, _ = train(CELL, QUICK, few, seed=0)
    network.train()
    wanted = [Metric("clean_acc"), Metric.of(metrics.fgsm(0.05)), Metric.of(metrics.pgd(0.1))]
    whole = evaluate(network, few.test.pixels, few.test.labels, wanted, torch.Generator().manual_seed(0))
    parts = evaluate(network, few.test.pixels, few.test.labels, wanted, torch.Generator().manual_seed(0), batch_size=7)
    assert network.training
    network.eval()
    clean = network(few.test.pixels).argmax(1) == few.test.labels
    assert torch.equal(whole[wanted[0]], clean)
    assert torch.equal(whole[wanted[0]], parts[wanted[0]])
    assert torch.equal(whole[wanted[1]], parts[wanted[1]])
    assert whole[wanted[2]].sum() <= whole[wanted[0]].sum()
