"""Adversarial training of one cell in the native engine: the steps of `nasbench_robust.training`, without torch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..cells import Cell
from ..datasets import dataset
from ..epochs import Epoch, TrainingDivergedError
from ..image_arrays import ImageArrays, crop, flip, to_unit
from ..metrics import Metric
from ..settings import TrainingSettings
from ..skeletons import Skeleton
from .draws import Draws
from .engine import Floats, NativeNetwork
from .evaluation import evaluate

__all__ = ["NativeTrainer", "initial_weights", "one_cycle"]

# torch.optim.lr_scheduler.OneCycleLR's defaults.
RISE = 0.3  # share of the steps
FIRST_DIVISOR, LAST_DIVISOR = 25.0, 1e4
MOMENTA = 0.85, 0.95


class NativeTrainer:
    """Training of one cell, epoch by epoch; see `nasbench_robust.training.Trainer`, which it follows.

    Parameters
    ----------
    cell : Cell
        What to train.
    settings : TrainingSettings
        How.
    images : ImageArrays
        Of the settings' data set.
    seed : int
        Decides initial weights, order, augmentation and random starts, other ones than in torch; equal seeds give equal
        results, bit for bit, with one build of the engine.

    Attributes
    ----------
    network : NativeNetwork
        As trained so far, folded.
    curve : list of Epoch
        One entry per finished epoch.
    seconds : float
        Time spent in `epoch` so far.

    Raises
    ------
    InvalidValueError
        If the settings measure on a validation split and the images have none.
    """

    def __init__(self, cell: Cell, settings: TrainingSettings, images: ImageArrays, seed: int) -> None:
        facts = dataset(settings.dataset)
        images.held_out(settings.curve_split)  # find out before the training that there is none
        self.settings, self.images, self.seed = settings, images, seed
        self.network = NativeNetwork(cell, settings.skeleton, mean=facts.mean, std=facts.std)
        self.network.parameters[:], self.network.statistics[:] = initial_weights(
            cell, settings.skeleton, Draws(seed, "weights")
        )
        self.curve: list[Epoch] = []
        self.seconds = 0.0
        self._steps_per_epoch = -(-len(images.train[1]) // settings.batch_size)
        self._rates, self._momenta = one_cycle(settings.max_lr, settings.epochs * self._steps_per_epoch)
        self._draws = Draws(seed, "training")

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.curve) == self.settings.epochs

    def epoch(self) -> Epoch:
        """Train for one epoch, measure the network on the split of the curves, and return both.

        Raises
        ------
        TrainingDivergedError
            If the loss is not finite.
        """
        start = time.perf_counter()
        try:
            loss, correct = self._train()
            self.network.fold()
            clean, attacked = self._measure()
        finally:
            self.seconds += time.perf_counter() - start
        count = len(self.images.train[1])
        rate = float(self._rates[(len(self.curve) + 1) * self._steps_per_epoch - 1])
        self.curve.append(Epoch(len(self.curve) + 1, rate, loss / count, correct / count, clean, attacked))
        return self.curve[-1]

    def _train(self) -> tuple[float, int]:
        """Take the steps of an epoch; return the sum of the losses and the number of right predictions."""
        attack = self.settings.attack
        step = len(self.curve) * self._steps_per_epoch
        loss, correct = 0.0, 0
        for images, labels, noise in self._batches():
            self.network.fold()
            adversarial = self.network.pgd(
                images, labels, noise, eps=attack.eps, step_size=attack.step_size or 0.0, steps=attack.steps or 0
            )
            batch_loss, batch_correct = self.network.differentiate(adversarial, labels)
            self.network.update(self._rates[step], self._momenta[step], self.settings.weight_decay)
            loss, correct, step = loss + batch_loss * len(labels), correct + batch_correct, step + 1
            if not math.isfinite(loss):
                raise TrainingDivergedError(len(self.curve) + 1)
        # The engine's ReLU makes 0 of NaN, so the loss alone may hide that weights are lost.
        if not np.isfinite(self.network.parameters).all():
            raise TrainingDivergedError(len(self.curve) + 1)
        return loss, correct

    def _batches(self) -> Iterator[tuple[Floats, npt.NDArray[np.int64], Floats | None]]:
        """Yield the batches of an epoch: augmented images, labels and the noise of the random starts."""
        pixels, labels = self.images.train
        order = self._draws.permutation(len(labels))
        padding, eps = self.settings.crop_padding, self.settings.attack.eps
        corners = self._draws.integers(2 * padding + 1, (2, len(labels)))
        flipped = self._draws.integers(2, (len(labels),)).astype(bool) if self.settings.flip else None
        noise = self._draws.uniform(-eps, eps, pixels.shape) if self.settings.attack.random_start else None
        for start in range(0, len(order), self.settings.batch_size):
            part = slice(start, start + self.settings.batch_size)
            batch = crop(to_unit(pixels[order[part]]), padding, corners[:, part])
            if flipped is not None:
                batch = flip(batch, flipped[part])
            yield batch, labels[order[part]], None if noise is None else noise[part]

    def _measure(self) -> tuple[float, float]:
        """Return clean accuracy and that under the training attack on the split of the curves."""
        split = self.settings.curve_split
        metrics = Metric("clean_acc", split=split), Metric.of(self.settings.attack, split)
        draws = Draws(self.seed, "curve")
        clean, attacked = (float(evaluate(self.network, self.images, metric, draws).mean()) for metric in metrics)
        return clean, attacked


def initial_weights(cell: Cell, skeleton: Skeleton, draws: Draws) -> tuple[Floats, Floats]:
    """Return all parameters and running statistics of a new network, in the order of `NativeNetwork`.

    Weights and the linear layer's bias are uniform in +-1 / sqrt(inputs), PyTorch's default; scales and variances are
    1, shifts and means 0.
    """
    parameters: list[Floats] = []
    statistics: list[Floats] = []

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


def one_cycle(max_lr: float, steps: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
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

    def between(start: float, peak: float, end: float) -> npt.NDArray[np.float64]:
        begin, finish = np.where(rising, start, peak), np.where(rising, peak, end)
        values: npt.NDArray[np.float64] = finish + (begin - finish) / 2 * (1 + cosine)
        return values

    return between(first_lr, max_lr, first_lr / LAST_DIVISOR), between(MOMENTA[1], MOMENTA[0], MOMENTA[1])
