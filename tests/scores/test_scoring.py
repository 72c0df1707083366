"""All scores of a cell, against the functions that they are made of, and their settings."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from native_twins import needs_engine

from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import Trainer, make_generator
from nasbench_robust.errors import InvalidValueError, NasbenchRobustError, UnknownNameError
from nasbench_robust.images import TensorImages, load_images
from nasbench_robust.metrics import Attack, autoattack, fgsm, pgd
from nasbench_robust.networks import Network
from nasbench_robust.ntk import (
    FixedNetwork,
    RowSplit,
    gram_matrix,
    held_out_accuracy,
    kernels,
    kernels_between,
    ntk,
    score_kernel,
    weyl_bound,
)
from nasbench_robust.proxies import PROXIES, Proxy, scores
from nasbench_robust.scores import (
    Scored,
    ScoreKey,
    ScoreSettings,
    chosen_images,
    score_cell,
    score_keys,
    score_settings_for,
)
from nasbench_robust.settings import read_settings, settings_for
from nasbench_robust.skeletons import Skeleton

SKELETON = Skeleton.for_dataset("digits", channels=2, cells_per_stage=1)
SMALL = ScoreSettings("digits", SKELETON, images=12, attacks=(fgsm(0.05), pgd(0.1, steps=2)))
CELL = Cell(["nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3", "skip_connect"])
CUT = Cell(["none", "none", "nor_conv_3x3", "none", "none", "nor_conv_1x1"])  # no path to the output
SEED = 3
KERNELS = ("robust", "cross", "robust_twice", "cross_twice", "combined", "combined_robust")

Batch = tuple[torch.Tensor, torch.Tensor]


def by_key(found: list[Scored]) -> dict[ScoreKey, tuple[float | None, str | None]]:
    keys = [ScoreKey(row.kernel, row.attack, row.score) for row in found]
    assert len(set(keys)) == len(keys)  # no score has two values
    return {key: (row.value, row.failure) for key, row in zip(keys, found, strict=True)}


@pytest.fixture(scope="module")
def digits() -> TensorImages:
    return load_images("digits")


@pytest.fixture(scope="module")
def batch(digits: TensorImages) -> Batch:
    return chosen_images(SMALL, digits)


@pytest.fixture(scope="module")
def found(batch: Batch) -> dict[ScoreKey, tuple[float | None, str | None]]:
    return by_key(score_cell(CELL, SMALL, *batch, SEED, "torch"))


@pytest.fixture(scope="module")
def network(digits: TensorImages) -> Network:
    """The network that training in torch begins with."""
    training = replace(settings_for("digits"), skeleton=SKELETON)
    return Trainer(Cell.from_index(CELL.representative), training, digits, SEED).network


# --- the scores are those of the pieces


def test_images_are_the_first_ones_of_a_permutation(digits: TensorImages) -> None:
    images, labels = chosen_images(SMALL, digits)
    more, _ = chosen_images(replace(SMALL, images=40), digits)
    others, _ = chosen_images(replace(SMALL, draw=1), digits)
    assert images.shape == (12, 1, 8, 8)
    assert torch.equal(more[:12], images)
    assert not torch.equal(others, images)
    for image, label in zip(images, labels, strict=True):
        assert int(label) in digits.train.labels[(digits.train.pixels == image).flatten(1).all(1)]
    with pytest.raises(InvalidValueError, match="images is 1025, expected at most the 1024 training images"):
        chosen_images(replace(SMALL, images=1025), digits)


def test_kernels_are_those_of_the_network_that_training_begins_with(found, network, batch) -> None:
    (images, labels), precision = batch, SMALL.precision
    classes, split = labels.numpy(), RowSplit(np.arange(9), np.arange(9, 12))
    clean = ntk(network, images, output=SMALL.output, bn=SMALL.bn, engine="torch").numpy()
    expected = {("clean", None, name): value for name, value in score_kernel(clean, classes, precision).items()}
    for attack, label in zip(SMALL.attacks, ("fgsm@0.05", "pgd@0.1"), strict=True):
        options = {"generator": make_generator(SEED, "scores"), "engine": "torch", "labels": labels}
        k = kernels(network, images, attack, beta=0.5, bn=SMALL.bn, **options)
        for name in KERNELS:
            kind = "cross" if name.startswith("cross") else "symmetric"
            values = score_kernel(getattr(k, name), classes, precision, kind)
            expected |= {(name, label, score): value for score, value in values.items()}
        blocks = {
            "combined": (k.clean, k.cross, k.robust),
            "combined_robust": (k.robust, k.cross_twice, k.robust_twice),
        }
        for name, three in blocks.items():
            expected[name, label, "weyl_bound"] = weyl_bound(*three, weight=0.5, precision=precision)
        options = {"classes": 10, "precision": precision, "relative_ridge": 1e-3}
        held_out = held_out_accuracy(k.clean, classes, split, robust=k.robust, cross=k.cross, **options)
        for name, regression in held_out.items():
            expected["regression", None if name == "standard_clean" else label, name] = regression.accuracy
    of_kernels = {key: pair for key, pair in found.items() if key.kernel is not None}
    assert of_kernels == {key: (value.value, value.failure) for key, value in expected.items()}


def test_proxies(found, network, batch) -> None:
    images, labels = batch
    fixed = FixedNetwork(network, images, bn=SMALL.bn, engine="torch")
    adversarial = fixed.attacked(images, labels, SMALL.attacks[-1], make_generator(SEED, "scores"))
    options = {"attack": "pgd@0.1", "generator": make_generator(SEED, "scores")}
    expected = by_key(scores(network, images, labels, adversarial=adversarial.clamp(0, 1), **options))
    assert {key: row for key, row in found.items() if key.kernel is None} == expected


def test_rows_are_those_that_the_settings_ask_for_in_their_order(found) -> None:
    assert list(found) == score_keys(SMALL)


def test_only_what_is_wanted_is_made(found, batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each score alone is what it is among all others, and needs no kernel if it is of none."""
    passes: list[str] = []
    for name, make in (("gram_matrix", gram_matrix), ("kernels_between", kernels_between)):
        noted = lambda *args, make=make, **named: passes.append(make.__name__) or make(*args, **named)  # noqa: E731
        monkeypatch.setattr(f"nasbench_robust.ntk.{name}", noted)
    for kernel, attack, score, expected in [
        (None, None, "zen", []),
        (None, "pgd@0.1", "snip", []),
        (None, None, "az_trainability", []),
        ("clean", None, "trace", ["gram_matrix"]),
        ("cross_twice", "fgsm@0.05", "mean", ["kernels_between"]),
    ]:
        key = ScoreKey(kernel, attack, score)
        assert by_key(score_cell(CELL, SMALL, *batch, SEED, "torch", [key])) == {key: found[key]}
        assert passes == expected
        passes.clear()


