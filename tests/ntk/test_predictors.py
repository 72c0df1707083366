"""Complexity, bounds, kernel regression, scores: against explicit inverses, explicit features and scikit-learn."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.ntk import RowSplit, Value
from nasbench_robust.ntk import predictors as pr
from nasbench_robust.ntk import regression as rg
from nasbench_robust.ntk import spectrum as sp

few = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def jacobians(n: int, seed: int, parameters: int = 60, radius: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Return gradients of n samples and of their attacked versions."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(n, parameters))
    return clean, clean + radius * rng.normal(size=(n, parameters))


def classified(n: int, seed: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(classes, size=n)


def analysed(kernel: np.ndarray, precision: str = "fp64") -> sp.Spectrum:
    return sp.analyse(kernel, precision=precision)


def gram(n: int, seed: int) -> np.ndarray:
    gradients, _ = jacobians(n, seed)
    return gradients @ gradients.T


def complexity(kernel, labels, *, classes=2, coding="one_hot", **more):
    spectrum = kernel if isinstance(kernel, sp.Spectrum) else analysed(kernel)
    return pr.complexity(spectrum, labels, classes=classes, coding=coding, **more)


def regression(train, test, train_labels, test_labels, *, classes=3, precision="fp64", ridge=0.0):
    options = {"classes": classes, "precision": precision, "ridge": ridge}
    return rg.kernel_regression(train, test, train_labels, test_labels, **options)


# --- complexity


@pytest.mark.parametrize("ridge", [0.0, 0.7])
@pytest.mark.parametrize("coding", ["one_hot", "centred_one_hot"])
def test_complexity_is_that_by_the_inverse(coding, ridge):
    kernel, labels = gram(20, 0), classified(20, 1)
    targets = np.eye(3)[labels] - (1 / 3 if coding == "centred_one_hot" else 0)
    inverse = np.linalg.inv(kernel + ridge * np.eye(20))
    found = complexity(kernel, labels, classes=3, coding=coding, ridge=ridge)
    assert found.value == pytest.approx(np.trace(targets.T @ inverse @ targets) / 20, rel=1e-10)


def test_two_classes_are_the_signs_of_the_theory():
    kernel, labels = gram(10, 2), np.arange(10) % 2
    signs = 2.0 * labels - 1
    found = complexity(kernel, labels, coding="centred_one_hot")
    assert 2 * found.value == pytest.approx(signs @ np.linalg.inv(kernel) @ signs / 10, rel=1e-10)


@few
@given(seeds, st.integers(3, 15), st.floats(1e-6, 1e6))
def test_complexity_falls_as_the_kernel_grows_and_ignores_the_order(seed, n, scale):
    rng, kernel = np.random.default_rng(seed), gram(n, seed)
    labels, order = rng.integers(4, size=n), rng.permutation(n)
    options = {"classes": 4, "coding": "centred_one_hot"}
    found = complexity(kernel, labels, **options).value
    assert found >= 0
    assert complexity(scale * kernel, labels, **options).value * scale == pytest.approx(found, rel=1e-8)
    permuted = complexity(kernel[np.ix_(order, order)], labels[order], **options).value
    assert permuted == pytest.approx(found, rel=1e-8)
    assert complexity(kernel, labels, **options, ridge=1.0).value <= found


def test_complexity_fails_on_a_singular_kernel_and_a_ridge_helps():
    ones, labels = np.ones((3, 3)), [0, 1, 0]
    by_hand, targets = np.linalg.inv(ones + np.eye(3)), np.eye(2)[labels]
    ridged = complexity(ones, labels, ridge=1)
    assert ridged.value == pytest.approx(np.trace(targets.T @ by_hand @ targets) / 3)
    assert "singular" in complexity(ones, labels).failure
    assert complexity(analysed(np.zeros((2, 2)), "fp32"), [0, 1], ridge=1).failure == "the kernel is zero"
    assert "resolution of fp32" in complexity(analysed(np.diag([1.0, 1e-8]), "fp32"), [0, 1]).failure
    broken = np.array([[1, math.nan], [math.nan, 1]])
    assert "not finite" in complexity(analysed(broken, "fp32"), [0, 1]).failure


def test_a_cholesky_that_fails_is_a_failure(monkeypatch):
    def give_up(matrix):
        raise np.linalg.LinAlgError

    monkeypatch.setattr(np.linalg, "cholesky", give_up)
    assert complexity(np.eye(2), [0, 1]).failure == "the kernel is singular: its Cholesky decomposition failed"


# --- bounds

CONSTANTS = {"samples": 50, "training_term": 0.1, "depth": 3, "complexity_constant": 2.0, "deviation_constant": 1.0}
CONSTANTS["failure_probability"] = 0.05


def test_the_bound_is_the_sum_of_its_terms():
    found = pr.generalisation_bound(Value(0.04), **CONSTANTS)
    assert found.value == pytest.approx(0.1 + 2 * 3 * 0.2 + math.sqrt(math.log(20) / 50))
    certain = pr.generalisation_bound(Value(0.0), **{**CONSTANTS, "failure_probability": 1})
    assert certain.value == 0.1
    assert pr.generalisation_bound(Value(None, "singular"), **CONSTANTS) == Value(None, "singular")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, r"samples is 0, expected a positive integer; did you mean 1\?"),
        ({"depth": 2.5}, "depth is 2.5, expected a positive integer"),
        ({"training_term": -1}, r"training_term is -1, expected a number that is not negative; did you mean 0\?"),
        ({"complexity_constant": 0}, "complexity_constant is 0, expected a number greater than 0"),
        ({"deviation_constant": math.nan}, "deviation_constant is nan"),
        ({"failure_probability": 0}, r"failure_probability is 0, expected a number in \(0, 1\]; did you mean 0.05\?"),
        ({"failure_probability": "5 %"}, "failure_probability is '5 %'"),
    ],
)
def test_constants_out_of_range_are_refused(change, message):
    with pytest.raises(InvalidValueError, match=message):
        pr.generalisation_bound(Value(0.04), **{**CONSTANTS, **change})


def test_no_constant_has_a_default():
    for name in CONSTANTS:
        with pytest.raises(TypeError, match=name):
            pr.generalisation_bound(Value(0.04), **{key: value for key, value in CONSTANTS.items() if key != name})


@few
@given(seeds, st.integers(1, 12), st.floats(0, 1), st.floats(0, 5))
def test_weyl_is_below_the_minimum_eigenvalue_of_the_combined_kernel(seed, n, b, radius):
    clean, attacked = jacobians(n, seed, parameters=8, radius=radius)
    combined = (1 - b) * clean + b * attacked
    true = np.linalg.eigvalsh(combined @ combined.T)[0]
    kernels = clean @ clean.T, clean @ attacked.T, attacked @ attacked.T
    found = pr.weyl_bound(*kernels, weight=b, precision="fp64")
    assert found.value <= true + 1e-9
    ends = [pr.weyl_bound(*kernels, weight=end, precision="fp64").value for end in (0, 1)]
    assert ends == pytest.approx([np.linalg.eigvalsh(kernels[end])[0] for end in (0, 2)], abs=1e-9)


weyl = partial(pr.weyl_bound, weight=0.5, precision="fp64")


def test_weyl_can_be_negative_and_fails_on_nan():
    identity = np.eye(2)
    assert weyl(identity, -identity, identity).value == pytest.approx(0)  # the attack turns gradients around
    assert weyl(identity, np.diag([-3.0, 3]), identity).value == pytest.approx(-1)
    for position, name in enumerate(("the kernel", "the cross kernel", "the robust kernel")):
        kernels = [identity] * 3
        kernels[position] = np.diag([math.nan, 1])
        assert name in weyl(*kernels).failure


def test_weyl_refuses_what_does_not_fit():
    identity = np.eye(2)
    with pytest.raises(InvalidValueError, match=r"weight is 1.5, expected a number from 0 to 1; did you mean 1.0\?"):
        weyl(identity, identity, identity, weight=1.5)
    with pytest.raises(InvalidValueError, match=r"cross is .*a matrix of shape \(2, 2\); its shape is \(3, 3\)"):
        weyl(identity, np.eye(3), identity)
    with pytest.raises(InvalidValueError, match=r"robust is .*a symmetric matrix"):
        weyl(identity, identity, np.array([[1.0, 0], [0.5, 1]]))


# --- kernel regression


def primal(train: np.ndarray, test: np.ndarray, labels: np.ndarray, classes: int, ridge: float) -> np.ndarray:
    """Return the outputs of ridge regression on explicit features: weights by least squares on an extended system."""
    targets = np.eye(classes)[labels] - 1 / classes
    extended = np.vstack([train, math.sqrt(ridge) * np.eye(train.shape[1])])
    padded = np.vstack([targets, np.zeros((train.shape[1], classes))])
    return test @ np.linalg.lstsq(extended, padded, rcond=None)[0]


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 2.0])
def test_regression_is_ridge_regression_on_the_gradients(ridge):
    gradients, _ = jacobians(40, 3)
    labels = classified(40, 4)
    train, test = gradients[:25], gradients[25:]
    expected = primal(train, test, labels[:25], 3, ridge)
    found = regression(train @ train.T, test @ train.T, labels[:25], labels[25:], ridge=ridge)
    assert found.outputs == pytest.approx(expected, abs=1e-10)
    assert np.array_equal(found.predictions, expected.argmax(axis=1))
    assert found.correct == int((expected.argmax(axis=1) == labels[25:]).sum())
    assert found.images == 15
    assert found.accuracy.value == found.correct / 15


def test_regression_is_that_of_scikit_learn():
    ridge_module = pytest.importorskip("sklearn.kernel_ridge")
    labels, kernel = classified(30, 6), gram(30, 5)
    peer = ridge_module.KernelRidge(alpha=0.5, kernel="precomputed")
    peer.fit(kernel[:20, :20], np.eye(3)[labels[:20]] - 1 / 3)
    found = regression(kernel[:20, :20], kernel[20:, :20], labels[:20], labels[20:], ridge=0.5)
    assert found.outputs == pytest.approx(peer.predict(kernel[20:, :20]), abs=1e-10)


@few
@given(seeds, st.integers(2, 12), st.floats(1e-3, 1e3))
def test_regression_interpolates_and_does_not_know_the_scale(seed, n, scale):
    labels, kernel = classified(n, seed), gram(n, seed)
    found = regression(kernel, kernel, labels, labels)
    assert found.correct == n
    assert found.outputs == pytest.approx(np.eye(3)[labels] - 1 / 3, abs=1e-8)
    scaled = regression(scale * kernel, scale * kernel, labels, labels)
    assert scaled.outputs == pytest.approx(found.outputs, abs=1e-8)


@pytest.mark.parametrize(
    ("train", "test", "ridge", "reason"),
    [
        (np.ones((2, 2)), np.ones((1, 2)), 0, "singular"),
        (np.zeros((2, 2)), np.ones((1, 2)), 1, "the kernel is zero"),
        (np.diag([1, math.nan]), np.ones((1, 2)), 1, "of the kernel are not finite"),
        (np.eye(2), np.array([[1, math.inf]]), 1, "between held-out and training samples are not finite"),
        (np.diag([1.0, -1]), np.ones((1, 2)), 5, "not a kernel"),
    ],
)
def test_a_regression_that_cannot_be_solved_says_why(train, test, ridge, reason):
    found = regression(train, test, [0, 1], [1], classes=2, ridge=ridge, precision="fp32")
    assert reason in found.failure
    assert found.accuracy == Value(None, found.failure)
    assert (found.correct, found.images, len(found.predictions)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_kernel": np.eye(3)[:2]}, r"kernel is .*a square matrix"),
        ({"test_train_kernel": np.eye(3)}, r"test_train_kernel is .*a matrix of shape \(1, 3\); its shape is \(3, 3\)"),
        ({"train_labels": [0, 1]}, r"train_labels is \[0, 1\], expected 3 labels"),
        ({"train_labels": [0, 1, 2]}, r"expected classes from 0 to 1; label 2 is 2; did you mean 1\?"),
        ({"test_labels": [5]}, r"test_labels is \[5\], expected classes from 0 to 1; label 0 is 5; did you mean 1\?"),
        ({"test_labels": np.array([], int), "test_train_kernel": np.ones((0, 3))}, "expected at least one label"),
        ({"classes": 1}, r"classes is 1, expected a number of classes, at least 2; did you mean 2\?"),
        ({"ridge": -0.1}, r"ridge is -0.1, expected a number that is not negative; did you mean 0\?"),
    ],
)
def test_a_regression_refuses_what_does_not_fit(change, message):
    arguments = {"train_kernel": np.eye(3), "test_train_kernel": np.ones((1, 3)), "classes": 2, "ridge": 0.0}
    arguments |= {"train_labels": [0, 1, 1], "test_labels": [0]}
    with pytest.raises(InvalidValueError, match=message):
        rg.kernel_regression(**{**arguments, **change}, precision="fp32")


# --- the linearised network, clean and under attack


def test_each_block_is_where_the_features_put_it():
    clean, attacked = jacobians(40, 7, radius=1.0)
    labels = classified(40, 8)
    split = RowSplit(np.arange(24), np.arange(24, 40))
    options = {"classes": 3, "precision": "fp64", "relative_ridge": 0.01}
    kernels = {"robust": attacked @ attacked.T, "cross": clean @ attacked.T}
    held_out = rg.held_out_accuracy(clean @ clean.T, labels, split, **options, **kernels)
    for trained_on, features in {"standard": clean, "adversarial": attacked}.items():
        train = features[split.train]
        ridge = 0.01 * (train**2).sum() / len(train)
        for tested_on, others in {"clean": clean, "attacked": attacked}.items():
            found = held_out[f"{trained_on}_{tested_on}"]
            expected = primal(train, others[split.test], labels[split.train], 3, ridge)
            assert found.outputs == pytest.approx(expected, abs=1e-10)
            assert found.correct == int((expected.argmax(axis=1) == labels[split.test]).sum())
            assert found.images == 16


def test_an_attack_hurts_the_standard_network_and_training_on_it_helps():
    """Gradients whose first coordinates tell the class, strongly but in reach of the attack, or weakly and safely."""
    rng = np.random.default_rng(9)
    labels = np.arange(120) % 2
    sign = 2.0 * labels - 1
    clean = np.column_stack([2 * sign, 0.5 * sign, 0.1 * rng.normal(size=(120, 150))])
    attacked = clean.copy()
    attacked[:, 0] *= -1
    options = {"classes": 2, "precision": "fp64", "relative_ridge": 0.1}
    kernels = {"robust": attacked @ attacked.T, "cross": clean @ attacked.T}
    split = RowSplit(np.arange(60), np.arange(60, 120))
    found = rg.held_out_accuracy(clean @ clean.T, labels, split, **options, **kernels)
    assert found["standard_clean"].accuracy.value == 1
    assert found["standard_attacked"].accuracy.value == 0
    assert found["adversarial_attacked"].accuracy.value == 1


def test_kernels_that_are_not_given_are_failures_of_their_own():
    clean, attacked = jacobians(12, 10)
    labels = np.arange(12) % 2
    split = RowSplit(np.arange(6), np.arange(6, 12))
    options = {"classes": 2, "precision": "fp64", "relative_ridge": 0.0}
    alone = rg.held_out_accuracy(clean @ clean.T, labels, split, **options)
    assert alone["standard_clean"].failure is None
    assert alone["standard_attacked"].failure == "the cross kernel was not given"
    assert alone["adversarial_clean"].failure == "the robust kernel was not given"
    robust = rg.held_out_accuracy(clean @ clean.T, labels, split, **options, robust=attacked @ attacked.T)
    assert robust["adversarial_attacked"].failure is None
    assert robust["adversarial_clean"].failure == "the cross kernel was not given"
    broken = np.full((12, 12), math.nan)
    assert "nan" in rg.held_out_accuracy(broken, labels, split, **options)["standard_clean"].failure


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1], [1, 2], "no sample is used twice"),
        ([0, 1], [4], "positions from 0 to 3"),
        ([-1, 1], [2], "positions from 0 to 3"),
        ([], [2], "samples on both sides"),
        (["a"], [2], "a RowSplit"),
    ],
)
def test_a_split_of_another_kernel_is_refused(train, test, message):
    options = {"classes": 2, "precision": "fp32", "relative_ridge": 0}
    with pytest.raises(InvalidValueError, match=message):
        rg.held_out_accuracy(np.eye(4), [0, 1, 0, 1], RowSplit(train, test), **options)


# --- the list of scores


def test_every_score_has_a_name_a_source_and_a_direction():
    names = [score.name for score in pr.SCORES]
    assert len(set(names)) == len(names)
    for score in pr.SCORES:
        assert score.source
        assert score.direction in ("higher", "lower", None)
        assert set(score.kinds) <= set(sp.KINDS)


def test_a_kernel_gets_every_score_of_its_kind():
    clean, attacked = jacobians(16, 11)
    labels = classified(16, 12)
    spectrum = analysed(clean @ clean.T)
    found = pr.score_kernel(clean @ clean.T, labels, "fp64")
    assert list(found) == [score.name for score in pr.SCORES if "symmetric" in score.kinds]
    assert found["minimum_eigenvalue"] == sp.minimum_eigenvalue(spectrum)
    assert found["label_alignment"] == sp.label_alignment(spectrum, labels)
    assert found["complexity"] == complexity(spectrum, labels, classes=3) == complexity(spectrum, labels, classes=10)
    cross = pr.score_kernel(clean @ attacked.T, labels, "fp64", kind="cross")
    names = ["smallest_singular_value", "condition_number", "frobenius_norm", "trace", "mean", "effective_rank"]
    assert list(cross) == names
    assert all(value.failure is None for value in (*found.values(), *cross.values()))


def test_a_broken_kernel_gets_a_reason_for_every_score():
    for kind in sp.KINDS:
        for value in pr.score_kernel(np.full((4, 4), math.nan), [0, 1, 0, 1], "fp32", kind=kind).values():
            assert value.value is None
            assert "16 of 16 entries" in value.failure


def test_samples_of_one_class_are_scored():
    found = pr.score_kernel(np.eye(3), [0, 0, 0], "fp32")
    assert found["complexity"].value == pytest.approx(1)
    assert found["centred_label_alignment"].value is None


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, -1], [0, 1, 1.5]])
@pytest.mark.parametrize("kind", sp.KINDS)
def test_scoring_refuses_labels_that_do_not_fit(labels, kind):
    with pytest.raises(InvalidValueError, match="labels is"):
        pr.score_kernel(np.eye(3), labels, "fp32", kind=kind)


def test_codings_and_kinds_that_do_not_fit_are_refused():
    with pytest.raises(UnknownNameError, match=r"unknown coding 'onehot'; did you mean 'one_hot'\?"):
        complexity(np.eye(2), [0, 1], coding="onehot")
    with pytest.raises(InvalidValueError, match=r"label 1 is 2; did you mean 1\?"):
        complexity(np.eye(2), [0, 2])
    with pytest.raises(InvalidValueError, match="of a symmetric kernel"):
        complexity(sp.analyse(np.eye(2), precision="fp64", kind="cross"), [0, 1])
    with pytest.raises(UnknownNameError, match="unknown precision 'tf32'; did you mean 'fp32'"):
        pr.score_kernel(np.eye(2), [0, 1], "tf32")
