"""Metric names, budgets and attacks as typed facts, data set names, and the hash that names a training run."""

from __future__ import annotations

import dataclasses
import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nasbench_robust.datasets import DATASETS, canonical_name, dataset
from nasbench_robust.errors import InvalidValueError, UnknownNameError
from nasbench_robust.metrics import (
    ATTACKS,
    Attack,
    Metric,
    autoattack,
    checked_eps,
    fgsm,
    format_eps,
    metric_names,
    parse_eps,
    parse_long_name,
    pgd,
    same_eps,
)
from nasbench_robust.settings import TrainingSettings, settings_for
from nasbench_robust.skeletons import Skeleton

BUDGETS = st.floats(0, 1, exclude_min=True)


# ---------------------------------------------------------------------- budgets


@given(BUDGETS)
@example(5e-324)
@example(1.0)
@example(1e-5)
@example(0.031373)
@example(8 / 255 * (1 + 1e-10))
def test_a_written_budget_is_read_back(eps):
    again = parse_eps(format_eps(eps))
    assert math.isclose(again, eps, rel_tol=1e-9)
    if "/" not in format_eps(eps):
        assert again == eps


@given(st.integers(1, 255))
def test_grey_levels_are_read_back_to_the_last_bit(levels):
    assert parse_eps(format_eps(levels / 255)) == levels / 255
    assert parse_eps(f"{levels}/255") == levels / 255


@pytest.mark.parametrize(
    ("eps", "text"), [(8 / 255, "8/255"), (3 / 255, "3/255"), (0.1, "0.1"), (0.05, "0.05"), (1, "1.0"), (0.2, "0.2")]
)
def test_budgets_are_written_as_one_would(eps, text):
    assert format_eps(eps) == text


@pytest.mark.parametrize(
    ("text", "eps"), [("8/255", 8 / 255), (" 8/255 ", 8 / 255), ("0.1", 0.1), (".1", 0.1), ("1e-1", 0.1), ("1", 1.0)]
)
def test_budgets_are_read_as_fractions_and_decimals(text, eps):
    assert parse_eps(text) == checked_eps(text) == eps


@pytest.mark.parametrize(
    "text", ["", "eight", "8/0", "0/0", "8/255/1", "nan", "inf", "1e400", "1e999999999", "8,0", "0x1", "8 255"]
)
def test_a_text_that_is_no_number_is_refused_with_an_example(text):
    with pytest.raises(InvalidValueError, match="'8/255'") as caught:
        parse_eps(text)
    assert caught.value.given == text


@given(st.text())
def test_any_text_is_a_budget_or_refused(text):
    try:
        eps = parse_eps(text)
    except InvalidValueError:
        return
    assert 0 < eps <= 1


NUMBERS = [0, -0.1, 1.1, 256, math.nan, math.inf, -math.inf, None, True, [0.1], 1j, object()]
FOREIGN = [np.True_, np.complex128(0.1), np.array([0.1, 0.2]), Decimal("sNaN"), Fraction(8)]
TEXTS = ["0", "-0.1", "2", "255", "1e-400", "-8/255", "3/" + "9" * 400]


@pytest.mark.parametrize("eps", [*NUMBERS, *FOREIGN, *TEXTS, pytest.param(10**400, id="beyond the floats")])
def test_what_is_no_budget_or_outside_the_range_is_refused(eps):
    with pytest.raises(InvalidValueError, match=r"expected a number in \(0, 1\]") as caught:
        checked_eps(eps)
    assert caught.value.given is eps


@pytest.mark.parametrize(
    "eps", [0.25, np.float32(0.25), np.float64(0.25), np.array(0.25), Fraction(1, 4), Decimal("0.25")]
)
def test_numbers_of_every_kind_are_budgets(eps):
    assert checked_eps(eps) == 0.25
    assert type(checked_eps(eps)) is float


@pytest.mark.parametrize(("eps", "hint"), [(8, "8/255"), (8.0, "8/255"), (np.int64(3), "3/255"), (255, "255/255")])
def test_grey_levels_suggest_the_fraction(eps, hint):
    with pytest.raises(InvalidValueError, match=f"did you mean {hint}"):
        checked_eps(eps)


