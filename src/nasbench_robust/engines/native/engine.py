"""The native engine as an engine: small networks on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...arrays import Booleans
from ...cells import Cell
from ...images import ArrayImages, Images
from ...metrics import Attack, Metric
from ...native import build_name, is_available
from ...settings import TrainingSettings
from .. import provenance
from ..draws import Draws
from ..engine import Trainer
from .evaluation import measure, runs_attack
from .training import NativeTrainer

LARGEST = 32  # pixels along a side of the images that "auto" gives to this engine: so far it was compared with torch
# Raised whenever numbers of networks of any size can change in the last bit: runs are not taken up from older ones.
# 2: Winograd's convolutions from 16 channels on.
GENERATION = 2


class NativeEngine:
    """`nasbench_robust.engines.engine.Engine` in C++."""

    def __init__(self, row: Any) -> None:
        self.name: str = row.name

    def refuses(self, settings: TrainingSettings, device: str) -> str | None:
        """Return what could do this in its place, or None."""
        attacks = (settings.attack, *settings.evaluation)
        if settings.skeleton.classes < 4 and any(attack.name == "autoattack" for attack in attacks):
            return f"torch for AutoAttack on {settings.skeleton.classes} classes"
        foreign = [f"{attack.norm} {attack.name}{_rules(attack)}" for attack in attacks if not runs_attack(attack)]
        return f"torch for {', '.join(foreign) or device}" if foreign or device != "cpu" else None

    def affinity(self, settings: TrainingSettings, device: str, threads: int) -> int:
        """Return 2 for images of the sizes that it was made for, else 0; -1 where it was not built."""
        if not is_available():
            return -1
        return 2 if settings.skeleton.image_size <= LARGEST else 0

    def load(self, images: Images[Any], device: str) -> ArrayImages:
        """Return the images as arrays."""
        return images.arrays()

    def trainer(self, cell: Cell, settings: TrainingSettings, images: Images[Any], seed: int) -> NativeTrainer:
        """Return the training of a cell at its beginning."""
        return NativeTrainer(cell, settings, images, seed)

    def measure(self, trainer: Trainer, metric: Metric, done: int) -> Iterator[Booleans]:
        """Measure some hundreds of images at a time."""
        assert isinstance(trainer, NativeTrainer)
        return measure(trainer.network, trainer.images, metric, Draws(trainer.seed, "evaluation"), done)

    def provenance(self, trainer: Trainer) -> dict[str, Any]:
        """Return where and with what the run is made."""
        return {
            "peak_memory_mib": provenance.peak_memory_mib(),
            "device": provenance.processor(),
            "versions": provenance.versions(f"native engine {GENERATION} for {build_name()}"),
        }


def _rules(attack: Attack) -> str:
    """Return what an AutoAttack has that the engine's does not."""
    rules = [f"{attack.targets} targets"] if attack.targets not in (None, 9) else []
    rules += [f"the checkpoints {attack.checkpoints!r}"] if attack.checkpoints == "programs" else []
    return f" with {' and '.join(rules)}" if rules else ""
