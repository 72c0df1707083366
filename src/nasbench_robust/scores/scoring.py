"""All training-free scores of one cell: kernels, kernel regression and proxies, each a row with a value or a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch

from .. import ntk
from ..arrays import Floats
from ..cells import Cell
from ..checks import seed as checked_seed
from ..engines import Draws, Step, stop_if_asked, tell
from ..engines.torch import make_generator
from ..errors import InvalidValueError
from ..images import TensorImages, to_unit
from ..metrics import Attack
from ..networks import Network, network_for
from ..ntk import FixedNetwork, Regression, Scored, Value
from ..proxies import scores
from .keys import COMBINED, KERNELS, OF_ATTACKED, ScoreKey, kernel_keys, kind_of, score_keys
from .settings import ScoreSettings

Result = TypeVar("Result")
NO_PATH = "the output does not depend on the input"


def chosen_images(settings: ScoreSettings, images: TensorImages) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training images that the settings choose, pixels in [0, 1], and their classes."""
    available = len(images.train.labels)
    if settings.images > available:
        raise InvalidValueError("images", settings.images, f"at most the {available} training images", str(available))
    chosen = torch.from_numpy(Draws(settings.draw, "scores").permutation(available)[: settings.images])
    return to_unit(images.train.pixels[chosen]), images.train.labels[chosen]


def score_cell(
    cell: Cell,
    settings: ScoreSettings,
    images: torch.Tensor,
    labels: torch.Tensor,
    seed: int,
    engine: str = "auto",
    wanted: Collection[ScoreKey] | None = None,
) -> list[Scored]:
    """Return the scores of a cell that the settings name.

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
        draw. No score depends on which others are computed.
    engine : str
        As for `ntk.ntk`.
    wanted : collection of ScoreKey, optional
        Those of `score_keys` that are to be returned; all by default. What none of them needs is not computed.

    Returns
    -------
    list of Scored
        In the order of `score_keys`.
    """
    generator = make_generator(checked_seed("seed", seed), "weights")
    network = network_for(Cell.from_index(cell.representative), settings.skeleton, settings.dataset, generator)
    made = _Ingredients(network.to(images.device), settings, images, labels, seed, engine)
    keys = [key for key in score_keys(settings) if wanted is None or key in wanted]
    rows: list[Scored] = []
    network.register_forward_pre_hook(stop_if_asked)
    for number, attack in enumerate((None, *settings.attacks)):
        tell(Step("scores of the images as they are and by attack", number, 1 + len(settings.attacks)))
        stop_if_asked()
        same = [key for key in keys if key.attack == _label(attack)]
        proxies = [key.score for key in same if key.kernel is None]
        if len(proxies) < len(same):
            rows += made.kernel_scores(attack)
        if proxies:
            rows += made.proxy_scores(attack, proxies)
    by_key = {ScoreKey(row.kernel, row.attack, row.score): row for row in rows}
    return [by_key[key] for key in keys]


