"""What can be searched in one supernet: the benchmark's cell, two such cells, or ARNAS's own space."""

from __future__ import annotations

from typing import Any

import torch

from ...datasets import dataset
from ...networks import Supernet, supernet_for
from ..arnas import ArnasSupernet
from .settings import SearchSettings


def make_supernet(settings: SearchSettings, generator: torch.Generator) -> Supernet | ArnasSupernet:
    """Return the supernet of the settings' space.

    Parameters
    ----------
    settings : SearchSettings
        ``space="cell"``: one shared cell, the same in all stages. ``"two-cells"``: one in stages 1 and 2 and one in
        stage 3, widths C, 2C and 2C, after ARNAS. ``"arnas"``: ARNAS's own space with as many cells in a stage as the
        skeleton has, and the two Reduction cells.
    generator : torch.Generator
        Source of the initial weights.
    """
    skeleton, channels = settings.skeleton, settings.skeleton.channels
    if settings.space == "cell":
        return supernet_for(skeleton, settings.dataset, generator)
    if settings.space == "arnas":
        layers = 3 * skeleton.cells_per_stage + 2
        return ArnasSupernet(settings.dataset, channels=channels, layers=layers, generator=generator)
    images, widths = dataset(settings.dataset), (channels, 2 * channels, 2 * channels)
    options: dict[str, Any] = {"mean": images.mean, "std": images.std, "groups": (0, 0, 1), "widths": widths}
    return Supernet(skeleton, generator=generator, **options)


def describe_found(supernet: Supernet | ArnasSupernet) -> dict[str, Any]:
    """Return what the architecture parameters stand for, as plain values.

    ``argmax`` and ``argmax_without_none`` hold an index per searched cell, with and without the operation none allowed;
    in ARNAS's space ``genotype`` is `Genotype.to_dict`.
    """
    if isinstance(supernet, ArnasSupernet):
        return {"genotype": supernet.genotype().to_dict()}
    return {
        "argmax": [cell.index for cell in supernet.cells()],
        "argmax_without_none": [cell.index for cell in supernet.cells(allow_none=False)],
    }
