"""What tests of attacks share: networks whose radii are known, and the authors' AutoAttack beside this package's."""

from __future__ import annotations

import math
from types import ModuleType

import torch
from helpers import seeded

from nasbench_robust.images import TensorImages

Batch = tuple[torch.Tensor, torch.Tensor]


class Linear(torch.nn.Module):
    """Logits W (x - 0.5): the distance to every boundary is known."""

    def __init__(self, classes: int, pixels: int = 16) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(classes, pixels, generator=seeded(7), dtype=torch.float64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.flatten(1) - 0.5) @ self.weight.T

    def case(self, count: int = 40, norm: str = "Linf") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return images far from black and white, their predicted labels, and their robust radii in a norm."""
        images = 0.4 + 0.2 * torch.rand(count, 1, 4, 4, generator=seeded(8), dtype=torch.float64)
        with torch.no_grad():
            logits = self(images)
            labels = logits.argmax(dim=1)
            gaps = logits.gather(1, labels[:, None]) - logits
            slopes = (self.weight[labels][:, None] - self.weight).norm(1 if norm == "Linf" else 2, dim=2)
            ratios = (gaps / slopes).scatter(1, labels[:, None], torch.inf)
        return images, labels, ratios.amin(dim=1)


def wrong(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network(images).argmax(dim=1) != labels


def right_ones(network: torch.nn.Module, digits: TensorImages, count: int) -> Batch:
    right = (~wrong(network, digits.test.pixels, digits.test.labels)).nonzero()[:count, 0]
    return digits.test.pixels[right], digits.test.labels[right]


def authors_part(
    authors: ModuleType,
    name: str,
    network: torch.nn.Module,
    batch: Batch,
    eps: float,
    steps: int,
    norm: str = "Linf",
    queries: int = 5000,
) -> torch.Tensor:
    """Return which images withstand one part of the authors' AutoAttack."""
    attack = authors.AutoAttack(network, eps=eps, version="standard", device="cpu", seed=0, norm=norm)
    attack.square.n_queries, attack.square.rescale_schedule = queries, queries != 5000
    for part in (attack.apgd, attack.apgd_targeted, attack.fab):
        part.n_iter = steps
    attack.attacks_to_run = [name]
    found = attack.run_standard_evaluation(*batch, batch_size=1000)[0]
    return ~wrong(network, found, batch[1])


def assert_same_up_to_chance(one: torch.Tensor, other: torch.Tensor, share: float = 1 / 20) -> None:
    """Compare outcomes of two randomised attacks on the same images.

    If both break every image with the same probability, the difference of their counts has a variance of at most the
    number of images on which they disagree: three standard errors are allowed, and disagreement on a share of images.
    """
    disagree = int((one != other).sum())
    assert disagree <= math.ceil(len(one) * share)
    assert abs(int(one.sum()) - int(other.sum())) <= 3 * math.sqrt(disagree)
