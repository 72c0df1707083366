"""All training-free scores of one cell: kernels, kernel regression and proxies, each a row with a value or a reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from ..cells import Cell
from ..engines import Draws
from ..engines.torch import make_generator
from ..errors import InvalidValueError
from ..images import TensorImages, to_unit
from ..metrics import Attack
from ..networks import Network, network_for
from ..ntk import SCORES, Kernels, kernels, ntk, score_kernel
from ..ntk._kernels import attacked
from ..ntk.gram import choose_engine
from ..ntk.modes import prepare
from ..ntk.predictors import weyl_bound
from ..ntk.regression import HeldOut, Split, held_out_accuracy
from ..ntk.values import Value
from ..proxies import scores
from .settings import ScoreSettings

SYMMETRIC = ("clean", "robust", "robust_twice", "combined", "combined_robust")


@dataclass(frozen=True)
class Scored:
    """One score.

    Attributes
    ----------
    kernel : str or None
        Which kernel it is of, an attribute of `ntk.Kernels`; ``"regression"``; None for a proxy.
    attack : str or None
        The attack that the kernel or the images depend on, ``"pgd@8/255"``; None for clean images.
    score : str
        Name of the score.
    value : float or None
        None where it cannot be computed.
    failure : str or None
        Why it cannot.
    seconds : float
        Time for everything that this score needs, attacks included; scores of one kernel share it.
    """

    kernel: str | None
    attack: str | None
    score: str
    value: float | None
    failure: str | None
    seconds: float

    def __post_init__(self) -> None:
        Value(self.value, self.failure)  # either of the two, and the value finite


def chosen_images(settings: ScoreSettings, images: TensorImages) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images that the settings choose, pixels in [0, 1], and their classes."""
    available = len(images.train.labels)
    if settings.images > available:
        raise InvalidValueError("images", settings.images, f"at most the {available} training images", str(available))
    chosen = torch.from_numpy(Draws(settings.draw, "scores").permutation(available)[: settings.images])
    return to_unit(images.train.pixels[chosen]), images.train.labels[chosen]


def score_cell(
    cell: Cell, settings: ScoreSettings, images: torch.Tensor, labels: torch.Tensor, seed: int, engine: str = "auto"
) -> list[Scored]:
    """Return all scores of a cell that the settings name.

    Parameters
    ----------
    cell : Cell
        The representative of its class is what is scored.
    settings : ScoreSettings
        What to compute.
    images, labels : Tensor
        From `chosen_images`, on the device that is to be used.
    seed : int
        Draws the initial weights, the same as of a training run in torch with this seed, and what attacks and proxies
        draw.
    engine : str
        As for `ntk.ntk`.
    """
    generator = make_generator(seed, "weights")
    network = network_for(Cell.from_index(cell.representative), settings.skeleton, settings.dataset, generator)
    network.to(images.device)
    found = _Found(network, settings, images, labels, seed, engine)
    return [
        *found.clean(),
        *(scored for attack in settings.attacks for scored in found.robust(attack)),
        *found.proxies(),
    ]


