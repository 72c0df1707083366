"""Random draws that are the same everywhere: raw bits of a counted generator, and plain arithmetic on them.

NumPy keeps the streams of its bit generators for ever, but not what `numpy.random.Generator` makes of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Integers, Singles

# What draws are for: streams of one seed must not overlap, and a change of one must not move the others.
STREAMS = ("weights", "training", "curve", "evaluation", "scores", "search")


class Draws:
    """The draws of a seed for one purpose, one of `STREAMS`."""

    def __init__(self, seed: int, stream: str) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, STREAMS.index(stream)]))

    @property
    def state(self) -> dict[str, Any]:
        """Where the stream is, as plain values; assign it to go on from there."""
        state: dict[str, Any] = {**self._bits.state}
        return state

    @state.setter
    def state(self, state: Any) -> None:
        self._bits.state = state

    def skip(self, count: int) -> None:
        """Leave out so many floats of `uniform`."""
        self._bits.advance(count)

    def seed(self) -> int:
        """Return a seed of 63 bits for draws elsewhere."""
        return int(self._bits.random_raw() >> 1)

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> Singles:
        """Return floats in [low, high), multiples of 2^-24 of the range."""
        raw = self._bits.random_raw(int(np.prod(shape)))
        unit = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
        return (np.float32(low) + np.float32(high - low) * unit).reshape(shape)

    def integers(self, end: int, shape: tuple[int, ...]) -> Integers:
        """Return integers in 0..end - 1, for an `end` far below 2^24."""
        return (self.uniform(0, 1, shape) * np.float32(end)).astype(np.int64)

    def permutation(self, count: int) -> Integers:
        """Return 0..count - 1 in random order."""
        return np.argsort(self._bits.random_raw(count), kind="stable")
