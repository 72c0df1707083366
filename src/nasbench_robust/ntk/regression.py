"""Kernel regression: the linearised network at initialisation, trained to the end, clean and under attack. No torch.

A network f is linearised in its weights, f(t) = f_0(t) + <grad f_0(t), w>. Trained with squared loss by gradient
descent from w = 0 until nothing changes, without its values f_0 at initialisation (which are random and carry no
information about the labels), it predicts f(t) = k(t, Z) k(Z, Z)^-1 Y, where Z are the samples that it was trained on
(Jacot, Gabriel and Hongler, NeurIPS 2018, section 5; Lee et al., Wide neural networks of any depth evolve as linear
models under gradient descent, NeurIPS 2019, section 2.2). All classes share the one kernel of a scalar output. Only
the blocks differ between clean and attacked, standard and adversarial; see `held_out_accuracy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Integers, Record
from ..errors import InvalidValueError
from .checks import checked_labels, checked_matrix, checked_real, coded_targets, not_finite
from .spectrum import Spectrum, analyse, unresolved
from .values import Value


@dataclass(frozen=True, eq=False, repr=False)
class Regression(Record):
    """What a kernel regression predicts for held-out samples.

    Attributes
    ----------
    correct, images : int
        How many predictions are right, and of how many; both 0 where there is a failure.
    predictions : ndarray of int64, shape (images,)
        The class with the largest output, the first of equal ones; empty where there is a failure.
    outputs : ndarray of float64, shape (images, classes)
        Of the regression on centred one-hot targets; no rows where there is a failure.
    failure : str or None
        Why there are no predictions.
    """

    correct: int
    images: int
    predictions: Integers
    outputs: Floats
    failure: str | None = None

    @property
    def accuracy(self) -> Value:
        """Return correct / images in [0, 1], or the failure."""
        return Value.failed(self.failure) if self.failure else Value(self.correct / self.images)


@dataclass(frozen=True, eq=False, repr=False)
class RowSplit(Record):
    """Which samples train and which test, as rows of the kernel: no row twice, neither side empty."""

    train: Integers
    test: Integers


def kernel_regression(
    train_kernel: npt.ArrayLike,
    test_train_kernel: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    *,
    classes: int,
    ridge: float,
    precision: str,
) -> Regression:
    """Regress centred one-hot targets on a kernel, and count how often the largest output is the label.

    Parameters
    ----------
    train_kernel : array_like, shape (n, n)
        k(Z, Z), symmetric.
    test_train_kernel : array_like, shape (m, n)
        k(t, Z): one row per held-out sample.
    train_labels, test_labels : array_like of int, shapes (n,) and (m,)
        From 0 to classes - 1.
    classes : int
        How many, C; targets are 1 - 1/C and -1/C.
    ridge : float
        Added to the diagonal of k(Z, Z), in its units, at least 0; 0 is training to the end.
    precision : {"fp32", "mixed", "fp64"}
        The arithmetic that made the kernels.

    Returns
    -------
    Regression
        With a failure where k(Z, Z) plus the ridge is singular to the resolution, or an entry is not finite.

    Raises
    ------
    InvalidValueError
        If a shape, a label or the ridge is not as above.
    """
    spectrum = analyse(train_kernel, precision=precision)
    train = checked_labels(train_labels, len(spectrum.matrix), classes, "train_labels")
    test = checked_labels(test_labels, np.size(test_labels), classes, "test_labels")
    if not len(test):
        raise InvalidValueError("test_labels", test_labels, "at least one label")
    rows = checked_matrix("test_train_kernel", test_train_kernel, (len(test), len(train)))
    ridge = checked_real("ridge", ridge, "a number that is not negative", 0, hint="0")
    problem = not_finite(rows, "the kernel between held-out and training samples")
    factor = cholesky_factor(spectrum, ridge)
    if problem or isinstance(factor, str):
        return _failed(problem or str(factor), classes)
    targets = coded_targets(train, classes, "centred_one_hot")
    outputs = rows @ np.linalg.solve(factor.T, np.linalg.solve(factor, targets))
    if problem := not_finite(outputs, "the predictions"):
        return _failed(problem, classes)
    predictions = outputs.argmax(axis=1).astype(np.int64)
    return Regression(int((predictions == test).sum()), len(test), predictions, outputs)


def held_out_accuracy(
    clean: npt.ArrayLike,
    labels: npt.ArrayLike,
    split: RowSplit,
    *,
    classes: int,
    precision: str,
    relative_ridge: float,
    robust: npt.ArrayLike | None = None,
    cross: npt.ArrayLike | None = None,
) -> dict[str, Regression]:
    """Train the linearised network on some of the samples, clean or attacked, and test it on others.

    Parameters
    ----------
    clean : array_like, shape (n, n)
        K[i, j] = k(x_i, x_j).
    labels : array_like of int, shape (n,)
        From 0 to classes - 1.
    split : RowSplit
        The same for all cells that are to be compared.
    classes : int
        How many.
    precision : {"fp32", "mixed", "fp64"}
        The arithmetic that made the kernels.
    relative_ridge : float
        In units of the mean diagonal entry of the training block, at least 0: cells with kernels of different scale
        are regularised alike.
    robust : array_like, shape (n, n), optional
        Kr[i, j] = k(A x_i, A x_j), A being the attack on the network at initialisation.
    cross : array_like, shape (n, n), optional
        Kx[i, j] = k(x_i, A x_j): clean samples are its rows, attacked ones its columns.

    Returns
    -------
    dict of str to Regression
        ``standard_clean``, ``standard_attacked``, ``adversarial_clean``, ``adversarial_attacked``: trained on clean or
        on attacked samples, tested on clean or on attacked ones. One whose kernels are not there has a failure that
        says so.

    Raises
    ------
    InvalidValueError
        If the kernels, the labels, the split or the ridge are not as above.

    Notes
    -----
    With a the training samples and e the held-out ones, f(t) = k(t, Z) k(Z, Z)^-1 Y takes these blocks:

    ===========  ================  ==========================  ==========================
    training     k(Z, Z)           test on t = x_e             test on t = A x_e
    ===========  ================  ==========================  ==========================
    standard     Z = x_a: K[a,a]   k(x_e, x_a) = K[e,a]        k(A x_e, x_a) = Kx[a,e]^T
    adversarial  Z = A x_a:        k(x_e, A x_a) = Kx[e,a]     k(A x_e, A x_a) = Kr[e,a]
                 Kr[a,a]
    ===========  ================  ==========================  ==========================

    Adversarial training is that of the benchmark, the weight of the adversarial loss being 1. The attack is made once,
    on the network at initialisation: neither training nor test attacks the trained linearised network again.
    """
    kernels = {"clean": clean, "robust": robust, "cross": cross}
    matrices = {name: checked_matrix(name, kernel) for name, kernel in kernels.items() if kernel is not None}
    samples = len(matrices["clean"])
    for name, matrix in matrices.items():
        checked_matrix(name, matrix, (samples, samples))
    classes_of, split = checked_labels(labels, samples, classes), _checked_split(split, samples)
    relative_ridge = checked_real("relative_ridge", relative_ridge, "a number that is not negative", 0, hint="0")

    def regress(trained_on: str, tested_by: str, transposed: bool = False) -> Regression:
        for name in (trained_on, tested_by):
            if name not in matrices:
                return _failed(f"the {name} kernel was not given", classes)
        a, e = split.train, split.test
        train_kernel, tests = matrices[trained_on][np.ix_(a, a)], matrices[tested_by]
        diagonal = float(np.diagonal(train_kernel).mean())
        if not np.isfinite(diagonal) or diagonal < 0:
            return _failed(f"the mean diagonal entry of the {trained_on} kernel is {diagonal}", classes)
        rows = tests[np.ix_(a, e)].T if transposed else tests[np.ix_(e, a)]
        options: dict[str, Any] = {"classes": classes, "ridge": relative_ridge * diagonal, "precision": precision}
        return kernel_regression(train_kernel, rows, classes_of[a], classes_of[e], **options)

    return {
        "standard_clean": regress("clean", "clean"),
        "standard_attacked": regress("clean", "cross", transposed=True),
        "adversarial_clean": regress("robust", "cross"),
        "adversarial_attacked": regress("robust", "robust"),
    }


def cholesky_factor(spectrum: Spectrum, ridge: float) -> Floats | str:
    """Return F, lower triangular, with F F^T = K + ridge times the identity, or the reason why there is none."""
    problem = unresolved(spectrum, ridge)
    if problem:
        return problem
    try:
        return np.asarray(np.linalg.cholesky(spectrum.matrix + ridge * np.eye(len(spectrum.matrix))), np.float64)
    except np.linalg.LinAlgError:  # just above the resolution of fp64, rounding may still make a pivot negative
        return "the kernel is singular: its Cholesky decomposition failed"


def _failed(reason: str, classes: int) -> Regression:
    return Regression(0, 0, np.empty(0, np.int64), np.empty((0, classes)), reason)


def _checked_split(split: RowSplit, samples: int) -> RowSplit:
    """Return the split if its positions are within the kernel and none is used twice."""
    try:
        sides = [np.asarray(rows, np.int64) for rows in (split.train, split.test)]
        both = np.concatenate(sides)
    except (AttributeError, TypeError, ValueError):
        raise InvalidValueError("split", split, "a RowSplit") from None
    if not all(map(len, sides)):
        raise InvalidValueError("split", split, "a split with samples on both sides")
    if both.min() < 0 or both.max() >= samples:
        raise InvalidValueError("split", split, f"positions from 0 to {samples - 1}, the kernel's rows")
    if len(np.unique(both)) < len(both):
        raise InvalidValueError("split", split, "a split in which no sample is used twice")
    return RowSplit(*sides)
