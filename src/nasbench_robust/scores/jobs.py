"""Scoring cells as units of work. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..cells import Cell
from ..engines import processor
from ..runs import Unit, find_missing
from ..table import shard_name
from .scoring import Scored, score_cell
from .settings import ScoreSettings
from .tables import FOLDER, write_scores


@dataclass(frozen=True)
class ScoreJob:
    """Scores of cells as a `nasbench_robust.runs.Job`; units are cells and initial seeds.

    Attributes
    ----------
    settings : ScoreSettings
    images, labels : Tensor
        From `chosen_images`.
    engine : str
        As for `ntk.ntk`.
    """

    settings: ScoreSettings
    images: torch.Tensor
    labels: torch.Tensor
    engine: str = "auto"

    @property
    def epochs(self) -> int:
        """One: a cell is scored at once."""
        return 1

    def name(self, unit: Unit) -> str:
        """Return the name of the cell's shard."""
        return shard_name(self.settings, Cell.from_index(unit.index).representative, unit.seed)

    def label(self, unit: Unit) -> str:
        """Return what a unit is called where it is reported."""
        return f"cell {unit.index}, seed {unit.seed}"

    def is_done(self, folder: Path, unit: Unit) -> bool:
        """Return whether the folder holds the scores already."""
        representative = Cell.from_index(unit.index).representative
        return not find_missing(folder, self.settings, [Unit(representative, unit.seed)], FOLDER)

    def run(
        self, unit: Unit, checkpoint: Path, progress: Callable[[Any], None], should_stop: Callable[[], bool]
    ) -> list[Scored]:
        """Score a cell; it takes seconds, so it is not stopped in between."""
        return score_cell(Cell.from_index(unit.index), self.settings, self.images, self.labels, unit.seed, self.engine)

    def write(self, unit: Unit, result: list[Scored], folder: Path) -> Path:
        """Write the cell's shard."""
        representative = Cell.from_index(unit.index).representative
        device = torch.cuda.get_device_name(self.images.device) if self.images.is_cuda else processor()
        return write_scores(result, self.settings, representative, unit.seed, folder, device)

    def summary(self, result: list[Scored]) -> str:
        """Return how many scores there are, and how many could not be computed."""
        failed = sum(row.value is None for row in result)
        return f"{len(result)} scores" + (f", {failed} of them without a value" if failed else "")
