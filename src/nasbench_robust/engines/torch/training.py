"""Adversarial training of a network, as published (Madry et al., ICLR 2018; Wu et al., ICLR 2024)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...attacks import check_splits, is_right, unchecked
from ...cells import Cell
from ...errors import TrainingDivergedError
from ...images import TensorImages, pinned_float32, random_crop, random_flip, to_unit
from ...metrics import Metric
from ...networks import Network, make_path, network_for
from ...settings import AdversarialSettings, TrainingSettings
from ..checkpoints import check_form
from ..curves import Epoch, resumed_curve
from ..draws import STREAMS
from .evaluation import evaluate, judged


def make_generator(seed: int, stream: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Return the generator of a seed for one purpose, one of `STREAMS`."""
    state = np.random.SeedSequence([seed, STREAMS.index(stream)]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) >> 1)


def as_tensors(state: Any, device: torch.device) -> Any:
    """Return a state that was read from a checkpoint with its arrays as tensors on a device."""
    if isinstance(state, np.ndarray):
        return torch.from_numpy(state).to(device)
    if isinstance(state, dict):
        return {key: as_tensors(value, device) for key, value in state.items()}
    return [as_tensors(value, device) for value in state] if isinstance(state, list) else state


def set_draws(generator: torch.Generator, state: torch.Tensor) -> None:
    """Let a generator go on from a state; raise `ValueError` if it is none."""
    state = state.cpu()
    try:
        generator.set_state(state)
    except RuntimeError as error:
        raise ValueError(f"not a state of draws: {error}") from None


def check_moments(optimiser: dict[str, Any], parameters: Iterable[torch.Tensor]) -> None:
    """Raise `ValueError` where what an optimiser remembers of a parameter has another shape: torch notices late."""
    kept = optimiser["state"]
    if len({tuple(sorted(values)) for values in kept.values()}) > 1:
        raise ValueError("the optimiser remembers other things of one parameter than of another")
    for number, parameter in enumerate(parameters):
        for name, value in kept.get(number, {}).items():
            if value is not None and tuple(value.shape) not in ((), tuple(parameter.shape)):
                raise ValueError(f"the optimiser's {name} of parameter {number} has not the shape of the parameter")


