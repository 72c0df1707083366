"""Properties of kernels: closed forms, laws that hold for every kernel, and what must not become a number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.ntk import Value
from nasbench_robust.ntk import spectrum as sp
from nasbench_robust.ntk.spectrum import analyse

SYMMETRIC = (sp.minimum_eigenvalue, sp.condition_number, sp.frobenius_norm, sp.trace, sp.mean_entry, sp.effective_rank)
CROSS = (sp.smallest_singular_value, *SYMMETRIC[1:])
few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def orthogonal(n: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def with_eigenvalues(values: list[float], seed: int = 0) -> np.ndarray:
    q = orthogonal(len(values), seed)
    return (q * values) @ q.T


def random_kernel(n: int, seed: int, parameters: int = 40) -> np.ndarray:
    jacobian = np.random.default_rng(seed).normal(size=(n, parameters))
    return jacobian @ jacobian.T


def number(value: Value) -> float:
    assert value.failure is None
    assert value.value is not None
    return value.value


# --- closed forms


def test_a_known_spectrum():
    values = [0.5, 1, 2, 4.5]
    kernel = with_eigenvalues(values)
    spectrum = analyse(kernel, precision="fp64")
    assert spectrum.values == pytest.approx(values, abs=1e-12)
    assert number(sp.minimum_eigenvalue(spectrum)) == pytest.approx(0.5, abs=1e-12)
    assert number(sp.condition_number(spectrum)) == pytest.approx(9, abs=1e-10)
    assert number(sp.trace(spectrum)) == pytest.approx(8, abs=1e-12)
    assert number(sp.frobenius_norm(spectrum)) == pytest.approx(math.sqrt(0.25 + 1 + 4 + 20.25), abs=1e-12)
    assert number(sp.mean_entry(spectrum)) == pytest.approx(kernel.sum() / 16, abs=1e-12)
    shares = np.array(values) / 8
    assert number(sp.effective_rank(spectrum)) == pytest.approx(math.exp(-(shares @ np.log(shares))), abs=1e-10)
    assert spectrum.resolution == pytest.approx(4 * 2**-52 * 4.5)


def test_the_identity_and_rank_one():
    identity = analyse(np.eye(5), precision="fp32")
    assert number(sp.effective_rank(identity)) == pytest.approx(5)
    assert number(sp.condition_number(identity)) == 1
    vector = np.array([1.0, 2, 3, 4, 5])
    rank_one = analyse(np.outer(vector, vector), precision="fp64")
    assert number(sp.effective_rank(rank_one)) == pytest.approx(1, abs=1e-9)
    assert number(sp.frobenius_norm(rank_one)) == pytest.approx(vector @ vector)
    assert number(sp.mean_entry(rank_one)) == pytest.approx(9)
    assert "singular" in sp.minimum_eigenvalue(rank_one).failure
    assert "singular" in sp.condition_number(rank_one).failure


def test_a_single_sample():
    spectrum = analyse([[4]], precision="fp32")
    assert [number(function(spectrum)) for function in SYMMETRIC] == [4, 1, 4, 4, 4, 1]


def test_a_cross_kernel_has_singular_values():
    kernel = orthogonal(4, 1) @ np.diag([3.0, 1, 2, 0.5]) @ orthogonal(4, 2)
    spectrum = analyse(kernel, precision="fp64", kind="cross")
    assert spectrum.values == pytest.approx([0.5, 1, 2, 3], abs=1e-12)
    assert number(sp.smallest_singular_value(spectrum)) == pytest.approx(0.5, abs=1e-12)
    assert number(sp.condition_number(spectrum)) == pytest.approx(6, abs=1e-10)
    assert number(sp.frobenius_norm(spectrum)) == pytest.approx(np.linalg.norm(kernel), abs=1e-12)
    assert number(sp.trace(spectrum)) == pytest.approx(np.trace(kernel), abs=1e-12)
    assert number(sp.mean_entry(spectrum)) == pytest.approx(kernel.mean(), abs=1e-12)


def test_alignment_of_the_label_kernel_and_of_the_identity():
    labels = [0, 0, 1, 1, 2, 2]
    same = np.equal.outer(labels, labels).astype(float)
    perfect = analyse(same, precision="fp64")
    assert number(sp.label_alignment(perfect, labels)) == pytest.approx(1)
    assert number(sp.centred_label_alignment(perfect, labels)) == pytest.approx(1)
    identity = analyse(np.eye(6), precision="fp64")
    assert number(sp.label_alignment(identity, labels)) == pytest.approx(6 / math.sqrt(6 * 12))
    # A constant added to all entries is an offset in feature space, which only centring removes.
    shifted = analyse(same + 10, precision="fp64")
    assert number(sp.label_alignment(shifted, labels)) < 0.7
    assert number(sp.centred_label_alignment(shifted, labels)) == pytest.approx(1)


def test_centring_is_that_by_the_projection():
    labels = np.array([0, 1, 2, 0, 1, 2, 2])
    kernel, same = random_kernel(7, 3), np.equal.outer(labels, labels).astype(float)
    h = np.eye(7) - 1 / 7
    one, other = h @ kernel @ h, h @ same @ h
    expected = (one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other))
    aligned = sp.centred_label_alignment(analyse(kernel, precision="fp64"), labels)
    assert number(aligned) == pytest.approx(expected, abs=1e-12)


def test_alignment_with_two_classes_is_that_of_cristianini_up_to_the_offset_of_the_targets():
    y = np.array([1, -1, 1, 1, -1, -1])
    kernel = random_kernel(6, 4)
    h = np.eye(6) - 1 / 6
    centred = h @ kernel @ h
    expected = y @ centred @ y / (6 * np.linalg.norm(centred))  # y sums to 0, so y y^T is centred
    aligned = sp.centred_label_alignment(analyse(kernel, precision="fp64"), (y + 1) // 2)
    assert number(aligned) == pytest.approx(expected, abs=1e-12)


# --- laws


@few
@given(seeds, st.integers(2, 12))
def test_the_order_of_the_samples_does_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    kernel, labels, order = random_kernel(n, seed), rng.integers(3, size=n), rng.permutation(n)
    labels[:2] = 0, 1
    permuted = analyse(kernel[np.ix_(order, order)], precision="fp64")
    spectrum = analyse(kernel, precision="fp64")
    for function in SYMMETRIC:
        assert number(function(permuted)) == pytest.approx(number(function(spectrum)), rel=1e-9, abs=1e-9)
    for function in (sp.label_alignment, sp.centred_label_alignment):
        aligned = function(spectrum, labels)
        assert number(function(permuted, labels[order])) == pytest.approx(number(aligned), abs=1e-9)


@few
@given(seeds, st.integers(2, 12), st.floats(-60, 60))
def test_scaling_multiplies_the_kernel_and_leaves_the_ratios(seed, n, exponent):
    scale = 10.0**exponent
    kernel = random_kernel(n, seed)
    cases = [(kernel, "symmetric"), (np.random.default_rng(seed).normal(size=(n, n)), "cross")]
    for matrix, kind in cases:
        scaled = analyse(scale * matrix, precision="fp64", kind=kind)
        spectrum = analyse(matrix, precision="fp64", kind=kind)
        for function in (sp.smallest_singular_value, sp.frobenius_norm, sp.trace, sp.mean_entry):
            before, tolerance = number(function(spectrum)), 1e-10 * np.abs(matrix).sum()
            assert number(function(scaled)) / scale == pytest.approx(before, abs=tolerance)
        for function in (sp.condition_number, sp.effective_rank):
            assert number(function(scaled)) == pytest.approx(number(function(spectrum)), rel=1e-6)


@few
@given(seeds, st.integers(2, 12), st.integers(1, 30))
def test_bounds(seed, n, parameters):
    spectrum = analyse(random_kernel(n, seed, parameters), precision="fp64")
    rank = number(sp.effective_rank(spectrum))
    assert 1 <= rank <= min(n, parameters) * (1 + 1e-6)
    norm, total = number(sp.frobenius_norm(spectrum)), number(sp.trace(spectrum))
    assert norm <= total * (1 + 1e-12)
    assert total <= math.sqrt(n) * norm * (1 + 1e-12)
    assert 0 <= number(sp.mean_entry(spectrum)) <= spectrum.values[-1] / n * (1 + 1e-9)
    labels = np.arange(n) % 2
    assert 0 <= number(sp.label_alignment(spectrum, labels)) <= 1
    assert -1e-12 <= (sp.centred_label_alignment(spectrum, labels).value or 0) <= 1
    smallest = sp.minimum_eigenvalue(spectrum)
    assert smallest.value is None if parameters < n else smallest == sp.smallest_singular_value(spectrum)


@few
@given(seeds, st.integers(2, 10))
def test_alignment_stays_in_its_range_for_any_symmetric_matrix(seed, n):
    half = np.random.default_rng(seed).normal(size=(n, n))
    spectrum, labels = analyse(half + half.T, precision="fp64"), np.arange(n) % 2
    assert -1 <= number(sp.label_alignment(spectrum, labels)) <= 1
    assert -1 <= number(sp.centred_label_alignment(spectrum, labels)) <= 1


# --- what rounding leaves


def test_an_eigenvalue_below_the_resolution_of_fp32_is_flagged():
    rng = np.random.default_rng(5)
    left, right = orthogonal(32, 6), np.linalg.qr(rng.normal(size=(200, 32)))[0]
    jacobian = (left * np.append(np.full(31, 1.0), 1e-5)) @ right.T  # true minimum eigenvalue 1e-10
    single = jacobian.astype(np.float32)
    made_in_fp32, made_in_fp64 = single @ single.T, jacobian @ jacobian.T
    assert number(sp.minimum_eigenvalue(analyse(made_in_fp64, precision="fp64"))) == pytest.approx(1e-10, rel=1e-4)
    flagged = analyse(made_in_fp32, precision="fp32")
    assert flagged.values[0] != pytest.approx(1e-10, rel=0.5)  # what it would have said
    for function in (sp.minimum_eigenvalue, sp.condition_number):
        assert function(flagged).value is None
        assert "the resolution of fp32 arithmetic" in function(flagged).failure


@few
@given(seeds, st.sampled_from(["fp32", "mixed"]), st.integers(4, 40))
def test_rounding_alone_never_passes_for_an_eigenvalue(seed, precision, n):
    """The resolution holds: gradients that span too few dimensions, rounded and multiplied, are called singular."""
    rng = np.random.default_rng(seed)
    exact = rng.normal(size=(n, n - 1)) @ np.linalg.qr(rng.normal(size=(300, n - 1)))[0].T
    rounded = exact.astype(np.float32)
    if precision == "mixed":  # bfloat16 is the upper half of a float32; adding half a step first rounds to nearest
        rounded = ((rounded.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)
    spectrum = analyse(rounded @ rounded.T, precision=precision)
    assert spectrum.values[0] <= spectrum.resolution
    assert sp.minimum_eigenvalue(spectrum).value is None


def test_a_coarser_format_resolves_less():
    values = np.append(np.full(15, 1.0), 1e-5)
    resolved = {}
    for precision in sp.EPS_MADE:
        for kind in sp.KINDS:
            spectrum = analyse(with_eigenvalues(values), precision=precision, kind=kind)
            resolved[precision, kind] = sp.smallest_singular_value(spectrum).value is not None
    assert [name for name, is_resolved in resolved.items() if not is_resolved] == [
        ("mixed", "symmetric"),
        ("mixed", "cross"),
    ]


# --- failures


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", sp.KINDS)
def test_an_entry_that_is_not_finite_fails_everything(bad, kind):
    kernel = np.eye(3)
    kernel[1, 2] = bad
    spectrum = analyse(kernel, precision="fp32", kind=kind)
    results = [function(spectrum) for function in (CROSS if kind == "cross" else SYMMETRIC)]
    if kind == "symmetric":
        results += [function(spectrum, [0, 1, 1]) for function in (sp.label_alignment, sp.centred_label_alignment)]
    for result in results:
        assert result.value is None
        assert result.failure == f"1 of 9 entries of the kernel are not finite; entry [1, 2] is {bad}"


def test_a_zero_kernel_has_sums_and_nothing_else():
    zero = analyse(np.zeros((3, 3)), precision="fp32")
    labels = [0, 1, 1]
    for function in (sp.frobenius_norm, sp.trace, sp.mean_entry):
        assert number(function(zero)) == 0
    for function in (sp.minimum_eigenvalue, sp.condition_number, sp.effective_rank):
        assert function(zero) == Value(None, "the kernel is zero")
    for function in (sp.label_alignment, sp.centred_label_alignment):
        assert function(zero, labels) == Value(None, "the kernel is zero")
    cross = analyse(np.zeros((3, 3)), precision="fp32", kind="cross")
    assert sp.smallest_singular_value(cross).failure == "the kernel is zero"


def test_a_matrix_with_a_negative_eigenvalue_is_no_kernel():
    spectrum = analyse(np.diag([1.0, -0.5]), precision="fp32")
    for function in (sp.minimum_eigenvalue, sp.condition_number, sp.effective_rank):
        assert "eigenvalue -0.5 is negative, and not by rounding" in function(spectrum).failure


def test_centred_alignment_fails_where_centring_leaves_nothing():
    constant, identity = analyse(np.full((4, 4), 0.1), precision="fp32"), analyse(np.eye(4), precision="fp32")
    assert "all gradients are equal" in sp.centred_label_alignment(constant, [0, 1, 0, 1]).failure
    assert "all samples have one label" in sp.centred_label_alignment(identity, [2, 2, 2, 2]).failure
    assert number(sp.label_alignment(identity, [2, 2, 2, 2])) == pytest.approx(0.5)


def test_what_leaves_the_range_of_fp64_fails():
    spectrum = analyse(np.full((3, 3), 1e308), precision="fp64")
    with np.errstate(over="ignore"):
        assert "leaves the range of fp64" in sp.trace(spectrum).failure
        assert "leaves the range of fp64" in sp.frobenius_norm(spectrum).failure


def test_a_decomposition_that_fails_is_a_failure(monkeypatch):
    def give_up(matrix):
        raise np.linalg.LinAlgError("no convergence")

    monkeypatch.setattr(np.linalg, "eigvalsh", give_up)
    spectrum = analyse(np.eye(2), precision="fp64")
    assert sp.trace(spectrum).failure == "the decomposition failed: no convergence"


@pytest.mark.parametrize("given", [(None, None), (1.0, "why"), (None, ""), (math.nan, None), (math.inf, None)])
def test_a_value_is_a_finite_number_or_a_reason(given):
    with pytest.raises(InvalidValueError):
        Value(*given)


# --- arguments


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (np.zeros((2, 3)), r"kernel is .*, expected a square matrix, one row per sample; its shape is \(2, 3\)"),
        (np.zeros(4), r"square matrix, one row per sample; its shape is \(4,\)"),
        (np.zeros((0, 0)), "square matrix"),
        ([[1, 2], [3]], "a matrix of real numbers"),
        (np.eye(2) * 1j, "a matrix of real numbers"),
        ([["a"]], "a matrix of real numbers"),
        ([[1.0, 0.5], [0.4, 1]], "a symmetric matrix; a cross kernel is of kind 'cross'"),
    ],
)
def test_a_matrix_that_is_no_kernel_is_refused(kernel, message):
    with pytest.raises(InvalidValueError, match=message):
        analyse(kernel, precision="fp32")


def test_asymmetry_by_rounding_is_averaged():
    kernel = random_kernel(5, 8)
    noisy = kernel * (1 + 1e-6 * np.random.default_rng(0).normal(size=(5, 5)))
    assert np.array_equal(analyse(noisy, precision="fp32").matrix, (noisy + noisy.T) / 2)


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown precision 'fp23'; did you mean 'fp32'\?"):
        analyse(np.eye(2), precision="fp23")
    with pytest.raises(UnknownNameError, match=r"did you mean 'symmetric'\? \(known: symmetric, cross\)"):
        analyse(np.eye(2), precision="fp32", kind="symetric")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"labels is \[0, 1\], expected 3 labels, one per sample; their shape is \(2,\)"),
        ([0, 1, -1], r"expected classes from 0; label 2 is -1; did you mean 0\?"),
        ([0.0, 1, 2], "integers, one per sample; their type is float64"),
        ([True, False, True], "their type is bool"),
        ([[0, 1], [2]], "integers, one per sample"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    for function in (sp.label_alignment, sp.centred_label_alignment):
        with pytest.raises(InvalidValueError, match=message):
            function(analyse(np.eye(3), precision="fp32"), labels)


def test_what_is_defined_for_symmetric_kernels_only_refuses_others():
    cross = analyse(np.eye(2), precision="fp32", kind="cross")
    with pytest.raises(InvalidValueError, match=r"of a symmetric kernel; did you mean smallest_singular_value\?"):
        sp.minimum_eigenvalue(cross)
    with pytest.raises(InvalidValueError, match="of a symmetric kernel"):
        sp.label_alignment(cross, [0, 1])
