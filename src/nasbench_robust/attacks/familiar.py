"""Attacks as users of torchattacks and of RobustBench call them, by the attacks of this package."""

from __future__ import annotations

import os

import torch

from ..checks import integer, kind
from ..checks import seed as checked_seed
from ..datasets import dataset as dataset_of
from ..images import load_images
from ..metrics import Attack, autoattack
from ._autoattack import autoattack as attack_fully
from .dispatch import perturb


class Attacker:
    """A network under an attack, as torchattacks has them: ``attack(images, labels)`` returns adversarial images.

    Parameters
    ----------
    network : torch.nn.Module
        Maps pixels in [0, 1] to logits; attacked in eval mode, and left in the mode that it was in.
    attack : Attack
        From `nasbench_robust.metrics`: ``pgd(8 / 255)``, ``autoattack(8 / 255)``.
    seed : int
        Of the generator that draws starts and directions; calls go on drawing where the last one ended.
    batch_size : int
        As in `perturb`.

    Examples
    --------
    >>> adversarial = Attacker(network, metrics.pgd(8 / 255))(images, labels)  # doctest: +SKIP
    """

    def __init__(self, network: torch.nn.Module, attack: Attack, *, seed: int = 0, batch_size: int = 1000) -> None:
        self.network: torch.nn.Module = kind(torch.nn.Module)("network", network)
        self.attack: Attack = kind(Attack)("attack", attack)
        self.batch_size = integer(1)("batch_size", batch_size)
        self.generator = torch.Generator().manual_seed(checked_seed("seed", seed))

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return adversarial images, of the shape of `images`; parameters and errors are those of `perturb`."""
        return perturb(self.network, images, labels, self.attack, self.generator, batch_size=self.batch_size)

    def __repr__(self) -> str:
        return f"Attacker({type(self.network).__name__}, {self.attack})"


def benchmark(
    model: torch.nn.Module,
    n_examples: int | None = None,
    dataset: str = "cifar10",
    *,
    eps: float | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    batch_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return clean and robust accuracy of a network, by AutoAttack in L-infinity, as RobustBench's ``benchmark`` does.

    The attack is the authors' protocol, `metrics.autoattack`; images go to the device of the model.

    Parameters
    ----------
    model : torch.nn.Module
        Maps pixels in [0, 1] to logits: normalisation is a part of it.
    n_examples : int, optional
        The first so many test images; all by default.
    dataset : str
        As in `images.load_images`.
    eps : float, optional
        Radius in pixels of [0, 1]; by default the data set's own, 8/255 on natural images.
    data_dir : path, optional
        Where the images are, as ``root`` of `images.load_images`.
    batch_size : int
        Images that pass through the network at a time.
    seed : int
        Of the generator that draws what the attack draws.

    Returns
    -------
    tuple of two float
        In [0, 1].

    Raises
    ------
    InvalidValueError, UnknownNameError, MissingDataError
        If an argument is out of its range, or the images are not there.
    """
    kind(torch.nn.Module)("model", model)
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    test = load_images(dataset, device, data_dir).test
    count = len(test.pixels) if n_examples is None else integer(1, len(test.pixels))("n_examples", n_examples)
    attack = autoattack(dataset_of(dataset).eps if eps is None else eps)
    generator = torch.Generator().manual_seed(checked_seed("seed", seed))
    pixels, labels = test.pixels[:count], test.labels[:count]
    found = attack_fully(model, pixels, labels, attack, generator, batch_size=batch_size, keep_images=False)
    return found.accuracies["clean"], found.accuracies["square"]
