"""Training whose steps are played back as one CUDA graph, so that the host launches one thing a step, not thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...cells import Cell
from ...images import TensorImages
from ...metrics import Attack
from ...settings import TrainingSettings
from ..watch import stop_if_asked
from .evaluation import judged
from .playback import Playback
from .training import Trainer

# Full batches taken one operation at a time before one is captured.
WARM_UP = 3


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


class GraphedJudge:
    """`evaluation.judged` of batches of one size under one attack, as one graph, with the network as it is each time.

    Parameters
    ----------
    attack : Attack or None
    images, labels : Tensor
        A batch of the size.
    """

    def __init__(self, attack: Attack | None, images: torch.Tensor, labels: torch.Tensor) -> None:
        self._attack, self._images, self._labels = attack, torch.empty_like(images), torch.empty_like(labels)
        self._right = torch.zeros_like(labels, dtype=torch.bool)
        self._play = Playback("a batch of the curve", torch.Generator(labels.device), warm_up=1)

    def __call__(
        self,
        network: Callable[[], torch.nn.Module],
        images: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return which images are classified correctly by what `network` returns, which is called in the graph."""

        def work(draws: torch.Generator) -> None:
            self._right.copy_(judged(network(), self._attack, self._images, self._labels, draws))

        stop_if_asked()
        self._images.copy_(images)
        self._labels.copy_(labels)
        self._right.zero_()
        # A graph knows one generator for ever, and every epoch brings another one. Neither line waits for the device.
        self._play.draws.set_state(generator.get_state())
        self._play(work, lambda: [[self._right], []])
        generator.set_state(self._play.draws.get_state())
        return self._right.clone()


class GraphedTrainer(Trainer):
    """A `Trainer` on a CUDA device whose full batches are one graph each; results are the trainer's up to rounding.

    A graph repeats what was launched with the numbers that the host had then. What changes from step to step is
    therefore in tensors that keep their places: which images, learning rate, momentum. The graph is captured once per
    run, after a few steps without it, and its first step is compared with the step itself; where it cannot be captured
    or is another step, a warning says why and the run goes on without it. So does the short batch that ends an epoch.
    Batches of the curve are graphs in the same way, one for clean images and one for the attack; they are kept with the
    memory of their passes as long as the trainer.

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
        self._begin_playing()

    def _begin_playing(self) -> None:
        self._play = Playback("a step", self._draws, WARM_UP)
        self._judges: dict[Attack | None, GraphedJudge] = {}

    def _make_optimiser(self) -> DeviceSGD:
        parameters: list[torch.Tensor] = list(self.network.parameters())
        return DeviceSGD(parameters, lr=self.settings.max_lr, momentum=0.9, weight_decay=self.settings.weight_decay)

    def _descend(self, chosen: torch.Tensor) -> None:
        self._optimiser.take_over()
        if len(chosen) < len(self._chosen):
            super()._descend(chosen)
            return
        self._chosen.copy_(chosen)
        self._play(self._descend_chosen, self._state)

    def _descend_chosen(self, draws: torch.Generator) -> None:
        self._draws = draws
        super()._descend(self._chosen)

    def _judge(
        self,
        network: torch.nn.Module,
        attack: Attack | None,
        images: torch.Tensor,
        labels: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        if len(labels) < min(self.settings.evaluation_batch, len(self._held_out)):
            return judged(network, attack, images, labels, generator)  # the short batch that ends the split
        judge = self._judges.setdefault(attack, GraphedJudge(attack, images, labels))
        return judge(self.measured, images, labels, generator)

    def _state(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return the tensors that a step changes: the parameters, and all others."""
        moments = [self._optimiser.state[each]["momentum_buffer"] for each in self.network.parameters()]
        return list(self.network.parameters()), [*self.network.buffers(), *moments, self._loss, self._correct]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it."""
        super().load_state_dict(state)
        self._begin_playing()  # what there is plays with the tensors that were there before