class NetworkTrainer:
    """Training of a network, step by step; it can be stopped after any step and taken up again without a trace.

    Every step augments a batch, attacks it with the network in eval mode, and takes one SGD step on the cross entropy
    of the adversarial images with the network in train mode. The last epoch's weights are kept.

    Parameters
    ----------
    network : Module
        What to train, with its initial weights; is moved to the device of the images.
    settings : AdversarialSettings
        How.
    images : Images
        On the device that is to be used.
    seed : int
        Decides order, augmentation and random starts; equal seeds give equal results on one kind of CPU with one number
        of threads. On a GPU convolutions take sums in one order too; whether all operations do was not tried.
    path : str
        One of `paths.PATHS`: how images pass through the network.

    Attributes
    ----------
    network : Module
        As trained so far.
    curve : list of Epoch
        One entry per finished epoch.
    seconds : float
        Time spent in `step` so far, also before an interruption.
    kept : dict
        What `evaluation.evaluate` has done of a measurement that is under way.
    tf32 : bool
        Whether a GPU may round operands to TF32 in attacks of training and in updates; False.

    Raises
    ------
    InvalidValueError
        If the settings measure on a validation split and the images have none.
    UnknownNameError
        If there is no such path.
    """

    tf32 = False
    _judge = staticmethod(judged)  # of batches of the curve

    def __init__(
        self,
        network: torch.nn.Module,
        settings: AdversarialSettings,
        images: TensorImages,
        seed: int,
        *,
        path: str = "plain",
    ) -> None:
        self.settings, self.images, self.seed = settings, images, seed
        self._held_out = images.held_out(settings.curve_split)
        check_splits(images, settings.dataset)
        device = images.train.pixels.device
        self.network = network.to(device)
        self._path = make_path(path, self.network)
        self._optimiser = self._make_optimiser()
        steps = settings.epochs * -(-len(images.train.labels) // settings.batch_size)
        self._schedule = self._make_schedule(steps)
        self._draws = make_generator(seed, "training", device)
        self.curve: list[Epoch] = []
        self.seconds = 0.0
        # The epoch that is under way: the order of its images, how many are done, sums over those.
        self._order: torch.Tensor | None = None
        self._done = 0
        self.kept: dict[str, Any] = {}
        # On the device, and read once an epoch: to wait for a number at every step would leave a GPU without work.
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), dtype=torch.float64, device=device)

    def _make_optimiser(self) -> torch.optim.SGD:
        """Return the optimiser of the network's parameters."""
        settings = self.settings
        return torch.optim.SGD(
            self.network.parameters(), lr=settings.max_lr, momentum=0.9, weight_decay=settings.weight_decay
        )

    def _make_schedule(self, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule of the optimiser, which is asked after every step."""
        # Replaces both the learning rate and the momentum that the optimiser was made with, at every step.
        return torch.optim.lr_scheduler.OneCycleLR(self._optimiser, max_lr=self.settings.max_lr, total_steps=steps)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return len(self.curve) == self.settings.epochs

    def measured(self) -> torch.nn.Module:
        """Return the network as it is now, for `evaluation.evaluate`: a module that maps images to logits."""
        return self._path.measured()

    def step(self) -> Epoch | None:
        """Take one step; return the epoch if it was the last of one.

        Raises
        ------
        TrainingDivergedError
            At the end of an epoch, if the loss was not finite.
        """
        start, count = time.perf_counter(), len(self.images.train.labels)
        try:
            if self._done < count:  # else it was stopped while the epoch's end was measured
                chosen = self._next_chosen()
                with pinned_float32(tf32=self.tf32):
                    self._descend(chosen)
                self._done += len(chosen)
            ended = self._end_epoch(float(self._schedule.get_last_lr()[0])) if self._done == count else None
            self._schedule.step()
            return ended
        finally:
            self.seconds += time.perf_counter() - start

    def _next_chosen(self) -> torch.Tensor:
        """Return the images of the next batch in the epoch's random order; the last one may be short."""
        if self._order is None:
            count = len(self.images.train.labels)
            self._order = torch.randperm(count, generator=self._draws, device=self._draws.device)
        return self._order[self._done : self._done + self.settings.batch_size]

    def _descend(self, chosen: torch.Tensor) -> None:
        """Augment images, attack them and take an SGD step: all that a step does on the device."""
        images, labels = self._batch(chosen)
        attack = self.settings.attack
        adversarial = unchecked(attack)(self._path.attacked(), images, labels, attack, self._draws, len(labels))
        self._optimiser.zero_grad(set_to_none=True)
        logits = self._path.updated()(adversarial)
        loss = F.cross_entropy(logits, labels)
        torch.autograd.backward(loss)
        self._optimiser.step()
        self._loss += loss.detach().double() * len(labels)
        self._correct += is_right(logits, labels).sum()

    def _batch(self, chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented images and their labels."""
        batch = random_crop(to_unit(self.images.train.pixels[chosen]), self.settings.crop_padding, self._draws)
        if self.settings.flip:
            batch = random_flip(batch, self._draws)
        return batch, self.images.train.labels[chosen]

    def _end_epoch(self, learning_rate: float) -> Epoch:
        """Measure the network on the split of the curves and start a new epoch."""
        loss, correct = float(self._loss), int(self._correct)
        if not np.isfinite(loss):
            raise TrainingDivergedError(len(self.curve) + 1)
        images, labels = self._held_out
        generator = make_generator(self.seed, "curve", images.device)
        metrics = Metric("clean_acc"), Metric.of(self.settings.attack)
        batch_size = self.settings.evaluation_batch
        network = self.measured()
        outcomes = evaluate(
            network, images, labels, metrics, generator, batch_size=batch_size, kept=self.kept, judge=self._judge
        )
        self.kept.clear()
        clean, attacked = (float(outcomes[metric].double().mean()) for metric in metrics)
        epoch = Epoch(len(self.curve) + 1, learning_rate, loss / self._done, correct / self._done, clean, attacked)
        self.curve.append(epoch)
        self._order = None
        self._start_sums(0, 0, 0.0)
        return epoch

    def _start_sums(self, done: int, correct: int, loss: float) -> None:
        self._done = done
        self._correct.fill_(correct)
        self._loss.fill_(loss)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": {k: v for k, v in self._schedule.state_dict().items() if not callable(v)},
            "draws": self._draws.get_state(),
            "curve": [asdict(epoch) for epoch in self.curve],
            "seconds": self.seconds,
            "order": self._order,
            "sums": [self._done, int(self._correct), float(self._loss)],
            "kept": self.kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a run where `state_dict` left it; arrays may stand where tensors were.

        Raises
        ------
        ValueError, KeyError, TypeError, AttributeError
            For the state of no such run.
        """
        state = as_tensors(state, self._draws.device)
        fresh = self.state_dict()
        anything: dict[str, Any] = {
            "optimiser": {**fresh["optimiser"], "state": {}},
            "order": None,
            "curve": [],
            "kept": {},
        }
        check_form(state, {**fresh, **anything})
        count, done = len(self.images.train.labels), state["sums"][0]
        curve = resumed_curve(state["curve"], done, self.settings.epochs, count)
        steps = len(curve) * -(-count // self.settings.batch_size) + -(-done // self.settings.batch_size)
        check_moments(state["optimiser"], self.network.parameters())
        scheduled = steps - (done == count)  # stopped while the epoch's end was measured
        if state["schedule"]["last_epoch"] != scheduled or (state["order"] is not None) != (done > 0):
            raise ValueError(f"the schedule, or the order of the images, is not that of {scheduled} steps")
        if done and not torch.equal(state["order"].sort().values, torch.arange(count, device=self._draws.device)):
            raise ValueError("the order of the images is none")
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        set_draws(self._draws, state["draws"])
        self.curve, self.seconds = curve, state["seconds"]
        self._order = state["order"]
        self._start_sums(*state["sums"])
        self.kept = state["kept"]


class Trainer(NetworkTrainer):
    """Training of one cell; its seed decides the initial weights too, all else is as in `NetworkTrainer`."""

    network: Network

    def __init__(
        self, cell: Cell, settings: TrainingSettings, images: TensorImages, seed: int, *, path: str = "plain"
    ) -> None:
        settings.skeleton.check_dataset(settings.dataset)
        network = network_for(cell, settings.skeleton, settings.dataset, make_generator(seed, "weights"))
        super().__init__(network, settings, images, seed, path=path)


def train(
    cell: Cell,
    settings: TrainingSettings,
    images: TensorImages,
    seed: int,
    *,
    path: str = "plain",
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Network, list[Epoch]]:
    """Train one cell from the beginning to the end; parameters and errors are those of `Trainer`.

    Parameters
    ----------
    progress : callable, optional
        Called with every `Epoch` as it ends.

    Returns
    -------
    Network
        In eval mode.
    list of Epoch
        The training curve.
    """
    trainer = Trainer(cell, settings, images, seed, path=path)
    while not trainer.finished:
        epoch = trainer.step()
        if epoch is not None and progress is not None:
            progress(epoch)
    return trainer.network.eval(), trainer.curve
