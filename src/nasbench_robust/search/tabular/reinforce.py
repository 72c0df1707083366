"""REINFORCE: a policy over operations, moved along the gradient of the expected accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...arrays import Floats
from ...cells import EDGES, OPERATIONS, Cell, opcodes
from ...checks import number
from ...errors import InvalidValueError
from ...statistics import checked_generator

_EDGE = np.arange(len(EDGES))


def softmax(logits: Floats) -> Floats:
    """Return probabilities, shape (edges, operations); each row sums to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


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
    gradient = -softmax(logits)
    gradient[_EDGE, codes] += 1
    return gradient


class Reinforce:
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
        self._average, self._steps = 0.0, 0

    def ask(self) -> Cell:
        """Return a cell drawn from the policy."""
        below = softmax(self.logits).cumsum(axis=1)[:, :-1] < self._rng.random((len(EDGES), 1))
        return Cell([OPERATIONS[code] for code in below.sum(axis=1).tolist()])

    def tell(self, cell: Cell, value: float) -> None:
        """Move the policy by one step of Adam."""
        self._steps += 1
        self._average = self.momentum * self._average + (1 - self.momentum) * value
        baseline = self._average / (1 - self.momentum**self._steps)
        gradient = (value - baseline) * log_probability_gradient(self.logits, opcodes()[cell.index])
        # Adam, Kingma and Ba (ICLR 2015), uphill.
        self._first = 0.9 * self._first + 0.1 * gradient
        self._second = 0.999 * self._second + 0.001 * gradient**2
        mean, square = self._first / (1 - 0.9**self._steps), self._second / (1 - 0.999**self._steps)
        self.logits = self.logits + self.learning_rate * mean / (np.sqrt(square) + 1e-8)
