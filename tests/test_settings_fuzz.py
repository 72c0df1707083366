"""All settings under random values: refused by one sentence before any work, or stored, found again and looked at."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from nasbench_robust.cells import Cell
from nasbench_robust.datasets import DATASETS
from nasbench_robust.engines import choose_engine
from nasbench_robust.errors import NasbenchRobustError
from nasbench_robust.images import Images, load_images
from nasbench_robust.metrics import ATTACKS, CHECKPOINTS, NORMS, Attack, autoattack, fgsm, pgd
from nasbench_robust.runs import run_cell
from nasbench_robust.scores import ScoreSettings, chosen_images, score_cell, score_settings_for
from nasbench_robust.search.arnas import ARNAS, ArnasSettings, arnas_settings_for, run_architecture
from nasbench_robust.search.supernet import METHODS, SearchSettings, run_search, search_settings_for
from nasbench_robust.settings import Settings, TrainingSettings, settings_for
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import RUN_COLUMNS

KINDS: tuple[type[Settings], ...] = (TrainingSettings, ScoreSettings, SearchSettings, ArnasSettings)
SMALL = Skeleton.for_dataset("digits", channels=2, cells_per_stage=1)
NAMES = (*DATASETS, *ATTACKS, *NORMS, *CHECKPOINTS, *METHODS, "cell", "two-cells", "eval", "fp64", "sum", "synflow")

numbers = st.one_of(
    st.integers(-3, 300),
    st.sampled_from((2**31, 2**63, 10**400, -(10**400))),
    st.floats(),
    st.sampled_from((0.1, 8 / 255, 0.5, 1e-300, 1e300)),
    st.sampled_from((np.int64(3), np.float32(0.5), np.bool_(True), np.nan)),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, st.sampled_from(NAMES), st.text(max_size=4))
attack_tables = st.fixed_dictionaries(
    {"name": st.sampled_from(tuple(ATTACKS)), "eps": st.one_of(st.sampled_from((0.1, "8/255")), scalars)},
    optional={field.name: scalars for field in dataclasses.fields(Attack)[2:]},
)
skeleton_tables = st.dictionaries(st.sampled_from([field.name for field in dataclasses.fields(Skeleton)]), scalars)
anything = st.one_of(
    scalars,
    attack_tables,
    skeleton_tables,
    st.lists(attack_tables, max_size=3),
    st.lists(scalars, max_size=3),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=2), max_leaves=3),
)


def unless_refused(make: Callable[[], Any]) -> Any:
    """Return what is made, or None where it is refused by one sentence."""
    try:
        return make()
    except NasbenchRobustError as error:
        said = str(error)
    if "\n" in said or len(said) > 1500:
        pytest.fail(f"not one sentence: {said}")
    return None


@pytest.mark.parametrize("kind", KINDS)
@limits(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_settings_are_refused_by_a_sentence_or_stored_as_they_are(kind: type[Settings], data: Any) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    stored = data.draw(st.dictionaries(st.sampled_from(names), anything, max_size=3))
    whole = {**CHANGES[kind][1].to_dict(), **stored}
    made = unless_refused(lambda: kind.from_dict(whole))
    if made is None:
        return
    again = kind.from_dict(json.loads(json.dumps(made.to_dict())))
    assert again == made
    assert again.hash == made.hash
    for name in stored:
        value = getattr(made, name)
        assert not isinstance(value, float) or math.isfinite(value)
    if isinstance(made, TrainingSettings):
        unless_refused(lambda: choose_engine("auto", made))


@limits(max_examples=400, deadline=None)
@given(table=attack_tables)
def test_random_attacks_are_refused_or_say_only_what_is_used(table: dict[str, Any]) -> None:
    attack = unless_refused(lambda: Attack(**table))
    if attack is None:
        return
    assert 0 < attack.eps < math.inf
    assert attack.step_size is None or 0 < attack.step_size <= 1e6
    for option in ("steps", "restarts", "queries", "targets"):
        value = getattr(attack, option)
        assert value is None or (type(value) is int and 1 <= value <= 10**6)
        assert value in (None, 1) or option in ATTACKS[attack.name].uses


# ------------------------------------------------------------------ every stored field changes a result


@cache
def digits() -> Images[Any]:
    everything = load_images("digits")
    return replace(
        everything, train=everything.train[:96], test=everything.test[:40], validation=everything.validation[:40]
    )


def plain(result: Any) -> str:
    """Return a result without what differs from run to run."""
    noise = {"seconds", "settings", "settings_hash", *(name for name, row in RUN_COLUMNS.items() if row.circumstance)}
    return json.dumps({key: value for key, value in result.items() if key not in noise}, default=str, sort_keys=True)


def trained(settings: Settings) -> str:
    run = run_cell(Cell.from_index(9930), settings, digits(), 0, engine="torch-fast")
    curve = [dataclasses.asdict(epoch) for epoch in run.curve]
    return plain({**run.row, "curve": curve, "outcomes": {m.column: o.tolist() for m, o in run.outcomes.items()}})


def searched(settings: Settings) -> str:
    return plain(run_search(settings, digits(), 0))


def scored(settings: Settings) -> str:
    images, labels = chosen_images(settings, load_images("digits"))
    rows = score_cell(Cell.from_index(9930), settings, images, labels, 0)
    return json.dumps([(row.kernel, row.attack, row.score, row.value) for row in rows])


def of_genotype(settings: Settings) -> str:
    return plain(run_architecture(ARNAS, settings, digits(), 0))


FAST = {"epochs": 2, "batch_size": 32, "attack": pgd(0.1, steps=2)}
TRAINING = replace(settings_for("digits"), **FAST, skeleton=SMALL, evaluation=(fgsm(0.05), pgd(0.02, steps=2)))
GENOTYPE = replace(
    arnas_settings_for("digits"),
    **FAST,
    channels=2,
    layers=5,
    milestones=(1,),
    evaluation=(fgsm(0.02),),
)
COMMON = {
    **{"epochs": 1, "batch_size": 16, "max_lr": 0.03, "weight_decay": 0.1, "crop_padding": 2, "flip": True},
    **{"attack": pgd(0.1, steps=3), "evaluation": (fgsm(0.01),)},
}
SEARCH = replace(
    search_settings_for("digits", "gdas"),
    **{**FAST, "skeleton": SMALL, "one_shot_cells": 1, "batch_size": 12, "clip": 0.1},
)
ARNAS_S = replace(search_settings_for("digits", "arnas-s", order=1), **{**FAST, "skeleton": SMALL, "one_shot_cells": 1})
SCORES = replace(score_settings_for("digits"), images=12, attacks=(pgd(0.1, steps=2),), proxies=("grad_norm",))
# Of each kind: what makes the result, settings, and a change of every field that is not refused for these settings.
CHANGES: dict[type[Settings], tuple[Any, Settings, dict[str, Any]]] = {
    TrainingSettings: (trained, TRAINING, {**COMMON, "skeleton": replace(SMALL, channels=3)}),
    ArnasSettings: (
        of_genotype,
        GENOTYPE,
        {**COMMON, "channels": 3, "layers": 6, "milestones": (2,), "gradient_clip": 0.01},
    ),
    SearchSettings: (
        searched,
        SEARCH,
        {
            **{name: value for name, value in COMMON.items() if name != "evaluation"},
            **{"skeleton": replace(SMALL, channels=3), "method": "darts", "space": "two-cells", "min_lr": 0.01},
            **{"momentum": 0.5, "clip": 9.0, "alpha_lr": 0.1, "alpha_weight_decay": 0.5, "one_shot_cells": 2},
            **{"first_temperature": 5.0, "last_temperature": 1.0, "train_images": 48},
        },
    ),
    ScoreSettings: (
        scored,
        SCORES,
        {
            **{"skeleton": replace(SMALL, channels=3), "images": 13, "draw": 1, "bn": "eval", "output": "trace"},
            **{"precision": "fp64", "attacks": (pgd(0.1, steps=3),), "beta": 0.25, "train_fraction": 0.5},
            **{"relative_ridge": 10.0, "proxies": ("snip",), "kernels": False},
        },
    ),
}
ELSEWHERE = {
    "dataset": "other images",
    "strength": "below",
    "order": "below",
    "evaluation_batch": "memory; of PGD, the order of draws",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_changes_the_result(kind: type[Settings]) -> None:
    torch.set_num_threads(1)
    make, base, changes = CHANGES[kind]
    assert {field.name for field in dataclasses.fields(kind)} <= set(changes) | set(ELSEWHERE)
    before = make(base)
    for name, value in changes.items():
        # A search of two cells has no one-shot scores, so that what decides them has to be the protocol's.
        one_cell_only = {"one_shot_cells": 100, "attack": settings_for("digits").attack}
        changed = replace(base, **{name: value, **(one_cell_only if name == "space" else {})})
        assert make(changed) != before, name


def test_strength_and_order_change_a_search() -> None:
    before = searched(ARNAS_S)
    assert searched(replace(ARNAS_S, strength=9.0)) != before
    assert searched(replace(ARNAS_S, order=2)) != before


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (replace(SEARCH, method="darts", strength=0.5), "strength"),
        (replace(SEARCH, method="darts", last_temperature=1.0), "last_temperature"),
        (replace(ARNAS_S, first_temperature=1.0), "first_temperature"),
        (replace(SEARCH, attack=settings_for("digits").attack, space="two-cells", one_shot_cells=7), "one_shot_cells"),
        (replace(SEARCH, attack=fgsm(0.1), one_shot_cells=0), "attack"),
    ],
)
def test_a_search_refuses_what_it_would_ignore(settings: SearchSettings, name: str) -> None:
    with pytest.raises(NasbenchRobustError, match=f"{name} is .* does not use it"):
        run_search(settings, digits(), 0)


def test_an_evaluation_changes_with_every_field_of_an_autoattack() -> None:
    base = autoattack(0.02, steps=10)
    results = set()
    for attack in (base, replace(base, steps=2), replace(base, targets=1), replace(base, eps=0.03)):
        results.add(trained(replace(TRAINING, epochs=1, evaluation=(replace(attack, queries=20),))))
    assert len(results) >= 2
