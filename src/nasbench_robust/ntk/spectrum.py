"""What the eigenvalues of a kernel say, and what the arithmetic that made the kernel cannot say. No torch.

A kernel comes as a matrix over n samples, in one of two kinds. A *symmetric* one is the Gram matrix of n gradients,
K = J J^T: clean, robust, robust-twice and combined kernels; its eigenvalues are not negative. A *cross* one pairs the
gradients of two versions of the samples, Kx = J J_A^T: it is not symmetric, so it has singular values in place of
eigenvalues. Frobenius norm, trace, mean, effective rank and condition number make sense for both; the minimum
eigenvalue and label alignment only for symmetric ones; the smallest singular value stands in for the former.

`analyse` decomposes a kernel once, in fp64; all other functions take the `Spectrum` that it returns and give a
`Value`: a number, or the reason why there is none.

Resolution
----------
A kernel was made in some precision, and eigenvalues that are small enough are only its rounding. Two errors enter.
(1) Gradients are rounded: J + D in place of J, with norm(D) <= u norm(J) in the Frobenius norm, u being the unit
roundoff of the format. The singular values of J move by at most norm(D) (Weyl), so a true eigenvalue 0 of J J^T
becomes at most u^2 norm(J)^2 = u^2 trace(K). (2) Inner products are summed in a format of spacing eps, which adds E
with abs(E_ij) about eps norm(g_i) norm(g_j) at most, so that eigenvalues move by at most norm(E) <= eps trace(K).
With trace(K) <= n lambda_max, an eigenvalue that is not above

    resolution = n * eps_made * lambda_max,    eps_made = max(u^2, eps)

cannot be told from 0. It is also the usual bound for the rank of a matrix (``numpy.linalg.matrix_rank``); its slack
against eps_made trace(K) is what is left for errors that a deep backward pass amplifies. In fp32 and fp64 eps_made is
the format's own spacing. ``mixed`` means a forward pass in fp32, gradients rounded to bfloat16 (u = 2^-8) and inner
products summed in fp32: eps_made = 2^-16. In a cross kernel the rounding of gradients enters to first order,
D J_A^T + J D_A^T: eps_made = max(2 u, eps), and the largest singular value stands for norm(J) norm(J_A), which Kx
alone does not tell: there the resolution may be too low. An eigenvalue just above the resolution has no correct
digit: its relative error is about resolution / value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Record
from ..errors import InvalidValueError, UnknownNameError
from .checks import checked_labels, checked_matrix, not_finite, scaled, symmetric_part
from .values import Value

KINDS = ("symmetric", "cross")
EPS_MADE = {
    "fp32": {"symmetric": 2.0**-23, "cross": 2.0**-23},
    "mixed": {"symmetric": 2.0**-16, "cross": 2.0**-7},
    "fp64": {"symmetric": 2.0**-52, "cross": 2.0**-52},
}


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(Record):
    """A kernel and its eigenvalues or singular values, from `analyse`.

    Attributes
    ----------
    matrix : ndarray of float64, shape (n, n)
        The kernel; of a symmetric one the symmetric part.
    values : ndarray of float64, shape (n,)
        Eigenvalues of a symmetric kernel, singular values of a cross one, ascending; empty where there is a failure.
    resolution : float
        What is not above it cannot be told from 0; see the module's text. nan where there is a failure.
    precision, kind : str
        Keys of `EPS_MADE` and members of `KINDS`.
    failure : str or None
        Why there are no values, for example an entry that is nan.
    """

    matrix: Floats
    values: Floats
    resolution: float
    precision: str
    kind: str
    failure: str | None = None


def analyse(kernel: npt.ArrayLike, *, precision: str, kind: str = "symmetric") -> Spectrum:
    """Decompose a kernel in fp64.

    Parameters
    ----------
    kernel : array_like, shape (n, n)
        One row per sample.
    precision : {"fp32", "mixed", "fp64"}
        The arithmetic that made the kernel, whatever type it is stored in.
    kind : {"symmetric", "cross"}
        See the module's text.

    Returns
    -------
    Spectrum
        With a failure where an entry is not finite.

    Raises
    ------
    InvalidValueError
        If the kernel is not a square matrix of real numbers, or is called symmetric and is not.
    UnknownNameError
        If precision or kind is unknown.
    """
    if precision not in EPS_MADE:
        raise UnknownNameError("precision", precision, tuple(EPS_MADE))
    if kind not in KINDS:
        raise UnknownNameError("kind of kernel", kind, KINDS)
    matrix = checked_matrix("kernel", kernel)
    failure = not_finite(matrix)
    if failure:
        return Spectrum(matrix, np.empty(0), np.nan, precision, kind, failure)
    if kind == "symmetric":
        matrix = symmetric_part("kernel", matrix, precision)
    try:
        values = _decomposed(matrix, kind)
    except np.linalg.LinAlgError as error:
        return Spectrum(matrix, np.empty(0), np.nan, precision, kind, f"the decomposition failed: {error}")
    resolution = len(matrix) * EPS_MADE[precision][kind] * float(np.abs(values).max())
    return Spectrum(matrix, values, resolution, precision, kind)


def _decomposed(matrix: Floats, kind: str) -> Floats:
    """Return the eigenvalues or singular values, ascending."""
    values = np.linalg.eigvalsh(matrix) if kind == "symmetric" else np.linalg.svd(matrix, compute_uv=False)[::-1]
    return np.asarray(values, np.float64)


# ------------------------------------------------------------------ eigenvalues and singular values


def unresolved(spectrum: Spectrum, ridge: float = 0.0) -> str | None:
    """Return why the kernel plus `ridge` times the identity counts as singular, or None where it does not."""
    problem = spectrum.failure or _not_a_gram_matrix(spectrum)
    if problem:
        return problem
    smallest = float(spectrum.values[0]) + ridge
    if smallest > spectrum.resolution:
        return None
    name = "minimum eigenvalue" if spectrum.kind == "symmetric" else "smallest singular value"
    return (
        f"the kernel is singular: its {name} {smallest:.3g} is not above {spectrum.resolution:.3g}, "
        f"the resolution of {spectrum.precision} arithmetic"
    )


def minimum_eigenvalue(spectrum: Spectrum) -> Value:
    """Return the minimum eigenvalue of a symmetric kernel; a failure where it is not above the resolution."""
    _require_symmetric(spectrum, "smallest_singular_value")
    return _smallest(spectrum)


def smallest_singular_value(spectrum: Spectrum) -> Value:
    """Return the smallest singular value; of a symmetric kernel it is the minimum eigenvalue."""
    return _smallest(spectrum)


def condition_number(spectrum: Spectrum) -> Value:
    """Return the largest eigenvalue or singular value over the smallest, at least 1; a failure if singular."""
    problem = unresolved(spectrum)
    return Value.failed(problem) if problem else Value.of(float(spectrum.values[-1] / spectrum.values[0]))


def effective_rank(spectrum: Spectrum) -> Value:
    """Return the exponential of the entropy of the eigenvalues or singular values divided by their sum, in [1, n].

    Source: Roy and Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007. A singular
    kernel has one, a zero kernel has not.
    """
    problem = spectrum.failure or _not_a_gram_matrix(spectrum)
    if problem:
        return Value.failed(problem)
    shares = np.maximum(spectrum.values, 0) / spectrum.values[-1]  # those below 0 are rounding: they were checked
    shares = shares[shares > 0] / shares.sum()
    rank = np.exp(-(shares * np.log(shares)).sum())
    return Value.of(float(np.clip(rank, 1, len(spectrum.values))))


# ------------------------------------------------------------------ entries


def frobenius_norm(spectrum: Spectrum) -> Value:
    """Return the root of the sum of the squared entries: of the squared eigenvalues or singular values; 0 if zero."""
    if spectrum.failure:
        return Value.failed(spectrum.failure)
    return Value.of(float(np.abs(spectrum.matrix).max() * np.linalg.norm(scaled(spectrum.matrix))))


def trace(spectrum: Spectrum) -> Value:
    """Return the sum of the diagonal; of a cross kernel how far the gradients of two versions of a sample agree."""
    return Value.failed(spectrum.failure) if spectrum.failure else Value.of(float(np.trace(spectrum.matrix)))


def mean_entry(spectrum: Spectrum) -> Value:
    """Return the mean of all n^2 entries: the inner product of the mean gradients."""
    return Value.failed(spectrum.failure) if spectrum.failure else Value.of(float(spectrum.matrix.mean()))


# ------------------------------------------------------------------ labels


def label_alignment(spectrum: Spectrum, labels: npt.ArrayLike) -> Value:
    """Return the cosine between the kernel and Y Y^T, which is 1 for two samples of one class and 0 for others.

    Parameters
    ----------
    spectrum : Spectrum
        Of a symmetric kernel.
    labels : array_like of int, shape (n,)
        Class numbers; only which are equal matters.

    Returns
    -------
    Value
        In [-1, 1]; of a kernel, which has no negative eigenvalues, in [0, 1].

    Notes
    -----
    Source: Cristianini, Shawe-Taylor, Elisseeff and Kandola, On kernel-target alignment, NIPS 2001, for two classes
    and y y^T; Y Y^T with one-hot rows is its usual form for several.
    """
    same = _same_class(spectrum, labels)
    problem = spectrum.failure or _zero(spectrum)
    return Value.failed(problem) if problem else _cosine(spectrum.matrix, same)


def centred_label_alignment(spectrum: Spectrum, labels: npt.ArrayLike) -> Value:
    """Return the cosine between the kernel and Y Y^T after both were centred in feature space.

    Parameters and range are those of `label_alignment`. A failure where all samples have one label, or all gradients
    are equal. Source: Cortes, Mohri and Rostamizadeh, Algorithms for learning
    kernels based on centered alignment, JMLR 13, 2012.
    """
    same = _centred(_same_class(spectrum, labels))
    problem = spectrum.failure or _zero(spectrum)
    if problem:
        return Value.failed(problem)
    if not len(same) > 1 or not np.abs(same).max() > 1e-9:
        return Value.failed("all samples have one label: centred, their label matrix is zero")
    kernel = _centred(spectrum.matrix)
    if np.linalg.norm(kernel) <= spectrum.resolution:
        return Value.failed("all gradients are equal: the centred kernel is zero to the resolution of its arithmetic")
    return _cosine(kernel, same)


def _same_class(spectrum: Spectrum, labels: npt.ArrayLike) -> Floats:
    _require_symmetric(spectrum, None)
    numbers = checked_labels(labels, len(spectrum.matrix))
    return np.asarray(numbers[:, None] == numbers, np.float64)


def _centred(matrix: Floats) -> Floats:
    return np.asarray(matrix - matrix.mean(axis=0) - matrix.mean(axis=1)[:, None] + matrix.mean(), np.float64)


def _cosine(one: Floats, other: Floats) -> Value:
    one, other = scaled(one), scaled(other)
    cosine = np.vdot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other))
    return Value.of(float(np.clip(cosine, -1, 1)))


# ------------------------------------------------------------------ conditions


def _smallest(spectrum: Spectrum) -> Value:
    problem = unresolved(spectrum)
    return Value.failed(problem) if problem else Value.of(float(spectrum.values[0]))


def _zero(spectrum: Spectrum) -> str | None:
    return None if spectrum.values[[0, -1]].any() else "the kernel is zero"


def _not_a_gram_matrix(spectrum: Spectrum) -> str | None:
    if spectrum.values[0] < -spectrum.resolution:
        return (
            f"eigenvalue {spectrum.values[0]:.3g} is negative, and not by rounding (resolution "
            f"{spectrum.resolution:.3g}): the matrix is not a kernel"
        )
    return _zero(spectrum)


def _require_symmetric(spectrum: Spectrum, hint: str | None) -> None:
    if spectrum.kind != "symmetric":
        raise InvalidValueError("spectrum", spectrum.kind, "the spectrum of a symmetric kernel", hint)