@pytest.mark.parametrize(
    ("other", "same"), [(0.031373, True), (0.03137, True), (0.0313, False), (3 / 255, False), (None, False)]
)
def test_budgets_are_the_same_up_to_a_typed_decimal(other, same):
    assert same_eps(8 / 255, other) is same_eps(other, 8 / 255) is same
    assert same_eps(None, None) is True


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_name_is_its_own_short_name(name):
    assert parse_long_name(name) == (name, None, "Linf")


@given(eps=BUDGETS, name=st.sampled_from(sorted(ATTACKS)))
def test_long_names_are_read_back(eps, name):
    metric = Metric.of(Attack(name, eps))
    short, read, norm = parse_long_name(metric.long_name)
    assert (short, norm) == (metric.name, "Linf")
    assert math.isclose(read, eps, rel_tol=1e-9)


NEAR_MISSES = {
    "clean_acc": ["val_acc", "accuracy", "Clean", "clean_acc@8/255"],
    "autoattack_acc": ["AA", "autoattack"],
    "pgd_acc": ["robust_acc", "pgd", "PGD_ACC", "pdg_acc"],
    "pgd_acc@8/255": ["val_pgd_8_acc"],
    "fgsm_acc@3/255": ["val_fgsm_3_acc"],
}


@pytest.mark.parametrize(("suggestion", "names"), NEAR_MISSES.items())
def test_near_misses_suggest_the_name_that_was_meant(suggestion, names):
    for name in names:
        with pytest.raises(UnknownNameError, match=f"did you mean '{suggestion}'") as caught:
            parse_long_name(name)
        assert caught.value.suggestion == suggestion
        assert caught.value.choices == metric_names()


def test_what_a_release_has_is_suggested_alone():
    for name, suggestion in (("pgd_acc,clean_acc", "clean_acc"), ("AA", None), ("val_fgsm_3_acc", "fgsm_acc@3/255")):
        with pytest.raises(UnknownNameError) as caught:
            parse_long_name(name, iter(("clean_acc", "fgsm_acc", "fgsm_acc")))
        assert (caught.value.suggestion, caught.value.choices) == (suggestion, ("clean_acc", "fgsm_acc"))


@pytest.mark.parametrize("name", ["", None, 5, b"pgd_acc", ["pgd_acc"], float("nan")])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(UnknownNameError, match="unknown metric"):
        parse_long_name(name)


@pytest.mark.parametrize("name", ["pgd_acc@", "pgd_acc@eight", "pgd_acc@8", "pgd_acc@3/255@8/255"])
def test_a_name_with_a_wrong_budget_blames_the_budget(name):
    with pytest.raises(InvalidValueError, match=r"^(eps is|no eps is given)"):
        parse_long_name(name)


@given(st.text() | st.sampled_from(metric_names()).flatmap(lambda name: st.text().map(lambda tail: name + tail)))
def test_any_text_is_a_name_or_refused(text):
    try:
        short, eps, _ = parse_long_name(text)
    except (UnknownNameError, InvalidValueError):
        return
    assert short in metric_names()
    assert eps is None or 0 < eps <= 1


@pytest.mark.parametrize(
    ("spelling", "name"),
    [(name, name) for name in DATASETS]
    + [("CIFAR-10", "cifar10"), ("Cifar 100", "cifar100"), ("imagenet16_120", "ImageNet16-120"), ("Digits", "digits")],
)
def test_data_sets_go_by_their_usual_spellings(spelling, name):
    assert canonical_name(spelling) == name
    assert dataset(spelling) is DATASETS[name]


@pytest.mark.parametrize(("name", "suggestion"), [("cifar", "cifar10"), ("cifar1000", "cifar100"), ("digit", "digits")])
def test_an_unknown_data_set_suggests_the_nearest(name, suggestion):
    with pytest.raises(UnknownNameError, match=f"unknown data set '{name}'; did you mean '{suggestion}'"):
        canonical_name(name)


@pytest.mark.parametrize("name", ["", None, 10, ["cifar10"], "---", "cifar10\x00"])
def test_what_is_no_data_set_is_refused(name):
    with pytest.raises(UnknownNameError, match="unknown data set"):
        canonical_name(name)


# ---------------------------------------------------------------------- attacks and metrics


