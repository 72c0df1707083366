"""Training whose steps are played back as one CUDA graph, so that the host launches one thing a step, not thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...cells import Cell
from ...images import TensorImages
from ...settings import TrainingSettings
from .training import Trainer

# Steps taken one operation at a time before one is captured: libraries choose their algorithms and allocate then.
WARM_UP = 3

Replay = Callable[[], None]
Capture = Callable[[Callable[[], None], torch.Generator], Replay]


def capture(work: Callable[[], None], generator: torch.Generator) -> Replay:
    """Record what a function launches on a CUDA device, without running it; return what runs it.

    Parameters
    ----------
    work : callable
        Reads and writes tensors that keep their places, and nothing of the host.
    generator : torch.Generator
        Of that device; every replay draws from it anew.
    """
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.device(generator.device), torch.cuda.graph(graph):
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
    run, after a few steps without it; the short batch at the end of an epoch goes without it too.

    Parameters
    ----------
    path : str
        ``"fast"`` or ``"fast-bf16"``.
    capture : callable
        Records a function and returns what repeats it; a graph of CUDA by default.

    Other parameters are those of `Trainer`.
    """

    _optimiser: DeviceSGD

    def __init__(
        self,
        cell: Cell,
        settings: TrainingSettings,
        images: TensorImages,
        seed: int,
        *,
        path: str = "fast",
        capture: Capture = capture,
    ) -> None:
        super().__init__(cell, settings, images, seed, path=path)
        self._chosen = torch.zeros(settings.batch_size, dtype=torch.int64, device=images.train.pixels.device)
        self._capture, self._warm_up = capture, WARM_UP
        self._replay: Replay | None = None

    def _make_optimiser(self) -> DeviceSGD:
        parameters: list[torch.Tensor] = list(self.network.parameters())
        return DeviceSGD(parameters, lr=self.settings.max_lr, momentum=0.9, weight_decay=self.settings.weight_decay)

    def _descend(self, chosen: torch.Tensor) -> None:
        self._optimiser.take_over()
        if len(chosen) < len(self._chosen) or self._warm_up:
            self._warm_up = max(0, self._warm_up - 1)
            super()._descend(chosen)
            return
        self._chosen.copy_(chosen)
        if self._replay is None:
            self._replay = self._capture(self._descend_chosen, self._draws)
        self._replay()

    def _descend_chosen(self) -> None:
        super()._descend(self._chosen)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it."""
        super().load_state_dict(state)
        self._replay = None  # it plays with the tensors that were there before
