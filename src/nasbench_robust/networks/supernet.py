"""The weight-sharing supernet over the cell space: every edge of a cell is a weighted sum of all five operations.

Source: Liu, Simonyan and Yang, "DARTS", ICLR 2019, on the skeleton and the cell space of NAS-Bench-201 (Dong and Yang,
ICLR 2020). As there, batch normalisation inside the searched cells has no scale and shift, which would undo the weights
of the operations. Pixels come in [0, 1] and normalisation is the first layer, so attacks live in pixel space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..cells import EDGES, OPERATIONS, Cell
from ..datasets import dataset
from ..errors import InvalidValueError
from ..skeletons import Skeleton
from .published import Normalisation, ResidualBlock, draw_parameters, operation

NONE = OPERATIONS.index("none")


class Supernet(nn.Module):
    """The skeleton around mixed cells; maps images in [0, 1] to logits.

    Parameters
    ----------
    skeleton : Skeleton
        Width, depth, classes and image shape.
    mean, std : sequence of float
        Per-channel normalisation of pixels in [0, 1].
    generator : torch.Generator
        Source of the initial weights and of `alpha`.
    groups : tuple of three int
        Which of the searched cells each stage is made of, from 0; (0, 0, 0) is the benchmark's network of equal cells.
    widths : tuple of three int, optional
        Channels of the stages, by default those of the skeleton.

    Attributes
    ----------
    alpha : Parameter, shape (searched cells, 6, 5)
        Architecture parameters: edges in the order of `EDGES`, operations in that of `OPERATIONS`. The weights of an
        edge's operations are the softmax of its row. Initially 0.001 times standard normal draws.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        generator: torch.Generator,
        groups: tuple[int, int, int] = (0, 0, 0),
        widths: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        if sorted(set(groups)) != list(range(len(set(groups)))) or len(groups) != 3:
            raise InvalidValueError("groups", groups, "three numbers of searched cells, counted from 0 without a gap")
        self.skeleton, self.groups = skeleton, groups
        first, middle, last = widths or skeleton.widths
        self.normalise = Normalisation(mean, std)
        self.stem = nn.Sequential(
            nn.Conv2d(skeleton.input_channels, first, 3, padding=1, bias=False), nn.BatchNorm2d(first)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(MixedCell(width) for _ in range(skeleton.cells_per_stage)) for width in (first, middle, last)
        )
        self.reductions = nn.ModuleList((ResidualBlock(first, middle), ResidualBlock(middle, last)))
        self.last_activation = nn.Sequential(nn.BatchNorm2d(last), nn.ReLU())
        self.classifier = nn.Linear(last, skeleton.classes)
        draw_parameters(self, generator)
        draws = torch.randn(len(set(groups)), len(EDGES), len(OPERATIONS), generator=generator)
        self.alpha = nn.Parameter(1e-3 * draws)

    def forward(
        self, images: torch.Tensor, mixture: torch.Tensor | None = None, choice: Sequence[Sequence[int]] | None = None
    ) -> torch.Tensor:
        """Return logits, shape (n, classes), of images in [0, 1], shape (n, channels, size, size).

        Parameters
        ----------
        images : Tensor
        mixture : Tensor of the shape of `alpha`, optional
            Weights of the operations, by default `mixture()`.
        choice : for every searched cell six int, optional
            The one operation of every edge that is computed, with its weight; all others are left out.
        """
        if mixture is None:
            mixture = self.mixture()
        features = self.stem(self.normalise(images))
        for stage, (cells, group) in enumerate(zip(self.stages, self.groups, strict=True)):
            if stage:
                features = self.reductions[stage - 1](features)
            chosen = None if choice is None else choice[group]
            for cell in cells:  # type: ignore[attr-defined]
                features = cell(features, mixture[group], chosen)
        logits: torch.Tensor = self.classifier(self.last_activation(features).mean(dim=(2, 3)))
        return logits

    def mixture(self) -> torch.Tensor:
        """Return the softmax of `alpha` over the operations, which it is differentiable in."""
        return F.softmax(self.alpha, dim=-1)

    def weights(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield name and value of every trained parameter but `alpha`."""
        return ((name, value) for name, value in self.named_parameters() if name != "alpha")

    def cells(self, *, allow_none: bool = True) -> tuple[Cell, ...]:
        """Return the searched cells: on every edge the operation with the largest architecture parameter.

        Parameters
        ----------
        allow_none : bool
            Whether the operation none may be chosen: NAS-Bench-201's convention is that it may, DARTS's that not.

        Raises
        ------
        InvalidValueError
            If an architecture parameter is not finite.
        """
        alpha = self.alpha.detach().clone()
        if not alpha.isfinite().all():
            raise InvalidValueError("alpha", "not finite", "finite numbers: the search diverged, and found no cell")
        if not allow_none:
            alpha[:, :, NONE] = -torch.inf
        return tuple(Cell([OPERATIONS[code] for code in codes]) for codes in alpha.argmax(dim=-1).tolist())


def supernet_for(skeleton: Skeleton, name: str, generator: torch.Generator) -> Supernet:
    """Return the supernet of one shared cell for the data set called `name`, with its normalisation."""
    images = dataset(name)
    return Supernet(skeleton, mean=images.mean, std=images.std, generator=generator)


class MixedCell(nn.Module):
    """One copy of a searched cell: `edges[e][o]` is operation o on edge e; each node sums its weighted edges."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nn.ModuleList(operation(name, channels, affine=False) for name in OPERATIONS) for _ in EDGES
        )

    def forward(
        self, features: torch.Tensor, mixture: torch.Tensor, choice: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Return node 3, given node 0, the weights of the operations, shape (6, 5), and perhaps one per edge."""
        nodes = [features]
        nothing = features * 0.0  # what none gives, so that gradients exist and are zero
        for target in (1, 2, 3):
            total = nothing
            for edge, (source, node) in enumerate(EDGES):
                if node == target:
                    for code in range(len(OPERATIONS)) if choice is None else (choice[edge],):
                        if code != NONE:
                            total = total + mixture[edge, code] * self.edges[edge][code](nodes[source])  # type: ignore[index]
            nodes.append(total)
        return nodes[3]


class Subnetwork(nn.Module):
    """A supernet restricted to given cells, with its shared weights: what one-shot scores are measured on.

    Parameters
    ----------
    supernet : Supernet
        Is not copied.
    cells : sequence of Cell
        One for every searched cell.
    """

    def __init__(self, supernet: Supernet, cells: Sequence[Cell]) -> None:
        super().__init__()
        if len(cells) != len(supernet.alpha):
            raise InvalidValueError("cells", len(cells), f"{len(supernet.alpha)} cell(s), one per searched cell")
        self.supernet = supernet
        self.choice = [[OPERATIONS.index(name) for name in cell.operations] for cell in cells]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits; every chosen operation has the weight 1."""
        logits: torch.Tensor = self.supernet(images, torch.ones_like(self.supernet.alpha), self.choice)
        return logits
