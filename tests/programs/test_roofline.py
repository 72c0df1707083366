"""The program that counts what a training step does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nasbench_robust import native
from nasbench_robust.networks import OperationCounter


def test_counts_of_one_convolution_and_its_gradients():
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    weights = torch.rand(5, 3, 3, 3, requires_grad=True)
    forward = 2 * 2 * 5 * 8 * 8 * 3 * 9  # a multiplication and an addition per image, output, input and tap
    with OperationCounter() as counter:
        features = F.conv2d(images, weights, padding=1)
    assert (counter.flops, counter.launches) == (forward, 1)
    assert counter.bytes == 4 * (2 * 3 * 64 + 5 * 27 + 2 * 5 * 64)
    with OperationCounter() as counter:
        torch.autograd.grad(features, (images, weights), torch.ones_like(features))
    assert counter.flops == 2 * forward
    with OperationCounter() as counter:
        images.view(6, 64).relu()
    assert counter.launches == 1  # a view is none
    assert counter.bytes == 2 * 4 * 2 * 3 * 64


def test_rows_say_that_the_fast_path_launches_less(call, tmp_path):
    out = tmp_path / "roofline.md"
    options = ["--dataset", "digits", "--batch-size", 8, "--repeats", 2, "--cells", "medium", "--out", out]
    assert call("roofline", *options).out == out.read_text()
    rows = [line.strip("| ").split(" | ") for line in out.read_text().splitlines() if line.startswith("| medium")]
    assert [row[1] for row in rows[:3]] == ["plain", "fast", "fast-bf16"]
    assert int(rows[1][4]) < int(rows[0][4])
    assert [row[1:4] for row in rows[3:]] == ([["native", rows[0][2], ""]] if native.is_available() else [])
    assert all(len(row) == len(rows[0]) for row in rows)
    assert all(float(row[5]) < float(row[7]) for row in rows)  # nothing is faster than the ceiling


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize(("option", "message"), [(("--device", "cuda"), "no CUDA"), (("--repeats", "0"), "positive")])
def test_faults_are_named(call, option, message):
    done = call("roofline", *option)
    assert done.code == 2
    assert message in done.err
