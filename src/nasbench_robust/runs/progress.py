"""How far work is, for people: a bar on a terminal; in a log a line at every epoch, and at least one a minute."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..engines import Step

LINE_SECONDS = 60.0
# Set for processes whose progress is shown by the one that started them.
QUIET_VARIABLE = "NASBENCH_ROBUST_QUIET"


def is_quiet() -> bool:
    """Return whether another process shows how far this one is."""
    return QUIET_VARIABLE in os.environ


@contextlib.contextmanager
def unit_progress(epochs: int, label: str) -> Iterator[Callable[[Any], None]]:
    """Show how far a unit of work is; what is yielded takes every epoch as it ends, and every `Step` between."""
    if is_quiet():
        yield lambda _: None
        return
    bar = _bar(total=epochs, desc=label, unit="epoch")
    if bar is None:
        yield _lines(epochs, label)
        return
    with bar:

        def show(event: Any) -> None:
            if isinstance(event, Step):
                bar.set_postfix_str(_of(event))
                return
            bar.set_postfix_str(_numbers(event))
            bar.update(event.epoch - bar.n)

        yield show


def _lines(epochs: int, label: str) -> Callable[[Any], None]:
    start = last = time.monotonic()
    first: int | None = None

    def show(event: Any) -> None:
        nonlocal last, first
        now = time.monotonic()
        if isinstance(event, Step):
            if now - last < LINE_SECONDS:
                return
            line = _of(event)
        else:
            first = event.epoch - 1 if first is None else first  # of a run that goes on from a checkpoint
            left = (now - start) / (event.epoch - first) * (epochs - event.epoch)
            line = f"epoch {event.epoch} of {epochs}, {_numbers(event)}, about {duration(left)} left"
        last = now
        _write(f"{label}: {line}")

    return show


@contextlib.contextmanager
def total_progress(total: int, there: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show how much of a whole is there, and the time left; what is yielded takes how much is there by now."""
    bar = _bar(total=total, initial=there, unit=f" {what}", smoothing=0)
    if bar is not None:
        with bar:
            yield lambda done: bar.update(done - bar.n)
        return
    start = last = time.monotonic()

    def show(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_SECONDS:
            return
        last = now
        left = f", about {duration((now - start) / (done - there) * (total - done))} left" if done > there else ""
        _write(f"{done} of {total} {what}{left}")

    yield show


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _bar(**options: Any) -> Any:
    """Return a bar, or None where there is no terminal or no tqdm."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(**options)


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _of(step: Step) -> str:
    return f"{step.what}, {step.done} of {step.total}"


def _numbers(epoch: Any) -> str:
    """Return what an epoch, of a training or a search, says of itself."""
    shown = {"loss": epoch.train_loss}
    if hasattr(epoch, "pgd_acc"):
        shown |= {"clean": epoch.clean_acc, "pgd": epoch.pgd_acc}
    return ", ".join(f"{name} {value:.3f}" for name, value in shown.items())
