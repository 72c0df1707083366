"""Training on a pretended CUDA device: what it does there, what it must not do, and that faults are found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import StopAt
from pretend_cuda.device import PretendCuda, RuleError

from nasbench_robust.cells import Cell
from nasbench_robust.cli import main
from nasbench_robust.cli.command import guarded
from nasbench_robust.cli.generation import devices
from nasbench_robust.engines import ENGINES, engine_named
from nasbench_robust.engines.torch import Trainer
from nasbench_robust.errors import InvalidValueError, RunInterruptedError
from nasbench_robust.images import TensorImages
from nasbench_robust.networks import PATHS
from nasbench_robust.runs import run_cell
from nasbench_robust.settings import TrainingSettings

CELL = Cell.from_index(9930)
ON_CUDA = [name for name, row in ENGINES.items() if name != "native" and row.precision != "tf32"]


@pytest.mark.parametrize("path", PATHS)
def test_a_step_waits_for_nothing(path: str, device: PretendCuda, few: TensorImages, quick: TrainingSettings) -> None:
    trainer = Trainer(CELL, quick, few, 0, path=path)
    trainer.step()
    with device.at_work():
        trainer.step()


@pytest.mark.parametrize("engine", ON_CUDA)
def test_a_run_that_is_interrupted_is_the_run(
    engine: str, few: TensorImages, quick: TrainingSettings, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    whole = run_cell(CELL, quick, few, 0, engine=engine)
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, quick, few, 0, engine=engine, checkpoint=path, should_stop=StopAt(6))
    assert path.exists()
    again = run_cell(CELL, quick, few, 0, engine=engine, checkpoint=path)
    assert again.curve == whole.curve
    assert all(np.array_equal(outcome, whole.outcomes[metric]) for metric, outcome in again.outcomes.items())
    assert again.row["device"] == "a pretend GPU"
    assert again.row["peak_memory_mib"] == 1
    assert re.search(
        r"torch .* for sm_90, CUDA .*, cuDNN .*, driver .*, float32 .*, deterministic", again.row["versions"]
    )


def test_only_training_by_the_engine_of_that_name_rounds_to_tf32(
    device: PretendCuda, few: TensorImages, quick: TrainingSettings
) -> None:
    engine = engine_named("torch-fast-tf32-graph")
    trainer = engine.trainer(CELL, quick, few, 0)
    with pytest.raises(RuleError, match="rounds to TF32"):
        trainer.step()
    device.tf32 = True
    trainer.step()
    device.tf32 = False
    (_,) = engine.measure(trainer, quick.metrics[0], 0)
    assert "TF32 in training" in engine.provenance(trainer)["versions"]


def test_a_checkpoint_stays_on_its_device(few: TensorImages, quick: TrainingSettings, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with pytest.raises(RunInterruptedError):
        run_cell(CELL, quick, few, 0, engine="torch-fast", checkpoint=path, should_stop=StopAt(6))
    with pytest.raises(InvalidValueError, match="use --device cuda, or remove the file"):
        run_cell(CELL, quick, few.to("cpu"), 0, engine="torch-fast", checkpoint=path)


def test_auto_takes_graphs_and_the_peak_of_memory_is_that_of_a_run(few: TensorImages, quick: TrainingSettings) -> None:
    with mock.patch.object(torch.cuda, "reset_peak_memory_stats") as reset:
        run = run_cell(CELL, replace(quick, epochs=1), few, 0, engine="auto")
    reset.assert_called_once()
    assert run.row["engine"] == "torch-fast-graph"


# ------------------------------------------------------------------ planted faults


class _Waiting(Trainer):
    def _descend(self, chosen: torch.Tensor) -> None:
        super()._descend(chosen)
        self._loss.item()


def test_a_planted_item_is_found(device: PretendCuda, few: TensorImages, quick: TrainingSettings) -> None:
    trainer = _Waiting(CELL, quick, few, 0, path="fast")
    trainer.step()
    with device.at_work(), pytest.raises(RuleError, match="_local_scalar_dense in the middle of a step"):
        trainer.step()


def test_a_planted_generator_of_the_cpu_is_found(
    device: PretendCuda, few: TensorImages, quick: TrainingSettings
) -> None:
    trainer = Trainer(CELL, quick, few, 0)
    trainer.step()
    trainer._draws = torch.Generator()
    with device.at_work(), pytest.raises(RuleError, match="a copy to the device in the middle of a step"):
        trainer.step()
    for place, other in (("cuda", "cpu"), ("cpu", "cuda")):
        with pytest.raises(RuleError, match="a generator of another device than the tensor"):
            torch.empty(3, device=place).uniform_(generator=torch.Generator(other))
    with pytest.raises(RuleError, match="a generator that nobody seeded"):
        torch.rand(3, device="cuda")


def test_a_planted_mix_of_devices_is_found(few: TensorImages, quick: TrainingSettings) -> None:
    trainer = Trainer(CELL, quick, few, 0)
    trainer.network.classifier.bias = torch.nn.Parameter(trainer.network.classifier.bias.detach().cpu())
    with pytest.raises(RuleError, match="tensors on cuda and on the CPU"):
        trainer.step()


@pytest.mark.parametrize(
    "work", [lambda x: x[x > 0], lambda x: x.nonzero(), torch.Tensor.cpu, lambda x: x[[0, 0]], float, torch.Tensor.sum]
)
def test_what_makes_the_host_wait_is_counted(work: Callable, device: PretendCuda) -> None:
    work(torch.ones(1, device="cuda").expand(2)[:1])
    assert sum(device.waits.values()) == (work is not torch.Tensor.sum)


def test_workers_are_spread_over_the_gpus(device: PretendCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices("cuda") == ["cuda:0", "cuda:1"]
    assert devices("cuda:1") == devices("cpu") == []


def test_another_gpu_than_those_there_are_is_one_sentence(device: PretendCuda, tmp_path: Path, capsys) -> None:
    assert main(["train", "--index", "3", "--out", str(tmp_path), "--device", "cuda:1"]) == 2
    assert "device is 'cuda:1', expected one of the 1 CUDA devices here, from cuda:0" in capsys.readouterr().err


def test_what_a_gpu_says_is_one_sentence(capsys) -> None:
    def fail(text: str) -> int:
        raise torch.OutOfMemoryError(text)

    text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.\nSet PYTORCH_ALLOC_CONF"
    assert guarded("train", lambda: fail(text), "results") == 2
    assert capsys.readouterr().err == "train: results: the GPU failed: CUDA out of memory\n"
    with pytest.raises(RuntimeError, match="of another kind"):
        guarded("train", lambda: fail("of another kind"))