def test_proxies_alone(found, batch) -> None:
    alone = by_key(score_cell(CELL, replace(SMALL, kernels=False), *batch, SEED, "torch"))
    assert alone == {key: row for key, row in found.items() if key.kernel is None}


def test_images_are_attacked_once_for_kernels_and_proxies(batch, monkeypatch: pytest.MonkeyPatch) -> None:
    attacks, attacked = [], FixedNetwork.attacked
    monkeypatch.setattr(
        FixedNetwork, "attacked", lambda self, *args: attacks.append(args[2].label) or attacked(self, *args)
    )
    score_cell(CELL, SMALL, *batch, SEED)
    assert attacks == ["fgsm@0.05", "fgsm@0.05", "pgd@0.1", "pgd@0.1"]  # A(x) and A(A(x)) of each


def test_scores_repeat_and_depend_on_the_seed(found, batch) -> None:
    assert by_key(score_cell(CELL, SMALL, *batch, SEED, "torch")) == found
    other = by_key(score_cell(CELL, SMALL, *batch, SEED + 1, "torch"))
    assert other.keys() == found.keys()
    assert other["clean", None, "trace"] != found["clean", None, "trace"]
    assert other[None, None, "synflow"] != found[None, None, "synflow"]


@needs_engine
def test_engines_agree(found, batch) -> None:
    native = by_key(score_cell(CELL, SMALL, *batch, SEED, "native"))
    assert native.keys() == found.keys()
    assert native["clean", None, "trace"] != found["clean", None, "trace"]  # it was the other engine
    for key, (value, _) in found.items():
        if key[1] is None:
            # What divides by small eigenvalues carries their rounding.
            tolerance = 1e-2 if key[2] in ("complexity", "condition_number", "minimum_eigenvalue") else 1e-4
            assert native[key][0] == pytest.approx(value, rel=tolerance), key
        # A gradient that is 0 to rounding may have another sign in an attack, which moves a pixel or two.
        if key[2] == "trace":
            assert native[key][0] == pytest.approx(value, rel=5e-2), key


