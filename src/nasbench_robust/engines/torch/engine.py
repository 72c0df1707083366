"""torch as an engine: any network, on a CPU or a GPU, by one of the paths through it. Imported without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from ...arrays import Booleans
from ...cells import Cell
from ...images import Images, TensorImages
from ...metrics import Metric
from ...settings import TrainingSettings
from .. import provenance
from ..engine import Trainer as AnyTrainer

if TYPE_CHECKING:
    import torch

    from ..catalogue import EngineRow
    from .training import Trainer


class TorchEngine:
    """`nasbench_robust.engines.engine.Engine` in torch.

    Parameters
    ----------
    row : EngineRow
        Says by which path, and whether a step is one graph.
    """

    def __init__(self, row: EngineRow) -> None:
        self.name: str = row.name
        self._row = row

    def refuses(self, settings: TrainingSettings, device: str) -> str | None:
        """Return what could do this in its place, or None."""
        return f"torch-fast for {device}" if self._row.graph and not device.startswith("cuda") else None

    def affinity(self, settings: TrainingSettings, device: str, threads: int) -> int:
        """Return 1 for the fast path in float32, which is exact and works everywhere, 2 with graphs, for others 0."""
        return 1 + self._row.graph if (self._row.path, self._row.precision) == ("fast", "fp32") else 0

    def load(self, images: Images[Any], device: str) -> TensorImages:
        """Return the images as tensors on the device."""
        return images.to(device)

    def trainer(self, cell: Cell, settings: TrainingSettings, images: Images[Any], seed: int) -> Trainer:
        """Return the training of a cell at its beginning."""
        from . import GraphedTrainer, Trainer

        make = GraphedTrainer if self._row.graph else Trainer
        trainer = make(cell, settings, images, seed, path=self._row.path)
        trainer.tf32 = self._row.precision == "tf32"
        return trainer

    def measure(self, trainer: AnyTrainer, metric: Metric, done: int) -> Iterator[Booleans]:
        """Measure all images of the split; what an interrupted call had done is with the trainer."""
        from ...attacks import repeating
        from . import NetworkTrainer, evaluate, make_generator
        from .playback import played_back

        assert isinstance(trainer, NetworkTrainer)
        images, labels = trainer.images.held_out(metric.split)
        parts: list[torch.Tensor] = list(trainer.kept.get("parts", ()))
        with repeating(played_back) if self._row.graph else nullcontext():
            correct = evaluate(
                trainer.measured(),
                images,
                labels,
                [metric],
                make_generator(trainer.seed, "evaluation", images.device),
                batch_size=trainer.settings.evaluation_batch,
                on_part=lambda _metric, _part, survivors: parts.append(survivors),
                kept=trainer.kept,
            )
        trainer.kept.clear()
        has_parts = metric.attack is not None and metric.attack.name == "autoattack"
        yield np.stack([survivors.cpu().numpy() for survivors in (parts if has_parts else [correct[metric]])])

    def provenance(self, trainer: AnyTrainer) -> dict[str, Any]:
        """Return where and with what the run is made."""
        import torch

        device = trainer.images.test.pixels.device
        on_gpu = device.type == "cuda"
        # What was reserved: between two replays the memory of a graph belongs to no tensor, and to nobody else either.
        peak = torch.cuda.max_memory_reserved(device) / 2**20 if on_gpu else provenance.peak_memory_mib()
        return {"peak_memory_mib": peak, **made_on(device, tf32=self._row.precision == "tf32")}


def made_on(device: torch.device, *, tf32: bool = False) -> dict[str, str]:
    """Return which processor or GPU a device is, and the versions of all that makes a result on it."""
    import torch

    if device.type == "cuda":
        build = "torch {} for sm_{}{}".format(torch.__version__, *torch.cuda.get_device_capability(device))
        cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
        libraries = f"CUDA {torch.version.cuda}, cuDNN {cudnn}, {provenance.gpu_driver()}"
        how = f"float32 {'with TF32 in training' if tf32 else 'as IEEE has it'}, deterministic convolutions"
        return {
            "device": torch.cuda.get_device_name(device),
            "versions": provenance.versions(f"{build}, {libraries}, {how}"),
        }
    # Instructions and threads decide in which order a CPU takes sums.
    build = f"torch {torch.__version__} for {torch.backends.cpu.get_cpu_capability()}"
    versions = provenance.versions(f"{build} with {torch.get_num_threads()} thread(s)")
    return {"device": provenance.processor(), "versions": versions}