def test_fgsm_is_one_full_step_without_a_random_start():
    attack = fgsm(8 / 255)
    assert (attack.name, attack.steps, attack.random_start, attack.restarts) == ("fgsm", 1, False, 1)
    assert attack.step_size == attack.eps == 8 / 255


def test_pgd_takes_steps_of_two_and_a_half_radii_in_all():
    attack = pgd(8 / 255)
    assert (attack.steps, attack.random_start, attack.restarts) == (20, True, 1)
    assert attack.step_size == 2.5 * (8 / 255) / 20
    assert pgd(8 / 255, steps=7, step_size=2 / 255).step_size == 2 / 255


@pytest.mark.parametrize("make", [fgsm, pgd, lambda eps: Attack("square", eps)])
def test_a_budget_may_be_written_as_a_fraction(make):
    assert make("8/255") == make(8 / 255)


@pytest.mark.parametrize("eps", [8, 0, None, "eight"])
@pytest.mark.parametrize("make", [fgsm, pgd, lambda eps: Attack("square", eps)])
def test_a_wrong_budget_makes_no_attack(make, eps):
    with pytest.raises(InvalidValueError, match=r"^(eps is|no eps is given)"):
        make(eps)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "20"])
def test_pgd_wants_a_positive_number_of_steps(steps):
    with pytest.raises(InvalidValueError, match="steps"):
        pgd(8 / 255, steps=steps)


def test_an_unknown_attack_or_norm_suggests_a_known_one():
    with pytest.raises(UnknownNameError, match="unknown attack 'autoatack'; did you mean 'autoattack'"):
        Attack("autoatack", 0.1)
    with pytest.raises(UnknownNameError, match="unknown norm 'L1'"):
        Attack("pgd", 0.1, norm="L1")
    with pytest.raises(UnknownNameError, match="did you mean 'Linf'"):
        Attack("pgd", 0.1, norm="linf")


@pytest.mark.parametrize("make", [lambda name: Attack(name, 0.1), Metric, lambda name: Metric("clean_acc", split=name)])
@pytest.mark.parametrize("name", [None, 5, ["pgd"], {}])
def test_what_is_no_name_makes_no_attack_and_no_metric(make, name):
    with pytest.raises(UnknownNameError):
        make(name)


@pytest.mark.parametrize(
    ("metric", "column", "count_column", "eps"),
    [
        (Metric("clean_acc"), "clean_acc", "clean_correct", None),
        (Metric("corruption_acc"), "corruption_acc", "corruption_correct", None),
        (Metric.of(pgd(8 / 255)), "pgd_acc@8/255", "pgd_correct@8/255", 8 / 255),
        (Metric.of(fgsm(0.05), "validation"), "fgsm_acc@0.05#validation", "fgsm_correct@0.05#validation", 0.05),
        (Metric("clean_acc", split="validation"), "clean_acc#validation", "clean_correct#validation", None),
    ],
)
def test_columns_carry_the_budget_and_a_split_other_than_test(metric, column, count_column, eps):
    assert metric.long_name == column.removesuffix("#validation")
    assert (metric.column, metric.count_column, metric.eps) == (column, count_column, eps)
    assert metric.description


@pytest.mark.parametrize(
    ("name", "attack"),
    [("clean_acc", pgd(0.1)), ("corruption_acc", fgsm(0.1)), *(("pgd_acc", each) for each in (None, fgsm(0.1), "pgd"))],
)
def test_a_metric_and_its_attack_belong_together(name, attack):
    with pytest.raises(InvalidValueError, match=f"the attack of {name} is"):
        Metric(name, attack)


def test_an_unknown_metric_or_split_suggests_a_known_one():
    with pytest.raises(UnknownNameError, match="did you mean 'clean_acc'"):
        Metric("val_acc")
    with pytest.raises(UnknownNameError, match="unknown split 'valid'; did you mean 'validation'"):
        Metric("clean_acc", split="valid")


@pytest.mark.parametrize("metric", [Metric("clean_acc", split="validation"), *settings_for("digits").metrics])
def test_a_metric_survives_json(metric):
    assert Metric.from_dict(json.loads(json.dumps(dataclasses.asdict(metric)))) == metric


# ---------------------------------------------------------------------- settings and their hash


