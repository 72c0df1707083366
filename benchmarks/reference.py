"""What the other side of the benchmarks does: the published training with torchattacks, on the same network.

Images are augmented in batches, as ours are, where the published program transforms them one by one: the comparison is
about the network and its attacks, and this is in the reference's favour. Needs torchattacks:
``pip install --no-deps torchattacks==3.5.1``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import torchattacks

from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import make_generator
from nasbench_robust.images import TensorImages, random_crop, random_flip
from nasbench_robust.metrics import Attack, Metric
from nasbench_robust.networks import network_for
from nasbench_robust.settings import TrainingSettings


class ReferenceTrainer:
    """Adversarial training of one cell with torchattacks' PGD, a batch at a time."""

    def __init__(
        self, cell: Cell, settings: TrainingSettings, total_steps: int, seed: int, device: str = "cpu"
    ) -> None:
        self.settings = settings
        self.draws = make_generator(seed, "training", device)
        weights = make_generator(seed, "weights")
        self.network = network_for(cell, settings.skeleton, settings.dataset, weights).to(device)
        self._attack = attack_of(self.network, settings.attack)
        self._optimiser = torch.optim.SGD(
            self.network.parameters(), lr=settings.max_lr, momentum=0.9, weight_decay=settings.weight_decay
        )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, max_lr=settings.max_lr, total_steps=total_steps
        )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Augment, attack and take one step."""
        augmented = random_crop(images, self.settings.crop_padding, self.draws)
        if self.settings.flip:
            augmented = random_flip(augmented, self.draws)
        self.network.eval()
        adversarial = self._attack(augmented, labels)
        self.network.train()
        self._optimiser.zero_grad()
        logits = self.network(adversarial)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        self._optimiser.step()
        self._schedule.step()
        loss.item(), (logits.argmax(dim=1) == labels).sum().item()  # every training program watches these


class CompiledTrainer(ReferenceTrainer):
    """The same step by `torch.compile`, channels last; while it attacks, no gradients of weights are computed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        torch.compiler.reset()  # who has compiled eight forms of one function takes the next ones as they are written
        self.network = torch.compile(self.network.to(memory_format=torch.channels_last), dynamic=False)
        plain = attack_of(self.network, self.settings.attack)

        def attack(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            self.network.requires_grad_(False)
            adversarial = plain(images, labels)
            self.network.requires_grad_(True)
            return adversarial

        self._attack = attack


def attack_of(network: torch.nn.Module, attack: Attack) -> torchattacks.attack.Attack:
    """Return torchattacks' FGSM or PGD with these settings."""
    if attack.name == "fgsm":
        return torchattacks.FGSM(network, eps=attack.eps)
    kind = torchattacks.PGD if attack.norm == "Linf" else torchattacks.PGDL2
    return kind(network, eps=attack.eps, alpha=attack.step_size, steps=attack.steps, random_start=attack.random_start)


def count_correct(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, metric: Metric) -> int:
    """Return how many images are classified correctly, as they are or under torchattacks' attack; all in one batch."""
    network.eval()
    seen = images if metric.attack is None else attack_of(network, metric.attack)(images, labels)
    with torch.no_grad():
        return int((network(seen).argmax(dim=1) == labels).sum())


def train_reference(cell: Cell, settings: TrainingSettings, images: TensorImages, seed: int) -> torch.nn.Module:
    """Train for all epochs, each of which ends with the accuracies of a training curve, as ours does."""
    count = len(images.train.labels)
    trainer = ReferenceTrainer(cell, settings, settings.epochs * -(-count // settings.batch_size), seed)
    held_out = images.held_out(settings.curve_split)
    for _ in range(settings.epochs):
        for chosen in torch.randperm(count, generator=trainer.draws).split(settings.batch_size):
            trainer.step(images.train.pixels[chosen], images.train.labels[chosen])
        for metric in (Metric("clean_acc"), Metric.of(settings.attack)):
            count_correct(trainer.network, *held_out, metric)
    return trainer.network