def test_a_proxy_that_a_user_adds_is_scored_with_the_others(found, batch, monkeypatch: pytest.MonkeyPatch) -> None:
    dark = Proxy("dark", lambda network, images: -images.mean(), "here", uses_labels=False)
    monkeypatch.setitem(PROXIES, "dark", dark)
    settings = ScoreSettings("digits", SKELETON, images=12, attacks=SMALL.attacks)
    assert settings.proxies == (*SMALL.proxies, "dark")
    assert (settings.identity, settings.hash != SMALL.hash) == (SMALL.identity, True)
    rows = by_key(score_cell(CELL, settings, *batch, SEED, "torch"))
    own = {ScoreKey(None, None, "dark"), ScoreKey(None, "pgd@0.1", "dark")}
    assert rows.keys() - own == found.keys()
    assert all(rows[key] == found[key] for key in found)
    assert rows[None, None, "dark"][0] == pytest.approx(-float(batch[0].mean()))
    monkeypatch.undo()
    assert score_settings_for("digits").proxies == tuple(name for name in SMALL.proxies if PROXIES[name].standard)
    with pytest.raises(UnknownNameError, match="unknown proxy 'dark'"):
        replace(SMALL, proxies=("dark",))


def test_cell_without_a_path_has_every_row_and_the_reason(found, batch) -> None:
    cut = by_key(score_cell(CUT, SMALL, *batch, SEED))
    assert cut.keys() == found.keys()
    counts = {(None, None, "params"): CUT.parameters(SKELETON), (None, None, "flops"): CUT.flops(SKELETON)}
    for key, row in cut.items():
        expected = (counts[key], None) if key in counts else (None, "the output does not depend on the input")
        assert row == expected, key


def test_any_member_of_a_class_gives_the_scores_of_the_class(batch) -> None:
    settings = replace(SMALL, attacks=(), proxies=("synflow", "params"))
    member = Cell.from_index(1234)
    assert member.representative == 172
    found, expected = (score_cell(cell, settings, *batch, 0) for cell in (member, Cell.from_index(172)))
    assert by_key(found) == by_key(expected)


@pytest.mark.parametrize(
    "changes", [{"bn": "eval"}, {"bn": "batch_coupled"}, {"output": "trace"}, {"precision": "fp64"}]
)
def test_settings_of_kernels_reach_them(found, network, batch, changes: dict[str, str]) -> None:
    settings = replace(SMALL, attacks=(), proxies=(), **changes)
    rows = by_key(score_cell(CELL, settings, *batch, SEED, "torch"))
    options = {name: getattr(settings, name) for name in ("output", "bn", "precision")}
    kernel = ntk(network, batch[0], engine="torch", **options)
    assert rows["clean", None, "trace"][0] == pytest.approx(float(kernel.trace()), rel=1e-9)
    assert rows["clean", None, "trace"] != found["clean", None, "trace"]
    assert {key[0] for key in rows} == {"clean", "regression"}


