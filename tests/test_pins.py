"""Numbers that users hold in their hands: hashes of settings, scores, a search, made once and equal ever since.

Rows of released tables refer to the hashes; who repeats a published score or search must find it again.
`make_digits.py --sample` does the same for the runs of the package's table.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nasbench_robust.cells import Cell
from nasbench_robust.images import load_images
from nasbench_robust.releases import locate
from nasbench_robust.scores import ScoreSettings, chosen_images, read_scores, score_cell, score_settings_for
from nasbench_robust.search.arnas import arnas_settings_for
from nasbench_robust.search.supernet import record_name, run_search, search_settings_for
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton

STORED_SCORES = Path(__file__).resolve().parents[1] / "analysis" / "scores"


@pytest.mark.parametrize(
    ("dataset", "training", "scores", "darts", "arnas_s", "arnas_space", "arnas"),
    [
        ("digits", "b9d936a28dea8065", "e50677a00468f892", "51e1098c51aa4958", "388d1f84aa96d7d0", "a85947266fd82b60",
         "731053d4770a7635"),
        ("cifar10", "0b7e33e6ae578649", "bed5844ab26c032e", "8e73af9e8d7928c9", "2bdeb80cdad83146", "1cf0a543f1e25986",
         "e0b2090ef111cbc0"),
        ("cifar100", "a1dba4d1bfa0da6a", "a2464a7c4a4d5cc3", "3e34321509389eab", "156774dc817c7545",
         "4def8fba72531429", "18696947ab3ac348"),
        ("ImageNet16-120", "b35cbc8fe1019222", "ff875cc2ab694208", "e99499bc65623f09", "62c5c6fd58c63e4e",
         "96ecebb1d537fc3a", "524afb821452a11e"),
    ],
)  # fmt: skip
def test_hashes_of_settings(dataset, training, scores, darts, arnas_s, arnas_space, arnas):
    """New settings need a new field that is left out of the hash where it has its default."""
    assert settings_for(dataset).hash == training
    assert score_settings_for(dataset).hash == scores
    assert search_settings_for(dataset).hash == darts
    assert search_settings_for(dataset, "arnas-s").hash == arnas_s
    assert search_settings_for(dataset, "arnas-s", "arnas").hash == arnas_space
    assert arnas_settings_for(dataset).hash == arnas


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("digits", 1_075_172, "e50677a00468f892"),
        ("cifar10", 381_612, "bed5844ab26c032e"),
        ("cifar10_eval", 64_660, "cae587db3b9ddbb5"),
    ],
)
def test_stored_scores_are_those_of_their_settings(name, rows, expected):
    frame, stored = read_scores(STORED_SCORES / f"{name}.parquet")
    assert len(frame) == rows
    settings = ScoreSettings.from_dict(stored)
    assert settings.hash == expected
    assert settings.to_dict() == stored


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits/runs", "2bd45df4e693e703d42d49e62c9418ff6208fa6c9b00cf3c2d720dbfe9c17534"),
        ("digits-1/runs", "d7b525bd8eea3b2b8d3e7db0b8ab6731e39b54fdd88cca699f357e27ac977897"),
        ("digits/curves", "bb7dc2fa14fa5bdc177295b6f787fd966a3be9ed439db7b2820891740454d7ce"),
        ("digits/outcomes", "c22605c71de71e0b5192ca1c759287ccb28408b477c662bd5bdb282e407ac21f"),
    ],
)
def test_bundled_table_is_the_one_that_was_made(name, expected):
    content = (locate("digits").parents[1] / f"{name}.parquet").read_bytes()
    assert hashlib.sha256(content).hexdigest() == expected


# By kernel, attack and score; the network, its images and its attacks in double precision.
SCORES = {
    ("clean", None, "condition_number"): 17.213550987135903,
    ("clean", None, "trace"): 28470.002390923182,
    ("robust", "pgd@0.1", "condition_number"): 16.300720359067014,
    ("cross", "pgd@0.1", "condition_number"): 782.832183898007,
    ("robust_twice", "pgd@0.1", "condition_number"): 34.325823293618484,
    ("cross_twice", "pgd@0.1", "trace"): 16780.47585098631,
    ("combined", "pgd@0.1", "condition_number"): 16.0068602789005,
    ("combined_robust", "pgd@0.1", "trace"): 23859.809861125876,
    (None, None, "params"): 20222.0,
    (None, None, "flops"): 169376.0,
    (None, None, "synflow"): 3062442559.9866076,
    (None, None, "grad_norm"): 14.342145582531662,
    (None, None, "snip"): 15.839991880956136,
    (None, None, "grasp"): 3.4528308943796553,
    (None, None, "fisher"): 0.1729895711734074,
    (None, None, "jacob_cov"): -20.922908086034283,
    (None, None, "naswot"): 113.40635597395553,
    (None, None, "zen"): 34.166272465773396,
    (None, None, "croze"): 35642258.414371416,
}


def test_scores_of_a_cell():
    settings = replace(score_settings_for("digits"), images=16, precision="fp64")
    images, labels = chosen_images(settings, load_images("digits"))
    found = {
        (row.kernel, row.attack, row.score): row.value
        for row in score_cell(Cell.from_index(9930), settings, images, labels, 0)
    }
    assert len(found) == 133
    for key, value in SCORES.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key


LATER = {
    "l2_norm": 40.91861303841003,
    "zico": 180.47277935466542,
    "epe_nas": 81.17716896967542,
    "swap": 1467.0,
    "meco": 17.699111370188326,
    "az_expressivity": 10.43890627747382,
    "az_progressivity": 0.03683879618253072,
    "az_trainability": -0.27517403871075646,
}


def test_later_proxies_of_a_cell():
    settings = replace(score_settings_for("digits"), images=16, attacks=(), kernels=False, proxies=tuple(LATER))
    images, labels = chosen_images(settings, load_images("digits"))
    found = {row.score: row.value for row in score_cell(Cell.from_index(9930), settings, images, labels, 0)}
    # An input of a ReLU that is 0 to rounding may count as positive, or not.
    assert found.pop("swap") == pytest.approx(LATER["swap"], abs=2)
    assert found == pytest.approx({name: LATER[name] for name in found}, rel=1e-4)


def test_a_search():
    torch.set_num_threads(1)
    small = Skeleton.for_dataset("digits", channels=2, cells_per_stage=1)
    settings = replace(search_settings_for("digits", "arnas-s", order=1), epochs=1, one_shot_cells=2, skeleton=small)
    record = run_search(settings, load_images("digits"), 0)
    assert record_name(settings, 0) == "arnas-s-digits-b6055fe1-0.json"
    assert record["argmax"] == [14975]
    assert record["history"][0]["train_loss"] == pytest.approx(2.369630992412567, abs=1e-5)
    first_edge = record["history"][0]["alpha"][0][0]
    assert first_edge == pytest.approx([0.0585105, -0.0241791, -0.0045306, 0.0320046, -0.0382191], abs=1e-5)
    assert record["one_shot"] == {
        "cells": [0, 6638],
        "clean_acc": [0.150390625, 0.138671875],
        "pgd_acc": [0.009765625, 0.015625],
    }