@dataclass(eq=False)
class _Ingredients:
    """What the scores of one network are made of, each made once, with the seconds that it and what it needs took.

    Whatever is drawn is drawn from a generator of its own. The clean kernel has a pass of its own, although the passes
    of attacks have it too: its scores cost what it costs, and with coupled batch normalisation it is another one.
    """

    network: Network
    settings: ScoreSettings
    images: torch.Tensor
    labels: torch.Tensor
    seed: int
    engine: str

    def __post_init__(self) -> None:
        self._fixed, self._once = cache(self._fix), cache(self._attack)

    def kernel_scores(self, attack: Attack | None) -> list[Scored]:
        """Return what the clean kernel says, or what the kernels of an attack say."""
        label = _label(attack)
        if not self.network.cell.connected:
            return [Scored(*key, None, NO_PATH, 0.0) for key in kernel_keys(label)]
        values, seconds = self._of_clean() if attack is None else self._of_attack(attack)
        return [Scored.of(kernel, label, name, value, seconds) for (kernel, name), value in values.items()]

    def proxy_scores(self, attack: Attack | None, names: list[str]) -> list[Scored]:
        """Return proxies of the images as they are, or as they are attacked."""
        images, seconds = self.images, 0.0
        if attack is not None:
            if not self.network.cell.connected:  # then an attack has no gradient to follow
                return [Scored(None, attack.label, name, None, NO_PATH, 0.0) for name in names]
            # The network computes in fp32, whatever the arithmetic of its kernels.
            precision = "fp32" if self.settings.precision == "fp64" else self.settings.precision
            adversarial, _, seconds = self._once(attack, precision)
            images = adversarial.clamp(0, 1)
        rows = scores(self.network, images, self.labels, names, generator=self._generator())
        return [replace(row, attack=_label(attack), seconds=row.seconds + seconds) for row in rows]

    def _generator(self) -> torch.Generator:
        return make_generator(self.seed, "scores", self.images.device)

    def _fix(self, precision: str) -> tuple[FixedNetwork, float]:
        engine = self.engine if precision == self.settings.precision else "torch"
        options = {"bn": self.settings.bn, "precision": precision, "engine": engine}
        return _timed(lambda: FixedNetwork(self.network, self.images, **options))

    def _attack(self, attack: Attack, precision: str) -> tuple[torch.Tensor, torch.Generator, float]:
        """Return A(x), and the generator that goes on to draw A(A(x))."""
        (fixed, fixing), generator = self._fixed(precision), self._generator()
        images, attacking = _timed(lambda: fixed.attacked(self.images, self.labels, attack, generator))
        return images, generator, fixing + attacking

    def _of_clean(self) -> tuple[dict[tuple[str, str], Value], float]:
        fixed, fixing = self._fixed(self.settings.precision)
        kernel, making = _timed(lambda: ntk.gram_matrix(fixed, self.images, output=self.settings.output).cpu().numpy())
        values = self._of_matrix("clean", kernel)
        values["regression", "standard_clean"] = self._regress(kernel)["standard_clean"].accuracy
        return values, fixing + making

    def _of_attack(self, attack: Attack) -> tuple[dict[tuple[str, str], Value], float]:
        s, (fixed, _) = self.settings, self._fixed(self.settings.precision)
        once, generator, seconds = self._once(attack, s.precision)
        twice, again = _timed(lambda: fixed.attacked(once, self.labels, attack, generator))
        versions = (self.images, once, twice)
        kernels, making = _timed(lambda: ntk.kernels_between(fixed, versions, beta=s.beta, output=s.output))
        assert kernels.robust_twice is not None
        assert kernels.cross_twice is not None
        values: dict[tuple[str, str], Value] = {}
        for name in KERNELS:
            values |= self._of_matrix(name, getattr(kernels, name))
        blocks = (
            (kernels.clean, kernels.cross, kernels.robust),
            (kernels.robust, kernels.cross_twice, kernels.robust_twice),
        )
        for name, three in zip(COMBINED, blocks, strict=True):
            values[name, "weyl_bound"] = ntk.weyl_bound(*three, weight=s.beta, precision=s.precision)
        held_out = self._regress(kernels.clean, robust=kernels.robust, cross=kernels.cross)
        values |= {("regression", name): held_out[name].accuracy for name in OF_ATTACKED}
        return values, seconds + again + making

    def _of_matrix(self, name: str, kernel: Floats) -> dict[tuple[str, str], Value]:
        values = ntk.score_kernel(kernel, self.labels.cpu().numpy(), self.settings.precision, kind_of(name))
        return {(name, score): value for score, value in values.items()}

    def _regress(self, clean: Floats, **of_attacked: Floats) -> dict[str, Regression]:
        s, order = self.settings, np.arange(self.settings.images)
        split = ntk.RowSplit(order[: s.train_images], order[s.train_images :])
        options: dict[str, Any] = {"precision": s.precision, "relative_ridge": s.relative_ridge, **of_attacked}
        return ntk.held_out_accuracy(clean, self.labels.cpu().numpy(), split, classes=s.skeleton.classes, **options)


def _label(attack: Attack | None) -> str | None:
    return None if attack is None else attack.label


def _timed(make: Callable[[], Result]) -> tuple[Result, float]:
    """Return what a function makes, and the seconds that it took."""
    stop_if_asked()
    start = time.perf_counter()
    return make(), time.perf_counter() - start
