"""Peers of the engine answer what it answers."""

from __future__ import annotations

import numpy as np
import pytest

from nasbench_robust import native


@pytest.mark.skipif(not native.is_available(), reason="the native engine was not built")
def test_kernels_of_peers_are_ours(load_program):
    program = load_program("benchmarks/side_by_side")
    row = load_program("benchmarks/table_engine").kernel_row("light", images=4)
    assert {"ours", "torch.func"} <= set(row.sides)
    assert {"ours", "torch.func"} <= set(program.measure(row, 1))  # or they answer otherwise


def test_logits_of_jax_are_those_of_the_network(load_program):
    pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    peer = load_program("benchmarks/jax_peer")
    network = load_program("benchmarks/table_engine").network_of("medium", "digits")
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    weights, normalise = peer.folded(*peer.arrays_of(network))
    found = peer.logits_of(network)(weights, images.numpy().transpose(1, 2, 3, 0), normalise)
    np.testing.assert_allclose(found, network(images).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("answer", "apart", "agrees"), [(1.0, 0.0, False), (1.02, 0.0, True), (1.0, 0.05, True), (0.9, 0.05, False)]
)
def test_sides_agree_up_to_a_share_of_the_largest(load_program, answer, apart, agrees):
    agree = load_program("benchmarks/side_by_side").agree
    assert agree(np.array([answer, 0.0]), np.array([1.02, 0.0]), apart) == agrees