@pytest.mark.parametrize(("value", "failure"), [(math.nan, None), (math.inf, None), (None, None), (1.0, "singular")])
def test_score_is_a_finite_number_or_a_reason(value: float | None, failure: str | None) -> None:
    with pytest.raises(InvalidValueError, match=r"finite number|either a value or the reason"):
        Scored("clean", None, "trace", value, failure, 0.1)


# --- settings


@pytest.mark.parametrize("settings", [SMALL, ScoreSettings(), *map(score_settings_for, ("digits", "cifar100"))])
def test_settings_round_trip(settings: ScoreSettings) -> None:
    again = ScoreSettings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert again.hash == settings.hash


def test_settings_that_differ_have_another_hash_and_equal_ones_the_same() -> None:
    assert replace(SMALL, beta=1, relative_ridge=0).hash == replace(SMALL, beta=1.0, relative_ridge=0.0).hash
    changes = [{"images": 13}, {"draw": 1}, {"bn": "eval"}, {"beta": 0.4}]
    choices = [{"attacks": ()}, {"proxies": ("zen",)}, {"kernels": False}]
    assert len({replace(SMALL, **change).hash for change in changes + choices} | {SMALL.hash}) == 8
    assert len({replace(SMALL, **change).identity for change in changes} | {SMALL.identity}) == 5
    assert {replace(SMALL, **choice).identity for choice in choices} == {SMALL.identity}


def test_settings_with_kernels_are_stored_as_before_there_was_a_choice() -> None:
    alone = replace(SMALL, kernels=False)
    assert "kernels" not in SMALL.to_dict()
    assert alone.to_dict() == {**SMALL.to_dict(), "kernels": False}
    for settings in (SMALL, alone):
        assert ScoreSettings.from_dict(settings.to_dict()) == settings


TORCHLESS = """
import sys
import nasbench_robust.scores.settings
from nasbench_robust.scores import collect_scores, score_keys, score_settings_for, scored_units, write_scores
score_keys(score_settings_for("digits"))
assert "torch" not in sys.modules
"""


def test_settings_and_tables_need_no_torch() -> None:
    subprocess.run([sys.executable, "-c", TORCHLESS], check=True)


def test_scores_are_of_the_networks_that_are_trained() -> None:
    for name in ("digits", "cifar10", "cifar100", "ImageNet16-120"):
        settings, training = score_settings_for(name), settings_for(name)
        assert (settings.dataset, settings.skeleton) == (training.dataset, training.skeleton)


