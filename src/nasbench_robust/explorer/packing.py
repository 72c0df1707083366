"""Arrays in a page: compressed bytes as text, and a coder for the many small streams that are read one at a time."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Integers

Numbers = npt.NDArray[Any]
PRECISION = 12  # bits of a frequency; `details.js` decodes with the same
_WORD = 16


class Blob:
    """Arrays one behind the other, compressed as a whole.

    Values of several bytes are stored byte by byte, all first bytes first: the high ones of neighbours are alike, and
    compress to nothing. `data.js` puts them together again.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: Numbers) -> dict[str, Any]:
        """Take an array, and return what the page needs to find it: type, place in bytes, number of values."""
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).ravel()
        part = plain.view(np.uint8).reshape(len(plain), plain.itemsize).T.tobytes()
        about = {"type": plain.dtype.str.lstrip("<|"), "at": self._size, "length": len(plain)}
        self._parts.append(part)
        self._size += len(part)
        return about

    def text(self) -> str:
        """Return everything as base64 of a zlib stream, the form that ``DecompressionStream("deflate")`` reads."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 9)).decode()


def smallest_integers(values: Integers) -> Numbers:
    """Return non-negative integers in the smallest unsigned type that holds them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def frequencies(counts: Integers) -> Integers:
    """Return how often symbols occur, shape (symbols,), scaled to add up to ``2**PRECISION``; 1 at least where any."""
    total = 2**PRECISION
    scaled: Integers = np.where(counts > 0, np.maximum(counts * total // counts.sum(), 1), 0)
    scaled[scaled.argmax()] += total - scaled.sum()
    return scaled


def encode_streams(starts: Sequence[Numbers], sizes: Sequence[Numbers]) -> tuple[npt.NDArray[np.uint16], Integers]:
    """Encode many sequences of symbols, each to a stream of its own that can be read without the others.

    A range coder of asymmetric numeral systems (Duda, 2013) with a state of 32 bits, run for all sequences at once.

    Parameters
    ----------
    starts, sizes : sequence of ndarray of uint16, shape (sequences,)
        Of every symbol of a step, where its interval of ``2**PRECISION`` begins, and how large it is: its frequency.

    Returns
    -------
    words : ndarray of uint16
        All streams one behind the other, in the order in which a decoder reads them; the first two words of each are
        the state.
    lengths : ndarray of int64, shape (sequences,)
        Words of each stream.
    """
    steps, sequences = len(starts), len(starts[0])
    state = np.full(sequences, 1 << _WORD, np.uint64)
    words = np.zeros((steps + 2, sequences), np.uint16)  # from the last row up, as a decoder reads them
    used = np.zeros(sequences, np.int64)
    lanes = np.arange(sequences)
    for small_start, small_size in zip(reversed(starts), reversed(sizes), strict=True):
        start, size = small_start.astype(np.uint64), small_size.astype(np.uint64)
        full = lanes[state >= size << np.uint64(32 - PRECISION)]
        words[steps + 1 - used[full], full] = state[full] & np.uint64(0xFFFF)
        state[full] >>= np.uint64(_WORD)
        used[full] += 1
        quotient, rest = np.divmod(state, size)
        state = (quotient << np.uint64(PRECISION)) + rest + start
    for half in (state & np.uint64(0xFFFF), state >> np.uint64(_WORD)):
        words[steps + 1 - used, lanes] = half
        used += 1
    is_used = np.arange(steps + 2)[:, None] >= steps + 2 - used
    return words.T[is_used.T], used
