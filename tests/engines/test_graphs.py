"""Steps that are captured and played back: on a CPU by recording every operation, on a GPU by CUDA itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import GraphedTrainer, Trainer
from nasbench_robust.engines.torch.graphs import DeviceSGD
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.images import TensorImages
from nasbench_robust.runs import choose_engine, run_cell
from nasbench_robust.settings import settings_for

CELLS = [Cell.from_index(index) for index in (9930, 1462, 7602, 14)]
QUICK = replace(
    settings_for("digits"),
    epochs=3,
    batch_size=32,
    attack=metrics.pgd(0.1, steps=2),
    evaluation=(metrics.fgsm(0.1),),
    flip=True,
)


class Recorder(TorchDispatchMode):
    """Does on a CPU what a graph does: repeats operations with the tensors and numbers that they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, ...]] = []
        self.played = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def play(self) -> None:
        self.played += 1
        if self.played == 1:
            return  # unlike a graph, it did everything when it was recorded
        for func, args, kwargs, kept in self.operations:
            given = {each.untyped_storage().data_ptr() for each in tensors((args, kwargs))}
            for old, new in zip(tensors(kept), tensors(func(*args, **kwargs)), strict=True):
                if new.untyped_storage().data_ptr() not in given:  # neither a view nor changed in place
                    old.detach().copy_(new)


def tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def record(work: Callable[[], None], _: torch.Generator) -> Callable[[], None]:
    with Recorder() as recorder:
        work()
    return recorder.play


def finish(trainer: Trainer) -> Trainer:
    while not trainer.finished:
        trainer.step()
    return trainer


def assert_same(one: Trainer, other: Trainer) -> None:
    for mine, theirs in zip(values_of(one), values_of(other), strict=True):
        assert torch.equal(mine, theirs)
    assert one.curve == other.curve


def values_of(trainer: Trainer) -> list[torch.Tensor]:
    found = [*trainer.network.parameters(), *trainer.network.buffers(), trainer._draws.get_state()]
    return found + [state["momentum_buffer"] for state in trainer._optimiser.state.values()]


class Eager(GraphedTrainer):
    """The same steps, never played back."""

    def _descend(self, chosen: torch.Tensor) -> None:
        self._warm_up = 1
        super()._descend(chosen)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.index)
@pytest.mark.parametrize("path", ["fast", "fast-bf16"])
def test_steps_played_back_are_the_steps(cell: Cell, path: str, few: TensorImages) -> None:
    played = finish(GraphedTrainer(cell, QUICK, few, seed=0, path=path, capture=record))
    assert isinstance(played._replay.__self__, Recorder)
    assert played._replay.__self__.played == 3 * 6 - 3  # all full batches after the warm-up
    assert_same(played, finish(Eager(cell, QUICK, few, seed=0, path=path)))


def test_steps_are_those_of_the_trainer(few: TensorImages) -> None:
    graphed, plain = Eager(CELLS[0], QUICK, few, seed=0), Trainer(CELLS[0], QUICK, few, seed=0, path="fast")
    for _ in range(3):
        graphed.step()
        plain.step()
    for mine, theirs in zip(values_of(graphed), values_of(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_number_of_the_host_would_be_noticed(few: TensorImages) -> None:
    class HostSGD(DeviceSGD):
        step = torch.optim.SGD.step

    class Host(GraphedTrainer):
        def _make_optimiser(self) -> DeviceSGD:
            return HostSGD(list(self.network.parameters()), lr=0.1, momentum=0.9, weight_decay=5e-4)

    class HostEager(Host, Eager):
        pass

    played = finish(Host(CELLS[0], QUICK, few, seed=0, capture=record))
    eager = finish(HostEager(CELLS[0], QUICK, few, seed=0))
    assert not all(map(torch.equal, played.network.parameters(), eager.network.parameters()))


def test_an_interrupted_run_is_captured_again_and_goes_on(few: TensorImages) -> None:
    first = GraphedTrainer(CELLS[0], QUICK, few, seed=0, capture=record)
    for _ in range(9):
        first.step()
    other = GraphedTrainer(CELLS[0], QUICK, few, seed=0, capture=record)
    other.load_state_dict(copy.deepcopy(first.state_dict()))
    assert_same(finish(other), finish(first))


@pytest.mark.parametrize("engine", ["torch-fast-graph", "torch-fast-bf16-graph"])
def test_graphs_are_refused_on_a_cpu(engine: str, few: TensorImages) -> None:
    with pytest.raises(InvalidValueError, match="torch-fast for cpu"):
        run_cell(CELLS[0], QUICK, few, seed=0, engine=engine)
    with pytest.raises(InvalidValueError, match="torch-fast for cpu"):
        choose_engine(engine, QUICK)
    assert choose_engine(engine, QUICK, "cuda") == engine


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_graph_of_cuda_gives_the_steps(few: TensorImages) -> None:
    images = few.to("cuda")
    graphed = finish(GraphedTrainer(CELLS[0], QUICK, images, seed=0))
    eager = finish(Eager(CELLS[0], QUICK, images, seed=0))
    for mine, theirs in zip(graphed.network.parameters(), eager.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3)


@pytest.fixture(scope="module")
def few(first_digits: Callable[[int], TensorImages]) -> TensorImages:
    return first_digits(200)
