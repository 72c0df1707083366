"""Measuring a trained network: which images it classifies correctly, as they are and under attack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch

from ...attacks import (
    autoattack,
    check_images,
    check_labels,
    differentiable,
    evaluating,
    is_right,
    labels_in_range,
    one_precision,
    unchecked,
    warn_of_accuracies,
    warn_of_network,
)
from ...checks import integer, kind
from ...errors import UnknownNameError
from ...images import pinned_float32, to_unit
from ...metrics import ATTACKS, PARTS, Attack, Metric
from ..watch import Step, stop_if_asked, tell

LOOKED_AT = 32  # images, for signs that attacks fail

# Takes a network, an attack or None, a batch of images with its labels, and a generator; returns what `judged` does.
Judge: TypeAlias = Callable[[torch.nn.Module, Attack | None, torch.Tensor, torch.Tensor, torch.Generator], torch.Tensor]


def judged(
    network: torch.nn.Module,
    attack: Attack | None,
    images: torch.Tensor,
    labels: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Return which images of a batch are classified correctly, under the attack if there is one."""
    seen = to_unit(images)
    if attack is not None:
        seen = unchecked(attack)(network, seen, labels, attack, generator, len(labels))
    with torch.no_grad():
        return is_right(network(seen), labels)


@pinned_float32()
def evaluate(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    metrics: Iterable[Metric],
    generator: torch.Generator,
    *,
    batch_size: int = 1000,
    on_part: Callable[[Metric, str, torch.Tensor], None] | None = None,
    kept: dict[str, Any] | None = None,
    judge: Judge = judged,
) -> dict[Metric, torch.Tensor]:
    """Return, for every metric, which images are classified correctly.

    Between any two passes through the network the watch is asked whether to stop, see `engines.watch`.
    Under AutoAttack, those are the images that are classified correctly as they are and withstand all of its parts.

    Parameters
    ----------
    network : Module
        Is put into eval mode and left as it was found.
    images : Tensor, shape (n, channels, size, size)
        Floats in [0, 1], or uint8 that become such a batch at a time.
    labels : Tensor of int64, shape (n,)
    metrics : iterable of Metric
        Clean accuracy, or accuracy under an attack that can be run.
    generator : torch.Generator
        For random starts; metrics are measured in the order given.
    batch_size : int
        Images at a time; it has no influence on the attacks but for the order of the draws of PGD.
    on_part : callable, optional
        Called after every part of an AutoAttack with the metric, the part's name and the survivors until then.
    kept : dict, optional
        Filled as the work goes on with all batches and parts that are done. A call with what an interrupted one left
        here, and otherwise the same arguments, goes on from there, with the draws of a call that was not interrupted.
    judge : callable, optional
        Does what `judged` does, to batches of attacks that work on one batch at a time.

    Returns
    -------
    dict of Metric to Tensor of bool, shape (n,)
        An image whose logits are not numbers is not classified correctly.

    Raises
    ------
    InvalidValueError
        If a pixel is not in [0, 1], or a label is no class of the network.

    Warns
    -----
    AttackWarning
        Of signs that an attack does not see what the network does.
    """
    integer(1)("batch_size", batch_size)
    (
        kind(torch.nn.Module)("network", network),
        kind(torch.Tensor)("images", images),
        kind(torch.Tensor)("labels", labels),
    )
    check_images(images, bytes_too=True)
    check_labels(labels, len(images))
    with (
        evaluating(network),
        labels_in_range(network, labels),
        one_precision(network, to_unit(images[:0])),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        metrics = tuple(metrics)
        images, labels = differentiable(images), differentiable(labels)
        alone = any(metric.attack and metric.attack.name != "autoattack" for metric in metrics)
        if alone and len(images):  # AutoAttack looks for itself
            warn_of_network(network, to_unit(images[:LOOKED_AT]), labels[:LOOKED_AT])
        state, hook = _Kept(generator, {} if kept is None else kept), network.register_forward_pre_hook(stop_if_asked)
        try:
            for metric in metrics[len(state.outcomes) :]:
                state.end_metric(_is_correct(network, images, labels, metric, batch_size, on_part, state, judge))
        finally:
            hook.remove()
    correct = dict(zip(metrics, state.outcomes, strict=True))
    warn_of_accuracies({metric: float(mask.double().mean()) for metric, mask in correct.items()})
    return correct


class _Kept:
    """What is measured so far, and the draws that come next: the same after an interruption as without one."""

    def __init__(self, generator: torch.Generator, kept: dict[str, Any]) -> None:
        self.generator, self._kept = generator, kept
        self.outcomes: list[torch.Tensor] = kept.setdefault("outcomes", [])  # of the metrics that are done
        self.parts: list[torch.Tensor] = kept.setdefault("parts", [])  # batches, or survivors, of the next metric
        if "draws" in kept:
            generator.set_state(kept["draws"].cpu())

    def add(self, part: torch.Tensor) -> None:
        self.parts.append(part)
        self._kept["draws"] = self.generator.get_state()

    def end_metric(self, outcome: torch.Tensor) -> None:
        self.outcomes.append(outcome)
        self.parts.clear()
        self._kept["draws"] = self.generator.get_state()


def _is_correct(
    network: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    metric: Metric,
    batch_size: int,
    on_part: Callable[[Metric, str, torch.Tensor], None] | None,
    state: _Kept,
    judge: Judge,
) -> torch.Tensor:
    generator = state.generator
    attack = metric.attack
    if attack is None and metric.name != "clean_acc":
        raise UnknownNameError("metric that can be measured", metric.name, ("clean_acc", "accuracies under an attack"))
    if attack is not None and attack.name == "autoattack":

        def keep(part: str, alive: torch.Tensor) -> None:
            state.add(alive)
            tell(Step(metric.column, len(state.parts), len(PARTS)))
            if on_part is not None:
                on_part(metric, part, alive)

        tell(Step(metric.column, len(state.parts), len(PARTS)))
        options: dict[str, Any] = {"batch_size": batch_size, "keep_images": False, "on_part": keep}
        done = dict(zip(PARTS, state.parts, strict=False))
        return autoattack(network, to_unit(images), labels, attack, generator, done=done, **options).robust
    if attack is not None and ATTACKS[attack.name].pools:
        images = unchecked(attack)(network, to_unit(images), labels, attack, generator, batch_size)
        attack = None
    batches = list(zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True))
    for batch, known in batches[len(state.parts) :]:
        tell(Step(metric.column, len(state.parts), len(batches)))
        state.add(judge(network, attack, batch, known, generator))
    return torch.cat(state.parts)
