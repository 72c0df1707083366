"""Work on a CUDA device that is done many times, played back as one CUDA graph: one launch, not thousands."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeAlias

import torch

from ..watch import stop_if_asked, watching

log = logging.getLogger(__name__)

# How far what a graph does may lie from the same without it, in lengths of what it does. Rounding is far below, and
# other draws, images or learning rates are far above.
CLOSE = 0.1

Replay: TypeAlias = Callable[[], None]
Tensors: TypeAlias = Sequence[Sequence[torch.Tensor]]


def capture(work: Replay, draws: torch.Generator, stream: torch.cuda.Stream) -> Replay:
    """Record what a function launches on a CUDA device, without running it; return what runs it.

    Parameters
    ----------
    work : callable
        Reads and writes tensors that keep their places, and nothing of the host.
    draws : torch.Generator
        Of that device; every replay draws from it anew.
    stream : torch.cuda.Stream
        Of that device, on which the function ran before.
    """
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(draws)
    # The stream is entered here too: torch's own context does not leave it where a capture fails. Nobody is asked
    # whether to stop: who says yes may read from the device, which would end the capture.
    with (
        watching(lambda: False),
        torch.cuda.device(draws.device),
        torch.cuda.stream(stream),
        torch.cuda.graph(graph, stream=stream),
    ):
        work()
    replay: Replay = graph.replay
    return replay


class Playback:
    """Work that is done one operation at a time at first, and then as one CUDA graph.

    The first time of the graph is compared with the same without it. Where the graph cannot be captured or does
    something else, a warning says why, and the work goes on without.

    Parameters
    ----------
    what : str
        What warnings call it: ``"a step"``.
    draws : torch.Generator
        Of the device.
    warm_up : int
        Times without a graph before one is captured: libraries choose algorithms and allocate then.

    Attributes
    ----------
    draws : torch.Generator
        Which is another one, in the same state, after a capture that failed.
    is_played : bool or None
        Whether the work is a graph; None while that is not decided.
    """

    def __init__(self, what: str, draws: torch.Generator, warm_up: int) -> None:
        self.draws = draws
        self.is_played: bool | None = None
        self._what, self._left = what, warm_up
        self._replay: Replay | None = None

    @cached_property
    def _stream(self) -> torch.cuda.Stream:
        """The stream of the capture and of the times before it."""
        return torch.cuda.Stream(self.draws.device)  # type: ignore[no-untyped-call]

    def __call__(self, work: Callable[[torch.Generator], None], state: Callable[[], Tensors]) -> None:
        """Do the work once.

        Parameters
        ----------
        work : callable
            Takes the generator that it is to draw from; reads and writes tensors that keep their places, and nothing of
            the host. Both arguments do the same at every call; they are not kept, so that their owner can be freed.
        state : callable
            Returns all tensors that the work changes, in lists. The last one is of those that are only put back; of
            every other list all tensors together have to be changed alike.
        """
        if self._replay is not None:
            self._replay()
        elif self.is_played is False:
            work(self.draws)
        elif self._left:
            self._left -= 1
            self._aside(work)
        else:
            self._first_of_graph(work, state)

    def _aside(self, work: Callable[[torch.Generator], None]) -> None:
        """Do it on the stream of the capture, as CUDA asks for."""
        here = torch.cuda.current_stream(self.draws.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work(self.draws)
        here.wait_stream(self._stream)

    def _first_of_graph(self, work: Callable[[torch.Generator], None], state: Callable[[], Tensors]) -> None:
        """Do it with the graph and without, and decide which it is to be."""
        self.is_played, start = False, self.draws.get_state()
        try:
            replay = capture(lambda: work(self.draws), self.draws, self._stream)
        except Exception as error:  # whatever a driver, torch or an attack says
            log.warning("no graph of %s could be captured (%s): the run goes on without", self._what, _first(error))
            self.draws = torch.Generator(self.draws.device)  # the other one may still wait for the capture's end
            self.draws.set_state(start)
            work(self.draws)
            return
        before = _copies(state())
        work(self.draws)
        after, drawn = _copies(state()), self.draws.get_state()
        self._put_back(state(), before, start)
        replay()
        way, apart = ([_distance(*pair) for pair in zip(each[:-1], after, strict=False)] for each in (before, state()))
        same_draws = torch.equal(self.draws.get_state(), drawn)
        if same_draws and all(far <= CLOSE * whole for far, whole in zip(apart, way, strict=True)):
            self.is_played, self._replay = True, replay
            return
        log.warning(
            *("the graph of %s does something else (%.1e off in %.1e): the run goes on without", self._what),
            *max(zip(apart, way, strict=True)),
        )
        self._put_back(state(), after, drawn)

    @torch.no_grad()
    def _put_back(self, tensors: Tensors, values: Tensors, draws: torch.Tensor) -> None:
        for some, copies in zip(tensors, values, strict=True):
            for tensor, value in zip(some, copies, strict=True):
                tensor.copy_(value)
        self.draws.set_state(draws)


def played_back(work: Replay, changed: Tensors) -> Replay:
    """Return work of an attack, which draws nothing, as a `Playback` that asks the watch before every replay.

    This is a repeater for `attacks.repeating`.
    """
    playback = Playback("a query", torch.Generator(changed[0][0].device), warm_up=1)

    def play() -> None:
        stop_if_asked()
        playback(lambda _: work(), lambda: changed)

    return play


def _copies(tensors: Tensors) -> list[list[torch.Tensor]]:
    return [[tensor.detach().clone() for tensor in some] for some in tensors]


def _distance(tensors: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    apart = [(one.detach().float() - other.float()).flatten() for one, other in zip(tensors, others, strict=True)]
    return float(torch.cat(apart).norm())


def _first(error: BaseException) -> BaseException:
    """Return the error that all others followed from: the end of a broken capture is one too."""
    while error.__context__ is not None:
        error = error.__context__
    return error
