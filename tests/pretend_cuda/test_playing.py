"""Curves and Square played back as graphs on a pretended CUDA device; on a real one where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from pretend_cuda.device import PretendCuda

from nasbench_robust.attacks import _square, random_search, repeating, square
from nasbench_robust.cells import Cell
from nasbench_robust.engines import engine_named
from nasbench_robust.engines.torch import GraphedTrainer, graphs, make_generator, playback
from nasbench_robust.engines.torch.evaluation import judged
from nasbench_robust.engines.torch.playback import played_back
from nasbench_robust.engines.watch import watching
from nasbench_robust.errors import RunInterruptedError
from nasbench_robust.images import TensorImages, pinned_float32
from nasbench_robust.metrics import Attack, Metric, autoattack
from nasbench_robust.networks import make_path, network_for
from nasbench_robust.settings import AdversarialSettings, TrainingSettings

CELL = Cell.from_index(9930)
RADII = {"Linf": 0.01, "L2": 0.05}


# ------------------------------------------------------------------ the curve


@pytest.fixture
def settings(quick: TrainingSettings) -> Iterator[TrainingSettings]:
    with mock.patch.object(AdversarialSettings, "evaluation_batch", 5):  # of 12: the last batch is short
        yield replace(quick, epochs=2, batch_size=14, attack=replace(quick.attack, steps=1))


@pytest.fixture
def digits(few: TensorImages) -> TensorImages:
    return replace(few, train=few.train[:14])


class Eager(GraphedTrainer):
    """The same, with a curve that is not played."""

    _judge = staticmethod(judged)


def curve_of(trainer: GraphedTrainer) -> list[Any]:
    while not trainer.finished:
        trainer.step()
    return trainer.curve


def test_a_curve_that_is_played_is_the_curve(digits: TensorImages, settings: TrainingSettings) -> None:
    trainer = GraphedTrainer(CELL, settings, digits, 0)
    assert curve_of(trainer) == curve_of(Eager(CELL, settings, digits, 0))
    played = {attack: judge._play.is_played for attack, judge in trainer._judges.items()}
    assert played == {None: True, settings.attack: True}


def masks_of(trainer: GraphedTrainer, images: TensorImages) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return which images are classified correctly, played and not, by one network after the other."""
    (pixels, labels), found = images.test[:5], []
    one, other, weights = (make_generator(seed, "curve", "cuda") for seed in (0, 0, 1))
    for _ in range(5):
        for parameter in trainer.network.parameters():
            torch.nn.init.normal_(parameter, generator=weights)
        masks = [
            judge(trainer.measured(), trainer.settings.attack, pixels, labels, draws)
            for judge, draws in ((trainer._judge, one), (judged, other))
        ]
        assert torch.equal(one.get_state(), other.get_state())
        found.append(tuple(masks))
    return found


@pinned_float32()
def test_a_played_batch_is_of_the_network_as_it_is(digits: TensorImages, settings: TrainingSettings) -> None:
    masks = masks_of(GraphedTrainer(CELL, settings, digits, 0), digits)
    assert all(torch.equal(*pair) for pair in masks)
    assert not all(torch.equal(plain, masks[-1][1]) for _, plain in masks[2:])


@pinned_float32()
def test_a_graph_of_weights_that_were_would_be_seen(digits: TensorImages, settings: TrainingSettings) -> None:
    class Stale(GraphedTrainer):
        def measured(self) -> torch.nn.Module:
            capturing = torch.cuda.is_current_stream_capturing()
            return self._path._measured if capturing else self._path.measured()

    stale = Stale(CELL, settings, digits, 0)
    assert not all(torch.equal(*pair) for pair in masks_of(stale, digits))
    assert stale._judges[settings.attack]._play.is_played


@pinned_float32()
def test_a_played_batch_waits_for_nothing(
    device: PretendCuda, digits: TensorImages, settings: TrainingSettings
) -> None:
    trainer, batch = GraphedTrainer(CELL, settings, digits, 0), (settings.attack, *digits.test[:5])
    draws = make_generator(0, "curve", "cuda")
    for _ in range(2):
        trainer._judge(trainer.measured(), *batch, draws)
    with device.at_work():
        trainer._judge(trainer.measured(), *batch, draws)


def test_a_curve_that_cannot_be_captured_is_taken_without(
    digits: TensorImages, settings: TrainingSettings, caplog: pytest.LogCaptureFixture
) -> None:
    def waiting(*batch: Any) -> torch.Tensor:
        right = judged(*batch)
        return right & bool(right.any())

    with mock.patch.object(graphs, "judged", waiting):
        trainer = GraphedTrainer(CELL, settings, digits, 0)
        assert curve_of(trainer) == curve_of(Eager(CELL, settings, digits, 0))
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert "no graph of a batch of the curve could be captured (_local_scalar_dense in a capture" in message


