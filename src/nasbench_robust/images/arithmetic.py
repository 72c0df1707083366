"""How a GPU computes float32: as IEEE says, and the same way every time. No torch unless it is there already."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def pinned_float32(*, tf32: bool = False) -> Iterator[None]:
    """Let CUDA compute float32 as IEEE says in a ``with`` block, or in a function that this decorates.

    Left alone, cuDNN rounds the operands of convolutions to the ten bits of TF32, and may choose algorithms by their
    times, or such as take sums in another order at every call. Afterwards all is set as it was. On a CPU there is
    nothing to set.

    Parameters
    ----------
    tf32 : bool
        Round operands to TF32 all the same.
    """
    torch = sys.modules.get("torch")
    wanted = _switches(torch.backends, tf32) if torch is not None and torch.cuda.is_initialized() else []
    before = [getattr(place, name) for place, name, _ in wanted]
    try:
        for place, name, value in wanted:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(wanted, before, strict=True):
            setattr(place, name, value)


def _switches(backends: Any, tf32: bool) -> list[tuple[Any, str, Any]]:
    """Return what is to be set: where, its name, and to what."""
    cudnn, products = backends.cudnn, backends.cuda.matmul
    always = [(cudnn, "deterministic", True), (cudnn, "benchmark", False)]
    if hasattr(cudnn, "conv"):  # from torch 2.9 on, where the older names must not be mixed with these
        name, value = "fp32_precision", "tf32" if tf32 else "ieee"
        return [(cudnn.conv, name, value), (products, name, value), *always]
    return [(cudnn, "allow_tf32", tf32), (products, "allow_tf32", tf32), *always]
