"""The kernel layer by layer, in torch: one layer's gradients, of all samples, are contracted and dropped.

Where samples do not see each other (batch normalisation by constants), one backward pass of the sum over samples
carries the slope of every sample's scalar with respect to every layer's output, and a layer's input and that slope
are all that its gradients need.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from ..errors import InvalidValueError

Rows = Callable[[torch.Tensor], None]


def contract_layers(
    twin: nn.Module, images: torch.Tensor, cotangents: torch.Tensor, *, half: bool = False
) -> torch.Tensor:
    """Return the scalar products of gradients, shape (m, m), float64.

    Parameters
    ----------
    twin : Module
        As `modes.prepare` returns it, without coupled batch normalisation.
    images : Tensor, shape (m, channels, size, size)
    cotangents : Tensor, shape (m, classes)
        Row r is the gradient of ``logits(images[r]) @ cotangents[r]`` with respect to all parameters.
    half : bool
        Whether the gradients of weights are formed in bfloat16; their products are formed in the network's arithmetic.
    """
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64, device=images.device)

    def add(rows: torch.Tensor) -> None:
        rows = rows.to(images.dtype)
        kernel.add_(rows @ rows.T)

    logits = _watched_forward(twin, images, add, half)
    torch.autograd.backward(logits, cotangents.to(logits))
    return kernel


def _watched_forward(twin: nn.Module, images: torch.Tensor, add: Rows, half: bool) -> torch.Tensor:
    """Return logits whose backward pass hands the gradients of each layer to `add`."""
    seen: set[nn.Module] = set()

    def watch(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
        if module in seen:
            raise InvalidValueError("network", type(module).__name__, "layers that are used once each")
        seen.add(module)
        source = inputs[0].detach()
        first = not output.requires_grad
        if first:  # nothing before it has parameters: backward passes end here
            output.requires_grad_()
        output.register_hook(  # type: ignore[no-untyped-call]
            lambda slope: add(gradient_rows(module, source, slope, half))
        )
        return output.clone() if first else None  # what comes next may write in place, which a leaf forbids

    hooks = [
        module.register_forward_hook(watch)
        for module in twin.modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    try:
        with torch.enable_grad():
            logits: torch.Tensor = twin(images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits


def gradient_rows(module: nn.Module, source: torch.Tensor, slope: torch.Tensor, half: bool = False) -> torch.Tensor:
    """Return the gradients of a layer's parameters, one row per sample, in the order of its parameters.

    Parameters
    ----------
    module : Conv2d, Linear or BatchNorm2d
        Batch normalisation by its running statistics.
    source, slope : Tensor, first dimension m
        Its input, and the gradient with respect to its output.
    half : bool
        Whether convolutions work in bfloat16.
    """
    if isinstance(module, nn.Conv2d):
        weights = _convolution_rows(module, *((source.bfloat16(), slope.bfloat16()) if half else (source, slope)))
        return weights if module.bias is None else torch.cat([weights.to(slope), slope.sum((2, 3))], 1)
    if isinstance(module, nn.Linear):
        outer = (slope[:, :, None] * source[:, None, :]).flatten(1)
        return outer if module.bias is None else torch.cat([outer, slope], 1)
    assert isinstance(module, nn.BatchNorm2d)
    assert module.running_mean is not None
    assert module.running_var is not None
    inverse = (module.running_var + module.eps).rsqrt()
    standard = (source - module.running_mean[:, None, None]) * inverse[:, None, None]
    return torch.cat([(slope * standard).sum((2, 3)), slope.sum((2, 3))], 1)


def _convolution_rows(module: nn.Conv2d, source: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Return the gradients of the weights: those of a grouped convolution that has every sample as a group."""
    samples, outs, ins = len(source), module.out_channels, module.in_channels
    slopes = slope.reshape(1, samples * outs, *slope.shape[2:])
    sources = source.reshape(1, samples * ins, *source.shape[2:])
    weight = source.new_empty((samples * outs, ins, *module.kernel_size))  # only its shape counts
    geometry = (module.stride, module.padding, module.dilation, False, [0, 0], samples)
    wanted = [False, True, False]  # of the gradients of input, weight and bias
    _, rows, _ = torch.ops.aten.convolution_backward(slopes, sources, weight, None, *geometry, wanted)
    return rows.reshape(samples, -1)  # type: ignore[no-any-return]
