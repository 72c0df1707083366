"""Adversarial training of one cell in the native engine: the steps of `engines.torch`, without torch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from ...arrays import Booleans, Floats, Integers, Singles
from ...attacks import check_splits
from ...cells import Cell
from ...datasets import dataset
from ...errors import TrainingDivergedError
from ...images import ArrayImages, crop, flip, to_unit
from ...metrics import Metric
from ...native import NativeNetwork
from ...settings import TrainingSettings
from ...skeletons import Skeleton
from ..checkpoints import check_form
from ..curves import Epoch, resumed_curve
from ..draws import Draws
from ..watch import stop_if_asked
from .evaluation import PIXELS, attacked, measure, noise_of

Batch: TypeAlias = "tuple[Singles, Integers, Singles | None]"  # images, labels, noise of the random starts

# torch.optim.lr_scheduler.OneCycleLR's defaults.
RISE = 0.3  # share of the steps
FIRST_DIVISOR, LAST_DIVISOR = 25.0, 1e4
MOMENTA = 0.85, 0.95


class NativeTrainer:
    """Training of one cell, step by step; see `nasbench_robust.engines.torch`, which it follows.

    Parameters
    ----------
    cell : Cell
        What to train.
    settings : TrainingSettings
        How.
    images : ArrayImages
        Of the settings' data set.
    seed : int
        Decides initial weights, order, augmentation and random starts, other ones than in torch; equal seeds give equal
        results, bit for bit, with one build of the engine.

    Attributes
    ----------
    network : NativeNetwork
        As trained so far; folded at the end of an epoch.
    curve : list of Epoch
        One entry per finished epoch.
    seconds : float
        Time spent in `step` so far, also before an interruption.

    Raises
    ------
    InvalidValueError
        If the settings measure on a validation split and the images have none.
    """

    def __init__(self, cell: Cell, settings: TrainingSettings, images: ArrayImages, seed: int) -> None:
        facts = dataset(settings.dataset)
        images.held_out(settings.curve_split)  # find out before the training that there is none
        check_splits(images, settings.dataset)
        settings.skeleton.check_dataset(settings.dataset)
        self.settings, self.images, self.seed = settings, images, seed
        self.network = NativeNetwork(cell, settings.skeleton, mean=facts.mean, std=facts.std)
        self.network.parameters[:], self.network.statistics[:] = initial_weights(
            cell, settings.skeleton, Draws(seed, "weights")
        )
        self.curve: list[Epoch] = []
        self.seconds = 0.0
        self._steps_per_epoch = -(-len(images.train) // settings.batch_size)
        self._rates, self._momenta = one_cycle(settings.max_lr, settings.epochs * self._steps_per_epoch)
        self._draws = Draws(seed, "training")
        # The epoch that is under way: its batches, the draws before it, how many images are done, sums over those.
        self._under_way: Iterator[Batch] | None = None
        self._before = self._draws.state
        self._done, self._correct, self._loss = 0, 0, 0.0
        self._measured: list[list[Booleans]] = [[], []]  # at its end, of clean images and attacked ones, part by part

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.curve) == self.settings.epochs

    def step(self) -> Epoch | None:
        """Take one step; return the epoch if it was the last of one.

        Raises
        ------
        TrainingDivergedError
            If the loss is not finite.
        """
        start = time.perf_counter()
        try:
            if self._done < len(self.images.train):  # else it was stopped while the epoch's end was measured
                self._train_on(*self._next_batch())
            return self._end_epoch() if self._done == len(self.images.train) else None
        finally:
            self.seconds += time.perf_counter() - start

    def _next_batch(self) -> Batch:
        if self._under_way is None:
            self._before = self._draws.state
            self._under_way = self._batches()
        return next(self._under_way)

    def _train_on(self, images: Singles, labels: Integers, noise: Singles | None) -> None:
        step = len(self.curve) * self._steps_per_epoch + self._done // self.settings.batch_size
        self.network.fold()
        adversarial = attacked(self.network, images, labels, self.settings.attack, noise)
        loss, correct = self.network.differentiate(adversarial, labels)
        self.network.update(self._rates[step], self._momenta[step], self.settings.weight_decay)
        self._loss += loss * len(labels)
        self._correct += correct
        self._done += len(labels)
        if not math.isfinite(self._loss):
            raise TrainingDivergedError(len(self.curve) + 1)

    def _end_epoch(self) -> Epoch:
        """Measure the network on the split of the curves and start a new epoch."""
        # The engine's ReLU makes 0 of NaN, so the loss alone may hide that weights are lost.
        if not np.isfinite(self.network.parameters).all():
            raise TrainingDivergedError(len(self.curve) + 1)
        self.network.fold()
        clean, attacked = self._measure()
        rate = float(self._rates[(len(self.curve) + 1) * self._steps_per_epoch - 1])
        self.curve.append(
            Epoch(len(self.curve) + 1, rate, self._loss / self._done, self._correct / self._done, clean, attacked)
        )
        self._under_way = None
        self._done, self._correct, self._loss = 0, 0, 0.0
        return self.curve[-1]

    @property
    def _is_within_epoch(self) -> bool:
        """Whether some of the epoch's batches are done, and some are not."""
        return 0 < self._done < len(self.images.train)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as arrays and plain values."""
        return {
            "parameters": self.network.parameters.copy(),
            "momentum": self.network.momentum.copy(),
            "statistics": self.network.statistics.copy(),
            "draws": self._before if self._is_within_epoch else self._draws.state,
            "curve": [asdict(epoch) for epoch in self.curve],
            "seconds": self.seconds,
            "sums": [self._done, self._correct, self._loss],
            "measured": self._measured,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it; raise `ValueError` for the state of no such run."""
        check_form(state, {**self.state_dict(), "curve": [], "measured": [[], []]})
        done, correct, loss = state["sums"]
        curve = resumed_curve(state["curve"], done, self.settings.epochs, len(self.images.train))
        self.network.parameters[:] = state["parameters"]
        self.network.momentum[:] = state["momentum"]
        self.network.statistics[:] = state["statistics"]
        self.network.fold()
        self._draws.state = self._before = state["draws"]
        self.curve, self.seconds = curve, state["seconds"]
        self._done, self._correct, self._loss = done, correct, loss
        self._under_way = self._batches(self._done) if self._is_within_epoch else None
        self._measured = state["measured"]

    def _batches(self, done: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch but for the first `done` images of its order."""
        pixels, labels = self.images.train
        order = self._draws.permutation(len(labels))
        padding, attack = self.settings.crop_padding, self.settings.attack
        corners = self._draws.integers(2 * padding + 1, (2, len(labels)))
        flipped = self._draws.integers(2, (len(labels),)).astype(bool) if self.settings.flip else None
        length = int(np.prod(pixels.shape[1:]))
        if attack.random_start:
            self._draws.skip(done * length * (attack.restarts or 1))
        # Many batches are augmented at once where images are small: NumPy's calls would cost more than their work.
        size = self.settings.batch_size
        some = max(1, PIXELS // (size * length)) * size
        for first in range(done, len(order), some):
            part = slice(first, first + some)
            augmented, classes = crop(to_unit(pixels[order[part]]), padding, corners[:, part]), labels[order[part]]
            if flipped is not None:
                augmented = flip(augmented, flipped[part])
            for start in range(0, len(classes), size):
                batch = augmented[start : start + size]
                yield batch, classes[start : start + size], noise_of(attack, batch.shape, self._draws)

    def _measure(self) -> tuple[float, float]:
        """Return clean accuracy and that under the training attack on the split of the curves."""
        split = self.settings.curve_split
        metrics = Metric("clean_acc", split=split), Metric.of(self.settings.attack, split)
        for metric, parts in zip(metrics, self._measured, strict=True):
            done = sum(part.shape[1] for part in parts)
            for part in measure(self.network, self.images, metric, Draws(self.seed, "curve"), done):
                parts.append(part)
                stop_if_asked()
        clean, attacked = (float(np.concatenate(parts, axis=1)[-1].mean()) for parts in self._measured)
        self._measured = [[], []]
        return clean, attacked


def initial_weights(cell: Cell, skeleton: Skeleton, draws: Draws) -> tuple[Singles, Singles]:
    """Return all parameters and running statistics of a new network, in the order of `NativeNetwork`.

    Weights and the linear layer's bias are uniform in +-1 / sqrt(inputs), PyTorch's default; scales and variances are
    1, shifts and means 0.
    """
    parameters: list[Singles] = []
    statistics: list[Singles] = []

    def uniform(count: int, inputs: int) -> None:
        bound = 1 / math.sqrt(inputs)
        parameters.append(draws.uniform(-bound, bound, (count,)))

    def normalisation(channels: int) -> None:
        ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
        parameters.extend((ones, zeros))
        statistics.extend((zeros, ones))

    def convolution(ins: int, outs: int, kernel: int) -> None:
        uniform(outs * ins * kernel**2, ins * kernel**2)
        normalisation(outs)

    kernels = [int(name[-1]) for name in cell.operations if name.startswith("nor_conv")]
    convolution(skeleton.input_channels, skeleton.channels, 3)
    for stage, width in enumerate(skeleton.widths):
        if stage > 0:
            convolution(width // 2, width, 3)
            convolution(width, width, 3)
            uniform(width * (width // 2), width // 2)  # the shortcut has no normalisation
        for kernel in kernels * skeleton.cells_per_stage:
            convolution(width, width, kernel)
    last = skeleton.widths[-1]
    normalisation(last)
    uniform((last + 1) * skeleton.classes, last)
    return np.concatenate(parameters), np.concatenate(statistics)


def one_cycle(max_lr: float, steps: int) -> tuple[Floats, Floats]:
    """Return learning rate and momentum of every step of the one-cycle schedule (Smith and Topin, 2019).

    As ``torch.optim.lr_scheduler.OneCycleLR`` with its defaults: from max_lr / 25 to max_lr in 30 % of the steps, then
    down to max_lr / 250,000, both along half a cosine, and the momentum the other way between .95 and .85.
    """
    step = np.arange(steps)
    top, last = RISE * steps - 1, steps - 1
    first_lr = max_lr / FIRST_DIVISOR
    rising = step <= top
    share = np.where(rising, step / (top or 1.0), (step - top) / ((last - top) or 1.0))

    # The C library's cosine: NumPy's last digit depends on the processor.
    cosine = np.array([math.cos(math.pi * each) for each in share])

    def between(start: float, peak: float, end: float) -> Floats:
        begin, finish = np.where(rising, start, peak), np.where(rising, peak, end)
        values: Floats = finish + (begin - finish) / 2 * (1 + cosine)
        return values

    return between(first_lr, max_lr, first_lr / LAST_DIVISOR), between(MOMENTA[1], MOMENTA[0], MOMENTA[1])
