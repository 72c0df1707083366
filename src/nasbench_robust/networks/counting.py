"""Counting what torch does: floating-point operations, bytes and launches."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what runs inside a ``with`` block, gradients included; views count nothing.

    torch's own ``FlopCounterMode`` follows modules by hooks and fails where gradients are taken with respect to images.

    Attributes
    ----------
    flops : int
        Multiplications and additions of convolutions and of products of matrices.
    bytes : int
        Of the tensors that operations read and write, as if there were no caches.
    launches : int
        Operations.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops, self.bytes, self.launches = 0, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket is not torch.ops.aten.detach:
            count = flop_registry.get(func.overloadpacket)
            self.flops += count(*args, **(kwargs or {}), out_val=result) if count else 0
            self.bytes += sum(map(_size, (*args, *(kwargs or {}).values(), result)))
            self.launches += 1
        return result


def _size(value: Any) -> int:
    """Return the bytes of a tensor, or of all in a list; 0 for anything else."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_size, value)) if isinstance(value, (list, tuple)) else 0