def test_the_defaults_are_the_published_protocol_on_cifar10():
    assert TrainingSettings() == settings_for("cifar10")
    settings = TrainingSettings()
    assert (settings.epochs, settings.batch_size, settings.max_lr, settings.weight_decay) == (50, 256, 0.1, 5e-4)
    assert settings.attack == pgd(8 / 255, steps=7, step_size=2 / 255)
    assert settings.attack.random_start
    assert settings.evaluation[:4] == (fgsm(3 / 255), pgd(3 / 255), fgsm(8 / 255), pgd(8 / 255))
    assert settings.evaluation[4:] == (autoattack(8 / 255, steps=10),)
    assert (settings.crop_padding, settings.flip) == (4, True)
    assert settings_for("imagenet").crop_padding == 2
    assert settings_for("imagenet").skeleton.classes == 120


CHANGES = {
    "dataset": "cifar100",
    "skeleton": Skeleton(channels=8),
    "attack": pgd(8 / 255, steps=10, step_size=2 / 255),
    "epochs": 51,
    "batch_size": 128,
    "max_lr": 0.2,
    "weight_decay": 0.0,
    "crop_padding": 2,
    "flip": False,
    "evaluation": (fgsm(8 / 255),),
}


def test_a_change_of_any_field_or_of_the_attack_changes_the_hash():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(TrainingSettings)}
    attack = TrainingSettings().attack
    attacks = [pgd(7 / 255, steps=7, step_size=2 / 255), pgd(8 / 255, steps=7, step_size=1 / 255)]
    attacks += [dataclasses.replace(attack, random_start=False), dataclasses.replace(attack, restarts=2)]
    changes = [*CHANGES.items(), *(("attack", other) for other in attacks)]
    changed = [dataclasses.replace(TrainingSettings(), **{name: value}) for name, value in changes]
    assert len({settings.hash for settings in (TrainingSettings(), *changed)}) == 1 + len(changes)


def test_the_hash_is_that_of_the_plain_dictionary():
    settings = settings_for("digits")
    assert json.loads(json.dumps(settings.to_dict())) == settings.to_dict()
    assert set(settings.to_dict()) == {field.name for field in dataclasses.fields(settings)}
    assert settings.hash == settings_for("DIGITS").hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (TrainingSettings(max_lr=1), TrainingSettings(max_lr=1.0)),
        (TrainingSettings(weight_decay=0), TrainingSettings(weight_decay=0.0)),
        (TrainingSettings(max_lr=np.float64(0.1)), TrainingSettings(max_lr=0.1)),
        (TrainingSettings(evaluation=(fgsm(1),)), TrainingSettings(evaluation=(fgsm(1.0),))),
        (TrainingSettings(dataset="CIFAR-10"), TrainingSettings()),
    ],
)
def test_equal_settings_have_one_hash(one, other):
    assert one == other
    assert one.hash == other.hash


WRONG = {
    "epochs": [0, 1.0, True, "50"],
    "batch_size": [1],
    "crop_padding": [-1],
    "max_lr": [-0.1, math.nan, math.inf, "0.1", True],
    "weight_decay": [None],
    "flip": ["no"],
    "attack": [None],
    "evaluation": [fgsm(0.1)],
    "skeleton": ["small"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_setting_of_the_wrong_type_or_range_is_refused(name, value):
    with pytest.raises(InvalidValueError, match=f"^({name} is|no {name} is given)") as caught:
        TrainingSettings(**{name: value})
    assert caught.value.given is value


def test_settings_know_their_metrics():
    columns = [metric.column for metric in settings_for("cifar10").metrics]
    budgets = ("fgsm_acc@3/255", "pgd_acc@3/255", "fgsm_acc@8/255", "pgd_acc@8/255")
    assert columns == ["clean_acc", *budgets, "autoattack_acc@8/255"]
    assert settings_for("cifar10").curve_split == "test"


def test_a_validation_split_is_measured_too_but_not_with_autoattack():
    names = ["clean_acc", "fgsm_acc@0.05", "pgd_acc@0.05", "fgsm_acc@0.1", "pgd_acc@0.1"]
    columns = [metric.column for metric in settings_for("digits").metrics]
    assert columns == [*names, "autoattack_acc@0.1", *(f"{name}#validation" for name in names)]
    assert settings_for("digits").curve_split == "validation"
    assert settings_for("digits").evaluation[-1].steps == 100  # the authors'


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingSettings().epochs = 1
