"""REINFORCE: a policy over operations, moved along the gradient of the expected accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Integers
from ...cells import EDGES, OPERATIONS, opcodes
from ...checks import number
from ...errors import InvalidValueError
from ...statistics import checked_generator
from .by_index import IndexSearch, index_of

_OPERATION = np.arange(len(OPERATIONS))


def softmax(logits: Floats) -> Floats:
    """Return probabilities, shape (..., edges, operations); each row sums to 1."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def log_probability_gradient(logits: Floats, codes: npt.NDArray[np.integer[Any]]) -> Floats:
    """Return the gradient of the log probability of a cell with respect to the logits.

    Parameters
    ----------
    logits : ndarray, shape (6, 5)
        One row per edge, one column per operation.
    codes : ndarray of int, shape (6,)
        The operations that were drawn, as positions in `OPERATIONS`.

    Returns
    -------
    ndarray of float64, shape (6, 5)
        One at the drawn operation minus its probability, and minus the probability elsewhere.
    """
    return _gradient(softmax(logits), codes)


def _gradient(shares: Floats, codes: npt.NDArray[np.integer[Any]]) -> Floats:
    return np.asarray((codes[..., None] == _OPERATION) - shares)


class Reinforce(IndexSearch):
    """Draw each edge's operation from a softmax, and make what was better than usual more probable.

    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning" (Machine
    Learning, 1992), with the policy and settings of Dong and Yang (NAS-Bench-201, ICLR 2020; code of NATS-Bench): one
    independent softmax per edge, logits that start at 0.001 times a normal draw, Adam with betas .9 and .999, and a
    baseline that is an exponential moving average of the accuracies, bias corrected, with the newest one in it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws the first logits and the cells.
    learning_rate : float
        Of Adam. 0.01 as in the commands of NATS-Bench; in a few hundred queries that moves the policy little.
    momentum : float
        Of the baseline, in [0, 1).
    """

    several: ClassVar[bool] = False

    def __init__(self, rng: np.random.Generator, *, learning_rate: float = 0.01, momentum: float = 0.9) -> None:
        self._rng, self.momentum = checked_generator(rng), number()("momentum", momentum)
        self.learning_rate = number(above=True)("learning_rate", learning_rate)
        if momentum >= 1:
            raise InvalidValueError("momentum", momentum, "a number in [0, 1)", "0.9")
        self.logits: Floats = 1e-3 * rng.standard_normal((len(EDGES), len(OPERATIONS)))
        self._first, self._second = np.zeros_like(self.logits), np.zeros_like(self.logits)
        self._average: Any = 0.0
        self._steps = 0
        self._policy = self.logits, softmax(self.logits)

    @classmethod
    def at_once(cls, rngs: Sequence[np.random.Generator], values: Floats, queries: int, **settings: Any) -> Integers:
        """Search many times, as `IndexSearch.at_once`."""
        many = cls(np.random.default_rng(0), **settings)
        many.logits = np.stack([1e-3 * rng.standard_normal(many.logits.shape) for rng in rngs])
        many._first, many._second = np.zeros_like(many.logits), np.zeros_like(many.logits)
        chances = np.stack([rng.random((queries, len(EDGES), 1)) for rng in rngs], axis=1)
        index = np.empty((queries, len(rngs)), np.int64)
        for query in range(queries):
            codes = many._drawn(chances[query])
            index[query] = index_of(codes)
            many._move(codes, values[index[query]][:, None, None])
        return np.ascontiguousarray(index.T)

    def ask_index(self) -> int:
        """Return a cell drawn from the policy."""
        return int(index_of(self._drawn(self._rng.random((len(EDGES), 1)))))

    def tell_index(self, index: int, value: float) -> None:
        """Move the policy by one step of Adam."""
        self._move(opcodes()[index], value)

    def _shares(self) -> Floats:
        if self._policy[0] is not self.logits:  # since they were last asked for
            self._policy = self.logits, softmax(self.logits)
        return self._policy[1]

    def _drawn(self, chances: Floats) -> Integers:
        """Return operations, given for every edge a number that is uniform in [0, 1)."""
        return np.asarray((self._shares().cumsum(axis=-1)[..., :-1] < chances).sum(axis=-1))

    def _move(self, codes: npt.NDArray[np.integer[Any]], value: Any) -> None:
        self._steps += 1
        self._average = self.momentum * self._average + (1 - self.momentum) * value
        baseline = self._average / (1 - self.momentum**self._steps)
        gradient = (value - baseline) * _gradient(self._shares(), codes)
        # Adam, Kingma and Ba (ICLR 2015), uphill.
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.999 * self._second + 0.001 * gradient**2
        mean, square = self._first / (1 - 0.9**self._steps), self._second / (1 - 0.999**self._steps)
        self.logits = self.logits + self.learning_rate * mean / (np.sqrt(square) + 1e-8)
