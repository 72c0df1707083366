"""Steps that are captured and played back, on a pretended CUDA device; on a real one where there is one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pretend_cuda.device import PretendCuda

from nasbench_robust.cells import Cell
from nasbench_robust.engines import ENGINES
from nasbench_robust.engines.torch import GraphedTrainer, Trainer, playback
from nasbench_robust.engines.torch.graphs import WARM_UP, DeviceSGD
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.images import TensorImages
from nasbench_robust.runs import choose_engine, run_cell
from nasbench_robust.settings import TrainingSettings, settings_for

CELL = Cell.from_index(9930)
GRAPHED = [name for name, row in ENGINES.items() if row.graph]
PATHS = ["fast", "fast-bf16"]


def finish(trainer: Trainer) -> Trainer:
    while not trainer.finished:
        trainer.step()
    return trainer


def values_of(trainer: Trainer) -> list[torch.Tensor]:
    found = [*trainer.network.parameters(), *trainer.network.buffers()]
    found += [state["momentum_buffer"] for state in trainer._optimiser.state.values()]
    return [each.detach().cpu() for each in found] + [trainer._draws.get_state()]


def assert_same(one: Trainer, other: Trainer) -> None:
    for mine, theirs in zip(values_of(one), values_of(other), strict=True):
        assert torch.equal(mine, theirs)
    assert one.curve == other.curve


class Eager(GraphedTrainer):
    """The same steps, never played back."""

    def _descend(self, chosen: torch.Tensor) -> None:
        self._play._left = 1
        super()._descend(chosen)


def is_played(trainer: GraphedTrainer) -> bool:
    return bool(trainer._play.is_played)


@pytest.mark.parametrize(("index", "path"), [(9930, PATHS[0]), (14, PATHS[0]), (7602, PATHS[1])])
def test_steps_played_back_are_the_steps(index: int, path: str, few: TensorImages, quick: TrainingSettings) -> None:
    cell = Cell.from_index(index)
    played = finish(GraphedTrainer(cell, quick, few, seed=0, path=path))
    assert is_played(played)
    assert_same(played, finish(Eager(cell, quick, few, seed=0, path=path)))


def test_a_replayed_step_waits_for_nothing(device: PretendCuda, few: TensorImages, quick: TrainingSettings) -> None:
    trainer = GraphedTrainer(CELL, quick, few, seed=0)
    while trainer._play.is_played is None:
        trainer.step()
    with device.at_work():
        trainer.step()


def test_short_batches_warm_nothing_up(few: TensorImages, quick: TrainingSettings) -> None:
    short = replace(few, train=few.train[:24])  # 16 and 8 an epoch
    trainer = GraphedTrainer(CELL, quick, short, seed=0)
    for _ in range(3):
        trainer.step()
    assert trainer._play._left == WARM_UP - 2  # the third step is the next epoch's first


def test_steps_are_those_of_the_trainer(few: TensorImages, quick: TrainingSettings) -> None:
    graphed, plain = Eager(CELL, quick, few, seed=0), Trainer(CELL, quick, few, seed=0, path="fast")
    for _ in range(3):
        graphed.step()
        plain.step()
    for mine, theirs in zip(values_of(graphed), values_of(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_number_of_the_host_would_be_noticed(few: TensorImages, quick: TrainingSettings) -> None:
    class HostSGD(DeviceSGD):
        step = torch.optim.SGD.step

    class Host(GraphedTrainer):
        def _make_optimiser(self) -> DeviceSGD:
            return HostSGD(list(self.network.parameters()), lr=0.1, momentum=0.9, weight_decay=5e-4)

    class HostEager(Host, Eager):
        pass

    played, eager = finish(Host(CELL, quick, few, seed=0)), finish(HostEager(CELL, quick, few, seed=0))
    assert is_played(played)
    assert not all(map(torch.equal, values_of(played), values_of(eager)))


def test_an_interrupted_run_is_captured_again_and_goes_on(few: TensorImages, quick: TrainingSettings) -> None:
    longer = replace(quick, epochs=3)
    first = GraphedTrainer(CELL, longer, few, seed=0)
    for _ in range(5):
        first.step()
    other = GraphedTrainer(CELL, longer, few, seed=0)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert_same(finish(other), finish(first))
    assert is_played(other)


# ------------------------------------------------------------------ where there is no graph


def planted(trainer: type[GraphedTrainer], work: Callable[[GraphedTrainer], object]) -> type[GraphedTrainer]:
    """Return a trainer that does something else at the end of every step."""

    class Planted(trainer):
        def _descend_chosen(self, draws: torch.Generator) -> None:
            super()._descend_chosen(draws)
            work(self)

    return Planted


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (lambda trainer: trainer._loss.item(), "_local_scalar_dense in a capture"),
        (lambda trainer: trainer._loss.cpu(), "a copy to the host in a capture"),
        (lambda trainer: torch.ones(3).to("cuda"), "a copy to the device in a capture"),
        (lambda trainer: torch.empty(3, device="cuda").uniform_(generator=OTHER[0]), "does not know the generator"),
    ],
)
def test_what_cannot_be_captured_is_said_and_done_without(
    work: Any, reason: str, few: TensorImages, quick: TrainingSettings, caplog: pytest.LogCaptureFixture
) -> None:
    OTHER[:] = [torch.Generator("cuda")]
    played = finish(planted(GraphedTrainer, work)(CELL, quick, few, seed=0))
    assert not is_played(played)
    (message,) = caplog.messages
    assert "no graph of a step could be captured" in message
    assert reason in message
    assert_same(played, finish(Eager(CELL, quick, few, seed=0)))


OTHER: list[torch.Generator] = []


def test_the_first_error_of_a_capture_is_what_is_said(
    few: TensorImages, quick: TrainingSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(work: object, *_: object) -> None:
        try:
            raise RuntimeError("operation not permitted when stream is capturing")
        finally:
            raise RuntimeError("capture invalidated")  # as torch ends a capture

    monkeypatch.setattr(playback, "capture", broken)
    finish(GraphedTrainer(CELL, quick, few, seed=0))
    assert "(operation not permitted when stream is capturing)" in caplog.text


def test_a_graph_that_is_another_step_is_not_taken(
    few: TensorImages, quick: TrainingSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture, trainer = playback.capture, GraphedTrainer(CELL, quick, few, seed=0)

    def of_other_images(*work: Any) -> Any:
        replay = capture(*work)

        def play() -> None:
            trainer._chosen.copy_(trainer._chosen.flip(0) * 0)
            replay()

        return play

    monkeypatch.setattr(playback, "capture", of_other_images)
    assert not is_played(finish(trainer))
    assert "the graph of a step does something else" in caplog.text


@pytest.mark.parametrize("engine", GRAPHED)
def test_graphs_are_refused_on_a_cpu(engine: str, first_digits: Callable[[int], TensorImages]) -> None:
    digits = settings_for("digits")
    with pytest.raises(InvalidValueError, match="torch-fast for cpu"):
        run_cell(CELL, digits, first_digits(40), seed=0, engine=engine)
    with pytest.raises(InvalidValueError, match="torch-fast for cpu"):
        choose_engine(engine, digits)
    assert choose_engine(engine, digits, "cuda") == engine


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_graph_of_cuda_gives_the_steps(first_digits: Callable[[int], TensorImages], quick: TrainingSettings) -> None:
    images = first_digits(56).to("cuda")
    graphed = finish(GraphedTrainer(CELL, quick, images, seed=0))
    assert is_played(graphed)
    for mine, theirs in zip(values_of(graphed), values_of(finish(Eager(CELL, quick, images, 0))), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3)