BAD = [
    ({"imags": 8}, UnknownNameError, "unknown entry of settings 'imags'; did you mean 'images'"),
    ({"dataset": "cifar11"}, UnknownNameError, "unknown data set 'cifar11'; did you mean 'cifar10'"),
    ({"images": 3}, InvalidValueError, "images is 3, expected an integer from 4 to 2,147,483,647; did you mean 4?"),
    ({"images": 8.0}, InvalidValueError, "images is 8.0, expected an integer"),
    ({"images": True}, InvalidValueError, "images is True, expected an integer"),
    ({"draw": -1}, InvalidValueError, "draw is -1, expected an integer from 0 to 2,147,483,647; did you mean 0?"),
    ({"bn": "frozen"}, UnknownNameError, "unknown bn 'frozen'; did you mean 'batch_frozen'"),
    ({"bn": ["eval"]}, UnknownNameError, "unknown bn"),
    ({"output": "full"}, UnknownNameError, "unknown output 'full'"),
    ({"precision": "fp16"}, UnknownNameError, "unknown precision 'fp16'; did you mean 'fp"),
    ({"beta": 1.5}, InvalidValueError, r"beta is 1.5, expected a weight in \[0, 1\]"),
    ({"beta": math.nan}, InvalidValueError, "beta is nan"),
    ({"train_fraction": 0.01}, InvalidValueError, "train_fraction is 0.01, expected a fraction of 12 images that"),
    ({"train_fraction": 1}, InvalidValueError, "train_fraction is 1.0, expected a fraction of 12 images that"),
    ({"train_fraction": "half"}, InvalidValueError, r"train_fraction is 'half', expected a fraction in \(0, 1\)"),
    ({"relative_ridge": -1}, InvalidValueError, "relative_ridge is -1, expected a finite number of at least 0"),
    ({"relative_ridge": math.inf}, InvalidValueError, "relative_ridge is inf"),
    ({"skeleton": {"chanels": 2}}, UnknownNameError, "unknown entry of skeleton 'chanels'; did you mean 'channels'"),
    ({"skeleton": 3}, InvalidValueError, "skeleton is 3, expected a table with channels"),
    ({"skeleton": {"channels": "2"}}, InvalidValueError, "channels is '2', expected a positive integer"),
    ({"skeleton": {"image_size": 32}}, InvalidValueError, "expected a Skeleton for 10 classes and 1 x 8\\^2 pixels"),
    ({"proxies": ["synfow"]}, UnknownNameError, "unknown proxy 'synfow'; did you mean 'synflow'"),
    ({"proxies": [["zen"]]}, UnknownNameError, "unknown proxy"),
    ({"proxies": "zen"}, InvalidValueError, "proxies is 'zen', expected a tuple"),
    ({"proxies": ["zen", "zen"]}, InvalidValueError, "proxies is .*, expected each name once"),
    ({"kernels": 0}, InvalidValueError, "kernels is 0, expected true or false"),
    ({"attacks": 3}, InvalidValueError, "attacks is 3, expected a list of attacks"),
    ({"attacks": {"name": "fgsm"}}, InvalidValueError, "attacks is .*, expected a list of attacks"),
    ({"attacks": ["fgsm"]}, InvalidValueError, "attacks is 'fgsm', expected a table with name, eps"),
    ({"attacks": [{"name": "fgsm"}]}, InvalidValueError, "expected a complete table"),
    ({"attacks": [{"name": "pdg", "eps": 0.1}]}, UnknownNameError, "unknown attack 'pdg'; did you mean 'pgd'"),
    ({"attacks": [{"name": "pgd", "eps": 0.1, "step": 3}]}, UnknownNameError, "did you mean 'steps'"),
    ({"attacks": [{"name": "pgd", "eps": 0.1}]}, InvalidValueError, "expected FGSM in L-infinity, or PGD with steps"),
    ({"attacks": [autoattack(0.1).__dict__]}, InvalidValueError, "expected FGSM in L-infinity, or PGD"),
    ({"attacks": [{"name": "fgsm", "eps": 0.1, "norm": "L2"}]}, InvalidValueError, "expected FGSM in L-infinity"),
    (
        {"attacks": [pgd(0.1, steps=steps).__dict__ for steps in (1, 7)]},
        InvalidValueError,
        "attacks is .*'pgd@0.1', 'pgd@0.1'.*, expected each name once",
    ),
]


@pytest.mark.parametrize(("given", "error", "message"), BAD, ids=[json.dumps(given) for given, *_ in BAD])
def test_bad_entries_are_explained(given: dict, error: type, message: str, tmp_path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(given))
    with pytest.raises(error, match=message):
        read_settings(path, SMALL)


@pytest.mark.parametrize("change", [{"skeleton": None}, {"attacks": [fgsm(0.1)]}, {"attacks": (0.1,)}])
def test_entries_of_another_type_are_refused(change: dict) -> None:
    with pytest.raises(NasbenchRobustError, match=f"{next(iter(change))} is .*, expected"):
        replace(SMALL, **change)


def test_settings_file_overrides_nested_tables_entry_by_entry(tmp_path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"images": 8, "skeleton": {"channels": 3}, "attacks": [{"name": "fgsm", "eps": "8/255"}]}')
    expected = replace(SMALL, images=8, skeleton=replace(SKELETON, channels=3), attacks=(Attack("fgsm", 8 / 255),))
    assert read_settings(path, SMALL) == expected
