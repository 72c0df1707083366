"""A network in train mode, for the update: the statistics of the batch, gradients of the network's own parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..published import Network
from .shared import SharedNetwork


class BatchNetwork(SharedNetwork):
    """A `Network` in train mode: normalises by the batch, and updates the network's running statistics.

    Logits, gradients of parameters and running statistics are the network's up to rounding, with one exception: of
    edges of the cell that cannot influence its output, the running statistics stay as they are. The gradients of such
    edges are zero in the network; call `clear_idle_gradients` and they are so here, and weight decay finds them.

    Parameters
    ----------
    network : Network
        On its device; its mode is of no importance and left alone.
    dtype : torch.dtype, optional
        Of features and of the weights of convolutions while they are used, for example ``torch.bfloat16``; the
        network's by default. Parameters, their gradients and statistics keep the network's.
    """

    def __init__(self, network: Network, dtype: torch.dtype | None = None) -> None:
        super().__init__(network, dtype)
        convolutions = [convolution for group in self._groups for convolution in group.convolutions]
        modules = (*convolutions, *self._norms, *self._linear)
        used = {id(parameter) for module in modules for parameter in module.parameters()}
        self._idle = [(each, torch.zeros_like(each)) for each in network.parameters() if id(each) not in used]
        self._counters = [buffer for name, buffer in network.named_buffers() if name.endswith("num_batches_tracked")]

    def clear_idle_gradients(self) -> None:
        """Set the gradients of parameters that cannot influence the output to zero, where there may be none."""
        for parameter, zero in self._idle:
            parameter.grad = zero

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size)."""
        weights = [weight.to(self._dtype, memory_format=torch.channels_last) for weight in self._weights()]
        scales, shifts = self._by_group(self._of_norms("weight")), self._by_group(self._of_norms("bias"))
        mean, variance = self._of_norms("running_mean"), self._of_norms("running_var")
        means, variances = self._by_group(mean), self._by_group(variance)
        last = self._norms[-1]
        momentum = last.momentum
        assert momentum is not None  # None would be a plain average over batches; the network's is exponential

        def normalise(number: int, outputs: torch.Tensor) -> torch.Tensor:
            facts = means[number], variances[number], scales[number], shifts[number]
            return F.batch_norm(outputs, *facts, True, momentum, last.eps)

        def apply(number: int, features: torch.Tensor) -> torch.Tensor:
            outputs = self._groups[number].convolve(features, weights[number])
            return normalise(number, outputs) if self._groups[number].norms else outputs

        active = F.relu(normalise(-1, self._features(images, apply)))
        (linear,) = self._linear
        logits: torch.Tensor = linear(active.mean(dim=(2, 3)))
        self._keep(mean, variance)
        return logits

    @torch.no_grad()
    def _keep(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Hand running statistics back to the modules that they were copied from."""
        sizes = [norm.num_features for norm in self._norms]
        for name, values in (("running_mean", mean), ("running_var", variance)):
            torch._foreach_copy_([getattr(norm, name) for norm in self._norms], torch.split(values, sizes))
        torch._foreach_add_(self._counters, 1)
