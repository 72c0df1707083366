"""Scores and bounds: what a kernel at initialisation predicts about accuracy after training. No torch.

`SCORES` lists every score of one kernel with its source and the direction that the source claims; `score_kernel`
computes all of them. The quantities that need more than one kernel, `weyl_bound` and `held_out_accuracy`, and those
with constants that nobody has published, `generalisation_bound`, are functions of their own.

The paper is Wu, Liu, Simon-Gabriel, Chrysos and Cevher, Robust NAS under adversarial training: benchmark, theory, and
beyond, ICLR 2024. There b in [0, 1] is the weight of the adversarial loss, A the attack, A2 the attack applied to the
attacked sample, and the kernels are K, Kr, Kr2 (clean, robust, robust-twice), Kx(i, j) = k(x_i, A x_j) and
Kx2(i, j) = k(A x_i, A2 x_j):

    K_all        = (1-b)^2 K  + b(1-b)(Kx  + Kx^T)  + b^2 Kr      governs the clean error
    K_all_robust = (1-b)^2 Kr + b(1-b)(Kx2 + Kx2^T) + b^2 Kr2     governs the robust error
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ..errors import InvalidValueError
from . import spectrum as spectra
from .checks import TINY, checked_labels, checked_matrix, checked_real, coded_targets, not_finite, symmetric_part
from .regression import cholesky_factor
from .spectrum import Spectrum, analyse
from .values import Value

# ------------------------------------------------------------------ complexity and bounds


def complexity(spectrum: Spectrum, labels: npt.ArrayLike, *, classes: int, coding: str, ridge: float = 0.0) -> Value:
    """Return trace(Y^T K^-1 Y) / N, which is y^T K^-1 y / N summed over the columns of the targets.

    Parameters
    ----------
    spectrum : Spectrum
        Of a symmetric kernel over N samples.
    labels : array_like of int, shape (N,)
        From 0 to classes - 1.
    classes : int
        How many. With one-hot targets it only limits the labels: a class without samples adds nothing.
    coding : {"one_hot", "centred_one_hot"}
        The targets Y, see `nasbench_robust.ntk.checks.CODINGS`. With two classes, twice the centred ones' first
        column is the y in {-1, 1} of the theory, so that y^T K^-1 y is twice the centred trace.
    ridge : float
        Added to the diagonal, in units of the kernel, at least 0.

    Returns
    -------
    Value
        At least 0, lower for labels that the kernel finds simple; a failure where the kernel plus the ridge is
        singular to the resolution of its arithmetic.

    Raises
    ------
    InvalidValueError
        If the kernel is not symmetric, or a label or the ridge is not as above.
    UnknownNameError
        If the coding is unknown.

    Notes
    -----
    Source: Arora, Du, Hu, Li and Wang, Fine-grained analysis of optimization and generalization for overparameterized
    two-layer neural networks, ICML 2019, theorem 5.1; in the paper with the combined kernels.
    """
    if spectrum.kind != "symmetric":
        raise InvalidValueError("spectrum", spectrum.kind, "the spectrum of a symmetric kernel")
    targets = coded_targets(checked_labels(labels, len(spectrum.matrix), classes), classes, coding)
    ridge = checked_real("ridge", ridge, "a number that is not negative", 0, hint="0")
    factor = cholesky_factor(spectrum, ridge)
    if isinstance(factor, str):
        return Value.failed(factor)
    # Y^T K^-1 Y = (F^-1 Y)^T (F^-1 Y) with K = F F^T: a sum of squares, which rounding cannot make negative.
    return Value.of(float((np.linalg.solve(factor, targets) ** 2).sum() / len(targets)))


def generalisation_bound(
    complexity_value: Value,
    *,
    samples: int,
    training_term: float,
    depth: int,
    complexity_constant: float,
    deviation_constant: float,
    failure_probability: float,
) -> Value:
    """Return training term + c1 L sqrt(y^T K^-1 y / N) + c2 sqrt(log(1 / p) / N), the paper's bound on an error.

    With the complexity of K_all it bounds the clean error, with that of K_all_robust the robust error, in expectation
    over the data, with probability 1 - p over the training samples.

    Parameters
    ----------
    complexity_value : Value
        y^T K^-1 y / N, from `complexity`; its failure is the bound's.
    samples : int
        N, at least 1.
    training_term : float
        What training leaves, at least 0: the paper's first term.
    depth : int
        L, layers of the network, at least 1.
    complexity_constant, deviation_constant : float
        c1 and c2, greater than 0. The paper has both inside an O(...) and gives no number, so there is no default.
    failure_probability : float
        p, in (0, 1].

    Returns
    -------
    Value
        At least the training term; above 1 it says nothing about an error rate. Order of cells by it is that by
        complexity if all else is equal.

    Raises
    ------
    InvalidValueError
        If an argument is out of range.
    """
    for name, number in {"samples": samples, "depth": depth}.items():
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise InvalidValueError(name, number, "a positive integer", "1")
    training_term = checked_real("training_term", training_term, "a number that is not negative", 0, hint="0")
    first = checked_real("complexity_constant", complexity_constant, "a number greater than 0", TINY)
    second = checked_real("deviation_constant", deviation_constant, "a number greater than 0", TINY)
    probability = checked_real("failure_probability", failure_probability, "a number in (0, 1]", TINY, 1, "0.05")
    if complexity_value.value is None:
        return complexity_value
    deviation = second * math.sqrt(-math.log(probability) / samples)
    return Value.of(training_term + first * depth * math.sqrt(complexity_value.value) + deviation)


def weyl_bound(
    clean: npt.ArrayLike, cross: npt.ArrayLike, robust: npt.ArrayLike, *, weight: float, precision: str
) -> Value:
    """Return (1-b)^2 lmin(K) + b(1-b) lmin(Kx + Kx^T) + b^2 lmin(Kr), which is not above lmin(K_all).

    Parameters
    ----------
    clean, cross, robust : array_like, shape (n, n)
        K, Kx and Kr; or Kr, Kx2 and Kr2 for K_all_robust.
    weight : float
        b, in [0, 1].
    precision : {"fp32", "mixed", "fp64"}
        The arithmetic that made the kernels.

    Returns
    -------
    Value
        Negative values occur: Kx + Kx^T need not be positive semi-definite, and where its minimum eigenvalue
        outweighs the other terms, the bound says less than lmin(K_all) >= 0, which is always true. The eigenvalues
        enter as computed, resolved or not. A failure where an entry is not finite.

    Raises
    ------
    InvalidValueError
        If the kernels differ in shape, K or Kr is not symmetric, or b is out of range.

    Notes
    -----
    Source: Weyl's inequality, lmin(A + B) >= lmin(A) + lmin(B), in the paper.
    """
    b = checked_real("weight", weight, "a number from 0 to 1", 0, 1, "1.0")
    spectrum = analyse(clean, precision=precision)
    other = checked_matrix("robust", robust, spectrum.matrix.shape)
    pairs = checked_matrix("cross", cross, spectrum.matrix.shape)
    problem = spectrum.failure or not_finite(other, "the robust kernel") or not_finite(pairs, "the cross kernel")
    if problem:
        return Value.failed(problem)
    terms = (
        (1 - b) ** 2 * spectrum.values[0],
        b * (1 - b) * np.linalg.eigvalsh(pairs + pairs.T)[0],
        b**2 * np.linalg.eigvalsh(symmetric_part("robust", other, precision))[0],
    )
    return Value.of(float(sum(terms)))


# ------------------------------------------------------------------ the list of scores


@dataclass(frozen=True)
class KernelScore:
    """A number of one kernel that is said to tell good cells from bad ones.

    Attributes
    ----------
    name : str
        Key of the result of `score_kernel`.
    function : callable
        Of a `Spectrum`, and of labels where it uses them, giving a `Value`.
    source : str
        Who proposed it, or defined it.
    direction : {"higher", "lower"} or None
        Which is better, as the source claims for the clean kernel; None where it claims nothing about accuracy.
    kinds : tuple of str
        The kernels it applies to, of "symmetric" and "cross".
    uses_labels : bool
        Whether it looks at the samples' classes.
    """

    name: str
    function: Callable[..., Value]
    source: str
    direction: str | None
    kinds: tuple[str, ...] = spectra.KINDS
    uses_labels: bool = False


def score_kernel(
    kernel: npt.ArrayLike, labels: npt.ArrayLike, precision: str, kind: str = "symmetric"
) -> dict[str, Value]:
    """Return every score of `SCORES` that applies to a kernel, in their order.

    Parameters
    ----------
    kernel : array_like, shape (n, n)
        One row per sample.
    labels : array_like of int, shape (n,)
        Class numbers from 0.
    precision : {"fp32", "mixed", "fp64"}
        The arithmetic that made the kernel.
    kind : {"symmetric", "cross"}
        See `nasbench_robust.ntk.spectrum`.

    Returns
    -------
    dict of str to Value
        One entry per score, in the same order for all kernels of a kind; a score that cannot be computed has its
        reason.

    Raises
    ------
    InvalidValueError
        If the kernel or a label is not as above.
    UnknownNameError
        If precision or kind is unknown.
    """
    spectrum = analyse(kernel, precision=precision, kind=kind)
    classes = checked_labels(labels, len(spectrum.matrix))
    return {
        score.name: score.function(spectrum, *([classes] if score.uses_labels else []))
        for score in SCORES
        if kind in score.kinds
    }


def _one_hot_complexity(spectrum: Spectrum, labels: npt.ArrayLike) -> Value:
    """Return `complexity` with one-hot targets, for which classes without samples do not count."""
    classes = int(checked_labels(labels, len(spectrum.matrix)).max()) + 1
    return complexity(spectrum, labels, classes=max(2, classes), coding="one_hot")


_PAPER = "Wu et al., Robust NAS under adversarial training, ICLR 2024"
_KNAS = "Xu et al., KNAS: green neural architecture search, ICML 2021"
_TENAS = "Chen, Gong and Wang, TE-NAS, ICLR 2021"
_NASI = "Shu et al., NASI: label- and data-agnostic neural architecture search at initialization, ICLR 2022"
_MOK = "Mok et al., Demystifying the neural tangent kernel from a practical perspective, CVPR 2022"
_SYMMETRIC, _CROSS = ("symmetric",), ("cross",)
_labelled = partial(KernelScore, kinds=_SYMMETRIC, uses_labels=True)

SCORES = (
    KernelScore("minimum_eigenvalue", spectra.minimum_eigenvalue, _PAPER, "higher", _SYMMETRIC),
    KernelScore("smallest_singular_value", spectra.smallest_singular_value, _PAPER, None, _CROSS),
    KernelScore("condition_number", spectra.condition_number, _TENAS, "lower"),
    KernelScore("frobenius_norm", spectra.frobenius_norm, f"{_KNAS}; {_MOK}", "higher"),
    KernelScore("trace", spectra.trace, _NASI, "higher"),
    KernelScore("mean", spectra.mean_entry, _KNAS, "higher"),
    KernelScore("effective_rank", spectra.effective_rank, "Roy and Vetterli, EUSIPCO 2007", None),
    _labelled("label_alignment", spectra.label_alignment, "Cristianini et al., NIPS 2001", "higher"),
    _labelled("centred_label_alignment", spectra.centred_label_alignment, "Cortes et al., JMLR 2012", "higher"),
    _labelled("complexity", _one_hot_complexity, f"Arora et al., ICML 2019; {_PAPER}", "lower"),
)
