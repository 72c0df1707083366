"""What batch normalisation is for a kernel: three functions of the same weights, and three different kernels."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import InvalidValueError, UnknownNameError
from ..networks import duplicate
from .names import BN_MODES, PRECISIONS

LAYERS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


def prepare(network: nn.Module, images: torch.Tensor, bn: str, dtype: torch.dtype) -> nn.Module:
    """Return a copy of the network that computes in `dtype`, with its batch normalisations in a mode.

    Parameters
    ----------
    network : Module
        Its parameters belong to layers of `LAYERS`, each used once; it is left as it is.
    images : Tensor, shape (n, channels, size, size)
        The batch, whose statistics count in the modes that take the batch's.
    bn : str
        ``"eval"``: running statistics. ``"batch_frozen"``: the statistics of `images`, layer by layer, as constants:
        each sample is a function of its own. ``"batch_coupled"``: train mode, where every sample moves the statistics
        of all others, and gradients flow through them.
    dtype : torch.dtype
        Of parameters, buffers and images.

    Raises
    ------
    UnknownNameError
        If there is no such mode.
    InvalidValueError
        If a parameter belongs to another kind of layer, or running statistics are wanted and there are none.
    """
    if bn not in BN_MODES:
        raise UnknownNameError("bn mode", bn, BN_MODES)
    check_layers(network)
    if bn == "eval" and any(module.running_mean is None for module in _norms(network)):
        raise InvalidValueError("bn", bn, "'batch_frozen': this network keeps no running statistics", "batch_frozen")
    twin = duplicate(network, dtype).eval().requires_grad_(False)
    if bn == "batch_frozen":
        _freeze(twin, images.to(dtype))
    if bn == "batch_coupled":
        for module in _norms(twin):
            module.train()
            module.track_running_stats = False  # they stay what they are
    return twin


def dtype_of(precision: str) -> torch.dtype:
    """Return the arithmetic of the network for one of `names.PRECISIONS`."""
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    return torch.float64 if precision == "fp64" else torch.float32


def check_layers(network: nn.Module) -> None:
    """Raise `InvalidValueError` where a parameter belongs to a layer whose gradient is not known here."""
    names = ", ".join(kind.__name__ for kind in LAYERS)
    for name, module in network.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            if not isinstance(module, LAYERS):
                raise InvalidValueError("layer", f"{name} ({type(module).__name__})", f"one of {names}")
            if isinstance(module, nn.Conv2d) and (module.groups, module.padding_mode) != (1, "zeros"):
                raise InvalidValueError("layer", f"{name} ({module})", "one group, padded with zeros")


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def _freeze(network: nn.Module, images: torch.Tensor) -> None:
    """Write the batch's statistics over the running ones, each layer seeing what those before it made of the batch."""

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), unbiased=False)
        module.running_mean, module.running_var = mean, variance
        module.track_running_stats = True

    hooks = [module.register_forward_pre_hook(keep) for module in _norms(network)]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