class _Found:
    """The scores of one network, family by family; each draws from a generator of its own."""

    def __init__(
        self,
        network: Network,
        settings: ScoreSettings,
        images: torch.Tensor,
        labels: torch.Tensor,
        seed: int,
        engine: str,
    ) -> None:
        self._network, self._settings, self._images, self._labels = network, settings, images, labels
        self._seed, self._engine = seed, engine
        self._classes = labels.cpu().numpy()
        self._reason = None if network.cell.connected else "the output does not depend on the input"

    def clean(self) -> list[Scored]:
        """Return what the clean kernel says."""
        s, start, matrix = self._settings, time.perf_counter(), None
        if self._reason is None:
            options: dict[str, Any] = {"output": s.output, "bn": s.bn, "precision": s.precision, "engine": self._engine}
            matrix = ntk(self._network, self._images, **options).cpu().numpy()
        seconds = time.perf_counter() - start
        rows = [("clean", None, name, value) for name, value in self._of_kernel("clean", matrix).items()]
        regression = self._regression(matrix)["standard_clean"]
        return [_scored(*row, seconds) for row in [*rows, ("regression", None, "standard_clean", regression)]]

    def robust(self, attack: Attack) -> list[Scored]:
        """Return what the kernels of one attack say."""
        s, start, found = self._settings, time.perf_counter(), None
        if self._reason is None:
            found = kernels(
                self._network,
                self._images,
                attack,
                beta=s.beta,
                bn=s.bn,
                labels=self._labels,
                generator=make_generator(self._seed, "scores", self._images.device),
                output=s.output,
                precision=s.precision,
                engine=self._engine,
            )
        seconds = time.perf_counter() - start
        return [_scored(kernel, attack, name, value, seconds) for kernel, name, value in self._of_kernels(found)]

    def proxies(self) -> list[Scored]:
        """Return the proxies, on clean images and on images attacked by the last attack."""
        s, start = self._settings, time.perf_counter()
        if not s.proxies:
            return []
        adversarial = self._images if s.attacks else None
        if s.attacks and self._reason is None:  # else there is no gradient to follow, nor a proxy of attacked images
            engine = choose_engine(self._engine, self._network, self._images, s.bn, s.precision)
            twin = prepare(self._network, self._images, s.bn, self._images.dtype)
            generator = make_generator(self._seed, "scores", self._images.device)
            adversarial = attacked(twin, self._images, self._labels, s.attacks[-1], generator, engine).clamp(0, 1)
        attacking = time.perf_counter() - start
        rows = scores(
            self._network,
            self._images,
            self._labels,
            s.proxies,
            adversarial=adversarial,
            generator=make_generator(self._seed, "scores", self._images.device),
        )
        return [
            Scored(None, s.attacks[-1].label, row.name, row.value, row.failure, row.seconds + attacking)
            if row.images == "adversarial"
            else Scored(None, None, row.name, row.value, row.failure, row.seconds)
            for row in rows
        ]

    def _of_kernels(self, found: Kernels | None) -> Iterator[tuple[str, str, Value]]:
        for kernel in ("robust", "cross", "robust_twice", "cross_twice", "combined", "combined_robust"):
            for name, value in self._of_kernel(kernel, found and getattr(found, kernel)).items():
                yield kernel, name, value
        for kernel in ("combined", "combined_robust"):
            yield kernel, "weyl_bound", self._weyl(kernel, found)
        regression = self._regression(*((found.clean, found.robust, found.cross) if found else ()))
        for name in ("standard_attacked", "adversarial_clean", "adversarial_attacked"):
            yield "regression", name, regression[name]

    def _of_kernel(self, kernel: str, matrix: Any) -> dict[str, Value]:
        kind = "symmetric" if kernel in SYMMETRIC else "cross"
        if self._reason is not None:
            return {score.name: Value.failed(self._reason) for score in SCORES if kind in score.kinds}
        return score_kernel(matrix, self._classes, self._settings.precision, kind)

    def _weyl(self, kernel: str, found: Kernels | None) -> Value:
        if found is None or found.robust_twice is None or found.cross_twice is None:
            return Value.failed(str(self._reason))
        parts = (found.clean, found.cross, found.robust)
        if kernel == "combined_robust":
            parts = (found.robust, found.cross_twice, found.robust_twice)
        return weyl_bound(*parts, weight=found.beta, precision=self._settings.precision)

    def _regression(self, clean: Any = None, robust: Any = None, cross: Any = None) -> dict[str, Value]:
        if self._reason is not None:
            return {entry.name: Value.failed(self._reason) for entry in fields(HeldOut)}
        s, train = self._settings, self._settings.train_images
        order = np.arange(s.images)
        found = held_out_accuracy(
            clean,
            self._classes,
            Split(order[:train], order[train:]),
            classes=s.skeleton.classes,
            precision=s.precision,
            relative_ridge=s.relative_ridge,
            robust=robust,
            cross=cross,
        )
        return {entry.name: getattr(found, entry.name).accuracy for entry in fields(HeldOut)}


def _scored(kernel: str, attack: Attack | None, name: str, value: Value, seconds: float) -> Scored:
    return Scored(kernel, None if attack is None else attack.label, name, value.value, value.failure, seconds)
