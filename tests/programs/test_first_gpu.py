"""The program for the first minutes on a GPU: on this CPU, on a pretended GPU, and with a part that fails."""

from __future__ import annotations

import time

import first_gpu
import pytest
import torch
from pretend_cuda.device import installed


def rows(text: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_every_part_runs_on_a_cpu(call, tmp_path) -> None:
    out = tmp_path / "table.md"
    done = call("first_gpu", "--quick", "--out", out)
    assert (done.code, done.out) == (0, out.read_text())
    assert {row[0] for row in rows(done.out)[1:]} == {part.__name__ for part in first_gpu.PARTS}
    assert "**failed**" not in done.out


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch has a CUDA of its own")
def test_steps_and_graphs_run_on_a_pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that do else on a GPU than on a CPU, but for the profiler, which knows what torch was built for."""
    parts = first_gpu.machine, first_gpu.waiting, first_gpu.repeats, first_gpu.measuring, first_gpu.freedom
    monkeypatch.setattr(first_gpu, "PARTS", (*parts, first_gpu.beside))
    with installed(monkeypatch) as device:
        device.tf32 = None
        plan = first_gpu.quick(first_gpu.Plan("cuda", None, time.monotonic() + 600))
        found = rows("\n".join(first_gpu.table(plan)))
    assert [row for row in found if "**failed**" in row] == []
    assert [row[2] for row in found if row[1].endswith("the graph was taken")] == ["True"] * len(plan.graphs)
    assert [row[2] for row in found if row[1].endswith("largest difference")] == ["0.0"] * (len(plan.engines) + 3)
    assert [row[2] for row in found if "sets otherwise" in row[1]] == ["0"]


def test_a_part_that_fails_and_one_without_time_are_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object):
        yield "a number", 3
        raise RuntimeError("a driver | of two\nlines")

    plan = first_gpu.Plan("cpu", None, time.monotonic() + 600)
    monkeypatch.setattr(first_gpu, "PARTS", (broken, first_gpu.cifar10))
    text = "\n".join(first_gpu.table(plan))
    assert "| broken | **failed** | RuntimeError: a driver / of two lines |" in text
    assert "| cifar10 | light cell | left out: no --data-root |" in text
    late = first_gpu.Plan("cpu", None, time.monotonic() - 1)
    assert "| broken | | no time left |" in "\n".join(first_gpu.table(late))
