"""Scores by name, of one network on one batch; a score that does not exist is recorded with the reason."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch

from .._door import resolve
from ..attacks import check_images, check_labels
from ..errors import InvalidValueError, UncomputableScoreError
from ..images import pinned_float32
from ..networks import Network
from ..ntk import Scored, Value
from .catalogue import PROXIES, Proxy, find_proxy


def score(network: Network, images: torch.Tensor, labels: torch.Tensor, name: str, generator: torch.Generator) -> float:
    """Return the value of one proxy.

    Parameters
    ----------
    network : Network
        With its initial weights; comes back exactly as it was.
    images : Tensor, shape (n, channels, size, size)
        Pixels in [0, 1], clean or adversarial, n at least 2.
    labels : Tensor of int64, shape (n,)
    name : str
        Key of `PROXIES`.
    generator : torch.Generator
        For those that draw; equal states give equal values, bit for bit, on one machine.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    UnknownNameError
        If there is no such proxy.
    InvalidValueError
        If an argument is not of the kind above.
    UncomputableScoreError
        If the score does not exist: the output does not depend on the input, a kernel is singular, a value not finite.
    """
    _check_batch(network, images, labels, generator)
    value = _value(_made(network, images, labels, find_proxy(name), generator), name)
    if value.value is None:
        raise UncomputableScoreError(name, str(value.failure))
    return value.value


def scores(
    network: Network,
    images: torch.Tensor,
    labels: torch.Tensor,
    names: Sequence[str] | None = None,
    *,
    adversarial: torch.Tensor | None = None,
    attack: str = "adversarial",
    generator: torch.Generator,
) -> list[Scored]:
    """Return the values of several proxies; those that cannot be computed are recorded and do not stop the others.

    Parameters
    ----------
    network, images, labels
        As for `score`.
    names : sequence of str or None
        Keys of `PROXIES`; None for all of them.
    adversarial : Tensor of the shape of `images` or None
        Adversarial images; a proxy whose entry in `PROXIES` says so is computed on them as well.
    attack : str
        What the rows of adversarial images call the attack, ``"pgd@0.1"`` for example.
    generator : torch.Generator
        For those that draw. Each of them draws from a copy of it, so that no value depends on what else is asked for;
        the generator itself is left as it was.

    Returns
    -------
    list of Scored
        In the order of the names, clean before adversarial; `kernel` is None.

    Raises
    ------
    UnknownNameError, InvalidValueError
        As for `score`; also where `names` is a string.
    """
    if isinstance(names, str):
        raise InvalidValueError("names", names, "a sequence of names", f"[{names!r}]")
    proxies = [find_proxy(name) for name in (PROXIES if names is None else names)]
    _check_batch(network, images, labels, generator)
    batches: list[tuple[str | None, torch.Tensor]] = [(None, images)]
    if adversarial is not None:
        _check_images("adversarial", adversarial, tuple(images.shape))
        batches.append((attack, adversarial))
    rows = []
    shared: dict[tuple[Any, str | None], tuple[Any, float]] = {}  # what serves several proxies, and its seconds
    for proxy in proxies:
        for label, batch in batches[: 1 + proxy.adversarial]:
            start = time.perf_counter()
            if (proxy.function, label) in shared:
                made, seconds = shared[proxy.function, label]
            else:
                made = _made(network, batch, labels, proxy, generator.clone_state())
                seconds = time.perf_counter() - start
            if isinstance(made, dict):
                shared[proxy.function, label] = made, seconds
            rows.append(Scored.of(None, label, proxy.name, _value(made, proxy.name), seconds))
    return rows


@pinned_float32()
@torch.enable_grad()
def _made(
    network: Network, images: torch.Tensor, labels: torch.Tensor, proxy: Proxy, generator: torch.Generator
) -> Any:
    """Return what the function of a proxy returns, or the reason for which it is not called."""
    if proxy.needs_path:
        if not network.cell.connected:
            return Value.failed("the output does not depend on the input")
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            return Value.failed("a parameter of the network is not finite")
    weight = network.classifier.weight
    arguments: list[Any] = [images.detach().to(weight)] if proxy.uses_images else []
    arguments += [labels.to(weight.device)] if proxy.uses_labels else []
    arguments += [generator] if proxy.draws else []
    return resolve(proxy.function)(network, *arguments)


def _value(made: Any, name: str) -> Value:
    number = made[name] if isinstance(made, dict) else made
    if isinstance(number, Value):
        return number
    number = float(number)
    return Value(number) if math.isfinite(number) else Value.failed(f"the value is {number}")


def _check_batch(network: object, images: object, labels: object, generator: object) -> None:
    if not isinstance(network, Network):
        raise InvalidValueError("network", network, "a nasbench_robust.networks.Network")
    if not isinstance(generator, torch.Generator):
        raise InvalidValueError("generator", generator, "a torch.Generator", "torch.Generator().manual_seed(seed)")
    skeleton = network.skeleton
    count = len(images) if isinstance(images, torch.Tensor) and images.dim() else 0
    _check_images("images", images, (count, skeleton.input_channels, skeleton.image_size, skeleton.image_size))
    if count < 2:
        raise InvalidValueError("the number of images", count, "at least 2", "2")
    if not isinstance(labels, torch.Tensor) or labels.dtype != torch.int64 or labels.shape != (count,):
        raise InvalidValueError("labels", labels, f"a tensor of {count} int64, one label per image")
    check_labels(labels, count, skeleton.classes)


def _check_images(name: str, images: object, shape: tuple[int, ...]) -> None:
    if not isinstance(images, torch.Tensor) or not images.is_floating_point() or tuple(images.shape) != shape:
        what = tuple(images.shape) if isinstance(images, torch.Tensor) else images
        raise InvalidValueError(name, what, f"a tensor of floats of shape {shape}")
    check_images(images, name)
