"""How a GPU computes float32: pinned inside, as it was outside, whatever the version of torch calls it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nasbench_robust.images import pinned_float32

cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
needs_names = pytest.mark.skipif(not hasattr(cudnn, "conv"), reason="this torch has the older names alone")


@pytest.fixture(autouse=True)
def with_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CUDA counts as begun, and the switches, which a CPU has too, are set back."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    before = cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic, cudnn.benchmark
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


def switches() -> tuple[Any, ...]:
    return cudnn.conv.fp32_precision, products.fp32_precision, cudnn.deterministic, cudnn.benchmark


@needs_names
@pytest.mark.parametrize("rounds", [False, True])
def test_all_is_as_it_was_afterwards(rounds: bool) -> None:
    cudnn.allow_tf32 = products.allow_tf32 = rounds
    cudnn.benchmark = True
    outside = switches()
    with pinned_float32():
        assert switches() == ("ieee", "ieee", True, False)
        with pinned_float32(tf32=True):
            assert switches() == ("tf32", "tf32", True, False)
        assert switches() == ("ieee", "ieee", True, False)
    assert switches() == outside
    with pytest.raises(ZeroDivisionError):
        pinned_float32()(lambda: 1 / 0)()
    assert switches() == outside
    assert (cudnn.allow_tf32, products.allow_tf32) == (rounds, rounds)


def test_older_versions_are_set_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def switches(**more: Any) -> SimpleNamespace:
        return SimpleNamespace(allow_tf32=True, **more)

    old = SimpleNamespace(cudnn=switches(deterministic=False, benchmark=True), cuda=SimpleNamespace(matmul=switches()))
    monkeypatch.setattr(torch, "backends", old)
    with pinned_float32():
        assert vars(old.cudnn) == {"allow_tf32": False, "deterministic": True, "benchmark": False}
        assert vars(old.cuda.matmul) == {"allow_tf32": False}
    assert vars(old.cudnn) == {"allow_tf32": True, "deterministic": False, "benchmark": True}


@needs_names
def test_without_cuda_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    outside = switches()
    with pinned_float32():
        assert switches() == outside
