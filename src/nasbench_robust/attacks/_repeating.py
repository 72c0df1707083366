"""Work that an attack does thousands of times on the same tensors: whoever measures may say how it is to be repeated.

An engine plays it back as a CUDA graph, for instance. Who says nothing gets the work as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

Work: TypeAlias = Callable[[], None]
Repeater: TypeAlias = "Callable[[Work, Sequence[Sequence[torch.Tensor]]], Work]"

_repeater: ContextVar[Repeater | None] = ContextVar("repeater", default=None)


@contextlib.contextmanager
def repeating(repeater: Repeater) -> Iterator[None]:
    """Let attacks in a ``with`` block repeat their work by what `repeater` makes of it.

    Parameters
    ----------
    repeater : callable
        Takes work, a function without arguments that reads and writes tensors which keep their places and nothing of
        the host, and lists of all tensors that it changes, in the last one those that say least of what was done.
        Returns a function that does the same.
    """
    token = _repeater.set(repeater)
    try:
        yield
    finally:
        _repeater.reset(token)


def repeater() -> Repeater | None:
    """Return what makes work repeatable here, if somebody said so."""
    return _repeater.get()
