"""Scores by name, of one network on one batch; a score that does not exist is recorded with the reason."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import InvalidValueError, UncomputableScoreError, UnknownNameError
from ..networks import Network
from .catalogue import PROXIES, Proxy


@dataclass(frozen=True)
class Score:
    """The value of one proxy, or why there is none.

    Attributes
    ----------
    name : str
        Key of `PROXIES`.
    images : str
        What it looked at: ``"none"``, ``"clean"`` or ``"adversarial"``.
    value : float or None
        Finite; None where the score cannot be computed.
    failure : str or None
        Why it cannot.
    seconds : float
        Time that it took.
    """

    name: str
    images: str
    value: float | None
    failure: str | None
    seconds: float


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
    return _value(network, images, labels, _proxy(name), generator)


def scores(
    network: Network,
    images: torch.Tensor,
    labels: torch.Tensor,
    names: Sequence[str] | None = None,
    *,
    adversarial: torch.Tensor | None = None,
    generator: torch.Generator,
) -> list[Score]:
    """Return the values of several proxies; those that cannot be computed are recorded and do not stop the others.

    Parameters
    ----------
    network, images, labels, generator
        As for `score`.
    names : sequence of str or None
        Keys of `PROXIES`; None for all of them.
    adversarial : Tensor of the shape of `images` or None
        Adversarial images; a proxy whose entry in `PROXIES` says so is computed on them as well.

    Returns
    -------
    list of Score
        In the order of the names, clean before adversarial.

    Raises
    ------
    UnknownNameError, InvalidValueError
        As for `score`; also where `names` is a string.
    """
    if isinstance(names, str):
        raise InvalidValueError("names", names, "a sequence of names", f"[{names!r}]")
    proxies = [_proxy(name) for name in (PROXIES if names is None else names)]
    _check_batch(network, images, labels, generator)
    if adversarial is not None:
        _check_images("adversarial", adversarial, tuple(images.shape))
    found = []
    for proxy in proxies:
        found.append(_record(network, images, labels, proxy, generator, "clean" if proxy.uses_images else "none"))
        if adversarial is not None and proxy.adversarial:
            found.append(_record(network, adversarial, labels, proxy, generator, "adversarial"))
    return found


def _record(
    network: Network, images: torch.Tensor, labels: torch.Tensor, proxy: Proxy, generator: torch.Generator, kind: str
) -> Score:
    start = time.perf_counter()
    value, failure = None, None
    try:
        value = _value(network, images, labels, proxy, generator)
    except UncomputableScoreError as error:
        failure = error.reason
    return Score(proxy.name, kind, value, failure, time.perf_counter() - start)


@torch.enable_grad()
def _value(
    network: Network, images: torch.Tensor, labels: torch.Tensor, proxy: Proxy, generator: torch.Generator
) -> float:
    if proxy.needs_path:
        if not network.cell.connected:
            raise UncomputableScoreError(proxy.name, "the output does not depend on the input")
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            raise UncomputableScoreError(proxy.name, "a parameter of the network is not finite")
    weight = network.classifier.weight
    arguments: list[Any] = [images.detach().to(weight)] if proxy.uses_images else []
    arguments += [labels.to(weight.device)] if proxy.uses_labels else []
    arguments += [generator] if proxy.draws else []
    value = proxy.function(network, *arguments)
    if not math.isfinite(value):
        raise UncomputableScoreError(proxy.name, f"the value is {value}")
    return value


def _proxy(name: object) -> Proxy:
    if not isinstance(name, str) or name not in PROXIES:
        raise UnknownNameError("proxy", name, tuple(PROXIES))
    return PROXIES[name]


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
    if not 0 <= int(labels.min()) <= int(labels.max()) < skeleton.classes:
        raise InvalidValueError("labels", labels, f"classes from 0 to {skeleton.classes - 1}")


def _check_images(name: str, images: object, shape: tuple[int, ...]) -> None:
    if not isinstance(images, torch.Tensor) or not images.is_floating_point() or tuple(images.shape) != shape:
        given = tuple(images.shape) if isinstance(images, torch.Tensor) else images
        raise InvalidValueError(name, given, f"a tensor of floats of shape {shape}")
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):  # NaN fails too
        span = f"{float(images.min()):g}..{float(images.max()):g}"
        raise InvalidValueError(f"the range of {name}", span, "pixels in [0, 1], before any normalisation")
