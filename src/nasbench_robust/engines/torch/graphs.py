"""Training whose steps are played back as one CUDA graph, so that the host launches one thing a step, not thousands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from ...cells import Cell
from ...images import TensorImages
from ...settings import TrainingSettings
from .training import Trainer

log = logging.getLogger(__name__)

# Full batches taken one operation at a time before one is captured: libraries choose algorithms and allocate then.
WARM_UP = 3
# How far the step of a graph may lie from the same step without it, in lengths of that step. Rounding is far below, and
# other draws, images or learning rates are far above.
CLOSE = 0.1

Replay = Callable[[], None]


def capture(work: Callable[[], None], generator: torch.Generator, stream: torch.cuda.Stream) -> Replay:
    """Record what a function launches on a CUDA device, without running it; return what runs it.

    Parameters
    ----------
    work : callable
        Reads and writes tensors that keep their places, and nothing of the host.
    generator : torch.Generator
        Of that device; every replay draws from it anew.
    stream : torch.cuda.Stream
        Of that device, on which the function ran before.
    """
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    # The stream is entered here too: torch's own context does not leave it where a capture fails.
    with torch.cuda.device(generator.device), torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
        work()
    replay: Replay = graph.replay
    return replay


class DeviceSGD(torch.optim.SGD):
    """`torch.optim.SGD` whose learning rate and momentum are read from tensors, so that a graph can repeat its step.

    `take_over` hands them those of the parameter group, where schedules write them; call it before every step.
    """

    def __init__(self, parameters: list[torch.Tensor], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
        self._rate, self._momentum = (torch.zeros((), device=parameters[0].device) for _ in range(2))
        for parameter in parameters:
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def take_over(self) -> None:
        """Write what the schedule says into the tensors."""
        (group,) = self.param_groups
        self._rate.fill_(group["lr"])
        self._momentum.fill_(group["momentum"])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Move the parameters, all of which must have a gradient; there is no closure."""
        (group,) = self.param_groups
        parameters = group["params"]
        buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        torch._foreach_mul_(buffers, self._momentum)
        torch._foreach_add_(buffers, torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        torch._foreach_add_(parameters, torch._foreach_mul(buffers, -self._rate))


class GraphedTrainer(Trainer):
    """A `Trainer` on a CUDA device whose full batches are one graph each; results are the trainer's up to rounding.

    A graph repeats what was launched with the numbers that the host had then. What changes from step to step is
    therefore in tensors that keep their places: which images, learning rate, momentum. The graph is captured once per
    run, after a few steps without it, and its first step is compared with the step itself; where it cannot be captured
    or is another step, a warning says why and the run goes on without it. So does the short batch that ends an epoch.

    Parameters
    ----------
    path : str
        ``"fast"`` or ``"fast-bf16"``.

    Other parameters are those of `Trainer`.
    """

    _optimiser: DeviceSGD

    def __init__(
        self, cell: Cell, settings: TrainingSettings, images: TensorImages, seed: int, *, path: str = "fast"
    ) -> None:
        super().__init__(cell, settings, images, seed, path=path)
        self._chosen = torch.zeros(settings.batch_size, dtype=torch.int64, device=images.train.pixels.device)
        self._warm_up = WARM_UP
        self._take: Replay | None = None  # what takes a step on the chosen images, once that is decided

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        """The stream of the capture and of the steps before it."""
        return torch.cuda.Stream(self._chosen.device)  # type: ignore[no-untyped-call]

    def _make_optimiser(self) -> DeviceSGD:
        parameters: list[torch.Tensor] = list(self.network.parameters())
        return DeviceSGD(parameters, lr=self.settings.max_lr, momentum=0.9, weight_decay=self.settings.weight_decay)

    def _descend(self, chosen: torch.Tensor) -> None:
        self._optimiser.take_over()
        if len(chosen) < len(self._chosen):
            super()._descend(chosen)
            return
        self._chosen.copy_(chosen)
        if self._take is not None:
            self._take()
        elif self._warm_up:
            self._warm_up -= 1
            self._descend_aside()
        else:
            self._take = self._first_of_graph()

    def _descend_chosen(self) -> None:
        super()._descend(self._chosen)

    def _descend_aside(self) -> None:
        """Take a step on the stream of the capture, as CUDA asks for."""
        here = torch.cuda.current_stream(self._chosen.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            self._descend_chosen()
        here.wait_stream(self._stream)

    def _first_of_graph(self) -> Replay:
        """Take a step with the graph and without, and return what is to take those that follow."""
        draws = self._draws.get_state()
        try:
            replay = capture(self._descend_chosen, self._draws, self._stream)
        except Exception as error:  # whatever a driver, torch or an attack says
            log.warning("no graph of a step could be captured (%s): the run goes on without", _first(error))
            self._draws = torch.Generator(self._chosen.device)  # the other one may still wait for the capture's end
            self._draws.set_state(draws)
            self._descend_chosen()
            return self._descend_chosen
        before = self._copies()
        self._descend_chosen()
        after, drawn = self._copies(), self._draws.get_state()
        self._put_back(before, draws)
        replay()
        step, apart = (_distance(copies[0], after[0]) for copies in (before, self._copies()))
        if apart <= CLOSE * step and torch.equal(self._draws.get_state(), drawn):
            return replay
        log.warning("the graph of a step is another step (%.1e off in %.1e): the run goes on without", apart, step)
        self._put_back(after, drawn)
        return self._descend_chosen

    def _state(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the tensors that a step changes: the parameters, and all others."""
        moments = [self._optimiser.state[each]["momentum_buffer"] for each in self.network.parameters()]
        return list(self.network.parameters()), [*self.network.buffers(), *moments, self._loss, self._correct]

    def _copies(self) -> list[list[torch.Tensor]]:
        return [[tensor.detach().clone() for tensor in tensors] for tensors in self._state()]

    @torch.no_grad()
    def _put_back(self, copies: list[list[torch.Tensor]], draws: torch.Tensor) -> None:
        for tensors, values in zip(self._state(), copies, strict=True):
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        self._draws.set_state(draws)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it."""
        super().load_state_dict(state)
        self._take = None  # it plays with the tensors that were there before


def _distance(tensors: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    return float(torch.cat([(one - other).flatten() for one, other in zip(tensors, others, strict=True)]).norm())


def _first(error: BaseException) -> BaseException:
    """Return the error that all others followed from: the end of a broken capture is one too."""
    while error.__context__ is not None:
        error = error.__context__
    return error
