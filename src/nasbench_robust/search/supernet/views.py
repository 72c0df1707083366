"""A supernet as the outer objectives see it: images in, logits out, differentiable in the architecture parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call


@dataclass(frozen=True)
class Batch:
    """Images of one step.

    Attributes
    ----------
    images : Tensor, shape (n, channels, size, size)
        Augmented pixels in [0, 1].
    labels : Tensor of int64, shape (n,)
    perturbed : Tensor of the shape of `images`
        With noise or attacked, as the method asks; `images` itself where it asks for neither.
    eps : float
        Largest change of a pixel that an attack, noise or a bound allows.
    draws : torch.Generator
        For what a method draws itself.
    """

    images: torch.Tensor
    labels: torch.Tensor
    perturbed: torch.Tensor
    eps: float
    draws: torch.Generator


@dataclass(frozen=True)
class Model:
    """A supernet at given weights of its operations, and perhaps at other weights of its layers.

    Attributes
    ----------
    supernet : Module
        With `alpha`, `mixture()`, `weights()` and ``forward(images, mixture)``.
    mixture : Tensor of the shape of `alpha`
        Weights of the operations.
    choice : nested list of int, optional
        The operations that are computed, where it is one of every edge.
    weights : mapping of str to Tensor, optional
        Replace those of the supernet, which they may depend on.
    """

    supernet: nn.Module
    mixture: torch.Tensor
    choice: Sequence[Sequence[int]] | None = None
    weights: Mapping[str, torch.Tensor] | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        arguments = (images, self.mixture) if self.choice is None else (images, self.mixture, self.choice)
        if self.weights is None:
            logits: torch.Tensor = self.supernet(*arguments)
        else:
            logits = functional_call(self.supernet, dict(self.weights), arguments)
        return logits


def look_ahead(model: Model, loss: torch.Tensor, optimiser: torch.optim.SGD) -> Model:
    """Return the model after one step of the weights on `loss`, differentiable in the architecture parameters.

    The step is that of the optimiser, with its learning rate, momentum and weight decay, w' = w - lr (m v + g + d w).
    The gradient g keeps its dependence on the architecture, so that what is computed with w' has the exact second-order
    gradient; DARTS takes a finite difference instead.

    Parameters
    ----------
    model : Model
    loss : Tensor
        Of `model`, on a batch of the weights' half.
    optimiser : SGD
        Of the supernet's weights, one group.
    """
    names, values = zip(*model.supernet.weights(), strict=True)  # type: ignore[operator]
    gradients = torch.autograd.grad(loss, values, create_graph=True)
    group = optimiser.param_groups[0]
    ahead = {}
    for name, value, gradient in zip(names, values, gradients, strict=True):
        step = gradient + group["weight_decay"] * value.detach()
        velocity = optimiser.state.get(value, {}).get("momentum_buffer")
        if velocity is not None:
            step = step + group["momentum"] * velocity
        ahead[name] = value.detach() - group["lr"] * step
    return Model(model.supernet, model.mixture, model.choice, ahead)


def sample_operations(
    alpha: torch.Tensor, temperature: float, generator: torch.Generator
) -> tuple[torch.Tensor, list[list[int]]]:
    """Draw one operation of every edge with the probabilities softmax(alpha) (Dong and Yang, CVPR 2019).

    Returns
    -------
    Tensor of the shape of `alpha`
        One at the operations drawn, zero elsewhere; its gradient is that of the softmax of (log-probabilities + Gumbel
        noise) / temperature. As only the drawn operations are computed, only their entries pass a gradient on.
    list of lists of int
        The operations drawn.
    """
    uniform = torch.rand(alpha.shape, generator=generator, device=generator.device).to(alpha)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
    soft = F.softmax((F.log_softmax(alpha, dim=-1) + gumbel) / temperature, dim=-1)
    drawn = soft.argmax(dim=-1)
    hard = F.one_hot(drawn, alpha.shape[-1]).to(alpha)
    return hard + soft - soft.detach(), drawn.tolist()
