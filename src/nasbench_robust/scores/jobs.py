"""Scoring cells as units of work. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..arrays import Record
from ..cells import Cell
from ..engines import processor, watching
from ..ntk import Scored
from ..runs import Unit
from ..table import shard_name
from .keys import ScoreKey
from .scoring import score_cell
from .settings import ScoreSettings
from .shards import missing_scores, write_scores
from .tables import Units


@dataclass(frozen=True, eq=False, repr=False)
class ScoreJob(Record):
    """Scores of cells as a `nasbench_robust.runs.Job`; units are cells and initial seeds.

    Attributes
    ----------
    settings : ScoreSettings
    folder : Path
        Of the shards.
    images, labels : Tensor
        From `chosen_images`.
    engine : str
        As for `ntk.ntk`.
    there : dict
        Scores that a table has already, from `scored_units`; they are not made again.
    """

    settings: ScoreSettings
    folder: Path
    images: torch.Tensor
    labels: torch.Tensor
    engine: str = "auto"
    there: Units = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """One: a cell is scored at once."""
        return 1

    def name(self, unit: Unit) -> str:
        """Return the name of the cell's shard."""
        return shard_name(self.settings, *_row(unit))

    def label(self, unit: Unit) -> str:
        """Return what a unit is called where it is reported."""
        return f"cell {unit.index}, seed {unit.seed}"

    def is_done(self, unit: Unit) -> bool:
        """Return whether the folder, or the table, holds the scores already."""
        return not self._missing(unit)

    def _missing(self, unit: Unit) -> list[ScoreKey]:
        return missing_scores(self.folder, self.settings, *_row(unit), self.there)

    def run(
        self, unit: Unit, checkpoint: Path, progress: Callable[[Any], None], should_stop: Callable[[], bool]
    ) -> list[Scored]:
        """Make what a cell lacks; a stop is between two kernels or proxies, and what was made is lost: some seconds."""
        cell, wanted = Cell.from_index(unit.index), self._missing(unit)
        with watching(should_stop):
            return score_cell(cell, self.settings, self.images, self.labels, unit.seed, self.engine, wanted)

    def write(self, unit: Unit, result: list[Scored]) -> Path:
        """Write the cell's shard, or add to it."""
        device = torch.cuda.get_device_name(self.images.device) if self.images.is_cuda else processor()
        return write_scores(result, self.settings, *_row(unit), self.folder, device)

    def summary(self, result: list[Scored]) -> str:
        """Return how many scores there are, and how many could not be computed."""
        failed = sum(row.value is None for row in result)
        return f"{len(result)} scores" + (f", {failed} of them without a value" if failed else "")


def _row(unit: Unit) -> tuple[int, int]:
    """Return the index and seed that a unit's scores have: those of its representative."""
    return Cell.from_index(unit.index).representative, unit.seed