def test_the_watch_is_asked_between_batches_and_not_in_a_capture(
    digits: TensorImages, settings: TrainingSettings, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, no = GraphedTrainer(CELL, settings, digits, 0), torch.zeros(1, device="cuda")
    with watching(lambda: no.item() > 0):
        curve_of(trainer)
    assert not caplog.messages
    draws = make_generator(0, "curve", "cuda")
    with watching(lambda: True), pytest.raises(RunInterruptedError):
        trainer._judge(trainer.measured(), None, *digits.test[:5], draws)


# ------------------------------------------------------------------ Square


@pytest.fixture
def network(few: TensorImages, quick: TrainingSettings) -> torch.nn.Module:
    made = network_for(CELL, quick.skeleton, "digits", make_generator(0, "weights")).to("cuda")
    return make_path("fast", made.eval()).measured()


@pytest.fixture
def in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (_square, random_search):
        monkeypatch.setattr(module, "BLOCK", 6)
    monkeypatch.setattr(random_search, "STRIDE", 3)


def attacked(network: torch.nn.Module, few: TensorImages, norm: str, batch_size: int = 5) -> torch.Tensor:
    """Attack images that the network gets right."""
    pixels = few.train.pixels[:8]
    with torch.no_grad(), pinned_float32():
        labels = network(pixels).argmax(dim=1)
    attack = Attack("square", RADII[norm], norm=norm, queries=16)
    return square(network, pixels, labels, attack, make_generator(0, "evaluation", "cuda"), batch_size).cpu()


def captures() -> Any:
    return mock.patch.object(playback, "capture", wraps=playback.capture)


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("batch_size", [5, 8])
def test_a_square_that_is_played_is_the_square(
    batch_size: int, norm: str, network: torch.nn.Module, few: TensorImages, caplog: pytest.LogCaptureFixture
) -> None:
    plain = attacked(network, few, norm, batch_size)
    with repeating(played_back), captures() as captured:
        played = attacked(network, few, norm, batch_size)
    assert torch.equal(played, plain)
    assert captured.call_count >= 3
    assert not caplog.messages


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.parametrize("norm", RADII)
def test_a_played_query_waits_for_nothing(
    norm: str, device: PretendCuda, network: torch.nn.Module, few: TensorImages
) -> None:
    made = []

    def strict(*work: Any) -> Callable[[], None]:
        query, done = played_back(*work), []

        def play() -> None:
            done.append(1)
            made.append(1)
            if len(done) <= 2:  # the warm-up, and the first of the graph, which is compared
                query()
                return
            with device.at_work():
                query()

        return play

    with repeating(strict):
        attacked(network, few, norm)
    assert len(made) > 20


@pytest.mark.usefixtures("in_small_blocks")
def test_a_network_that_waits_is_attacked_without_a_graph(
    network: torch.nn.Module, few: TensorImages, caplog: pytest.LogCaptureFixture
) -> None:
    plain = attacked(network, few, "Linf")
    network.register_forward_hook(lambda _, __, logits: logits.sum().item() and None)
    with repeating(played_back):
        assert torch.equal(attacked(network, few, "Linf"), plain)
    assert "no graph of a query could be captured (_local_scalar_dense in a capture" in caplog.text


@pytest.mark.usefixtures("in_small_blocks")
def test_a_graph_that_does_nothing_is_not_taken(
    network: torch.nn.Module, few: TensorImages, caplog: pytest.LogCaptureFixture
) -> None:
    for batch_size in (5, 8):  # with 5, some of these graphs are compared when no image has a move left
        plain = attacked(network, few, "Linf", batch_size)
        with repeating(played_back), mock.patch.object(playback, "capture", return_value=lambda: None):
            assert torch.equal(attacked(network, few, "Linf", batch_size), plain)
    assert "the graph of a query does something else" in caplog.text


def test_the_host_waits_once_in_many_queries(
    device: PretendCuda, network: torch.nn.Module, few: TensorImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for stride in (1, 8):
        monkeypatch.setattr(random_search, "STRIDE", stride)
        before = sum(device.waits.values())
        with repeating(played_back):
            attacked(network, few, "L2", 8)
        counts.append(sum(device.waits.values()) - before)
    assert counts[1] < counts[0]


def test_engines_with_graphs_play_square(few: TensorImages, quick: TrainingSettings) -> None:
    metric = Metric.of(replace(autoattack(0.02, steps=2), queries=12))
    found = []
    for name in ("torch-fast", "torch-fast-graph"):
        engine = engine_named(name)
        with captures() as captured:
            (outcome,) = engine.measure(engine.trainer(CELL, quick, few, 0), metric, 0)
        found.append(outcome)
        assert bool(captured.call_count) == ("graph" in name)
    assert (found[0] == found[1]).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_graphs_of_cuda_measure_alike(first_digits: Callable[[int], TensorImages], quick: TrainingSettings) -> None:
    images, settings = first_digits(56).to("cuda"), replace(quick, epochs=4)
    trainer = GraphedTrainer(CELL, settings, images, 0)
    curve_of(trainer)
    assert all(judge._play.is_played for judge in trainer._judges.values())
    plain = attacked(trainer.measured(), images, "Linf")
    with repeating(played_back), captures() as captured:
        assert torch.equal(attacked(trainer.measured(), images, "Linf"), plain)
    assert captured.called
