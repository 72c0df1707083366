"""Adversarial training of one cell, as published (Madry et al., ICLR 2018; Wu et al., ICLR 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from .attacks import pgd
from .cells import Cell
from .errors import NasbenchRobustError
from .evaluation import evaluate
from .images import Images, random_crop, random_flip, to_unit
from .metrics import Metric
from .networks import Network, network_for
from .settings import TrainingSettings

__all__ = ["Epoch", "TrainingDivergedError", "make_generator", "train"]

# What a generator is for: streams of one seed must not overlap, and a change of one must not move the others.
STREAMS = ("weights", "training", "curve", "evaluation")


class TrainingDivergedError(NasbenchRobustError, ArithmeticError):
    """The loss of a training run is no longer finite.

    Attributes
    ----------
    epoch : int
        Epoch in which it happened, from 1.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        super().__init__(f"the training loss is not finite in epoch {epoch}")


@dataclass(frozen=True)
class Epoch:
    """One point of the training curve.

    Attributes
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of the last step.
    train_loss, train_acc : float
        Cross entropy and accuracy on the adversarial training images, means over the epoch as it went.
    clean_acc, pgd_acc : float
        On the test split after the epoch: as it is, and under the PGD of the training settings.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    train_acc: float
    clean_acc: float
    pgd_acc: float


def make_generator(seed: int, stream: str, device: str | torch.device = "cpu") -> torch.Generator:
    """Return the generator of a seed for one purpose, one of `STREAMS`."""
    state = np.random.SeedSequence([seed, STREAMS.index(stream)]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) >> 1)


def train(
    cell: Cell,
    settings: TrainingSettings,
    images: Images,
    seed: int,
    *,
    progress: Callable[[Epoch], None] | None = None,
) -> tuple[Network, list[Epoch]]:
    """Train one cell on adversarial images made by PGD along the way.

    Every step augments a batch, attacks it with the network in eval mode, and takes one SGD step on the cross entropy
    of the adversarial images with the network in train mode. The last epoch's weights are kept.

    Parameters
    ----------
    cell : Cell
        What to train.
    settings : TrainingSettings
        How.
    images : Images
        On the device that is to be used.
    seed : int
        Decides initial weights, order, augmentation and random starts; equal seeds give equal results on one kind of
        machine with one number of threads.
    progress : callable, optional
        Called with every `Epoch` as it ends.

    Returns
    -------
    Network
        In eval mode.
    list of Epoch
        The training curve.

    Raises
    ------
    TrainingDivergedError
        If the loss is not finite.
    """
    device = images.train_images.device
    network = network_for(cell, settings.skeleton, settings.dataset, make_generator(seed, "weights")).to(device)
    steps = settings.epochs * -(-len(images.train_labels) // settings.batch_size)
    # OneCycleLR replaces both the learning rate and the momentum given here, at every step.
    optimiser = torch.optim.SGD(
        network.parameters(), lr=settings.max_lr, momentum=0.9, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=settings.max_lr, total_steps=steps)
    draws = make_generator(seed, "training", device)
    curve = []
    for number in range(1, settings.epochs + 1):
        loss, correct = 0.0, 0
        for batch, labels in _batches(images, settings, draws):
            network.eval()
            adversarial = pgd(network, batch, labels, settings.attack, draws)
            network.train()
            optimiser.zero_grad(set_to_none=True)
            logits = network(adversarial)
            batch_loss = F.cross_entropy(logits, labels)
            torch.autograd.backward(batch_loss)
            learning_rate = float(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
            loss += batch_loss.item() * len(labels)
            correct += int((logits.argmax(dim=1) == labels).sum())
        if not np.isfinite(loss):
            raise TrainingDivergedError(number)
        count = len(images.train_labels)
        clean, attacked = _held_out(network, settings, images, seed)
        curve.append(Epoch(number, learning_rate, loss / count, correct / count, clean, attacked))
        if progress is not None:
            progress(curve[-1])
    return network.eval(), curve


def _batches(
    images: Images, settings: TrainingSettings, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield one epoch of augmented batches in random order; the last one may be short."""
    order = torch.randperm(len(images.train_labels), generator=generator, device=generator.device)
    for chosen in torch.split(order, settings.batch_size):
        batch = random_crop(to_unit(images.train_images[chosen]), settings.crop_padding, generator)
        if settings.flip:
            batch = random_flip(batch, generator)
        yield batch, images.train_labels[chosen]


def _held_out(network: Network, settings: TrainingSettings, images: Images, seed: int) -> tuple[float, float]:
    """Return clean accuracy and accuracy under the training attack on the test split."""
    generator = make_generator(seed, "curve", images.test_images.device)
    metrics = Metric("clean_acc"), Metric.of(settings.attack)
    outcomes = evaluate(network, images.test_images, images.test_labels, metrics, generator)
    clean, attacked = (float(outcomes[metric].double().mean()) for metric in metrics)
    return clean, attacked
