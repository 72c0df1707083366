"""Who starts long work watches it: the work asks whether to stop, and tells how far it is, wherever it can.

What is called deep inside, a pass of an attack through a network for instance, needs no argument for that: the watch
belongs to the thread, or task, that does the work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from ..errors import RunInterruptedError


@dataclass(frozen=True)
class Step:
    """How far a part of a run is: `done` of `total` steps, batches, images or parts of what is named."""

    what: str
    done: int
    total: int


@dataclass
class _Watch:
    should_stop: Callable[[], bool] | None
    tell: Callable[[Step], None] | None
    last: Step | None = None


_watch: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextlib.contextmanager
def watching(
    should_stop: Callable[[], bool] | None = None, tell: Callable[[Step], None] | None = None
) -> Iterator[None]:
    """Watch the work that is done in a ``with`` block; what is not given is left to the watch around this one.

    Parameters
    ----------
    should_stop : callable, optional
        Asked between any two passes through a network that is measured, scored or searched; when it says yes, the work
        ends with `RunInterruptedError`.
    tell : callable, optional
        Called with a `Step` as the work goes on, and in the middle of a long one with the same again.
    """
    around = _watch.get() or _Watch(None, None)
    token = _watch.set(_Watch(should_stop or around.should_stop, tell or around.tell))
    try:
        yield
    finally:
        _watch.reset(token)


def stop_if_asked(*_: object) -> None:
    """Raise `RunInterruptedError` if the watch says so; what is given, as to a hook of torch, is not looked at."""
    watch = _watch.get()
    if watch is None:
        return
    if watch.tell is not None and watch.last is not None:
        watch.tell(watch.last)
    if watch.should_stop is not None and watch.should_stop():
        raise RunInterruptedError("stopped on request")


def tell(step: Step) -> None:
    """Tell the watch how far the work is."""
    watch = _watch.get()
    if watch is not None and watch.tell is not None:
        watch.last = step
        watch.tell(step)
