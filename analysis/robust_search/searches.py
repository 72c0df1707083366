"""The searches of a data set: every method, several seeds, each a call of generation/search_supernet.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasbench_robust.datasets import canonical_name
from nasbench_robust.errors import UnknownNameError
from nasbench_robust.files import write_bytes
from nasbench_robust.search.supernet import SearchSettings, record_name, search_settings_for
from nasbench_robust.settings import read_settings
from program import generate

SHARED = "settings.json"  # in the folder of the records: what all searches are given


@dataclass(frozen=True)
class Study:
    """What is searched on a data set.

    Attributes
    ----------
    dataset : str
    name : str
        Of the files of results.
    pgd : str
        Column of the PGD accuracy that cells found are judged by.
    other : str
        Column of the PGD accuracy that is shown beside it.
    plan : tuple of (str, dict)
        Method, and its settings where they are not the method's defaults.
    scale : dict
        Settings of all searches where they are not the protocol of the data set.
    """

    dataset: str
    name: str
    pgd: str
    other: str
    plan: tuple[tuple[str, dict[str, Any]], ...]
    scale: dict[str, Any]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the plan."""
        return tuple(dict.fromkeys(method for method, _ in self.plan))


_BOUNDS = ("dsrna-like-jacobian", "dsrna-like-certified")
DIGITS = Study(
    "digits",
    "robust_search",
    "digits pgd_acc",
    "cifar10 pgd_acc@8/255",
    (
        ("darts", {}),
        ("darts", {"order": 2}),
        ("gdas", {}),
        *(("rnas-like-v1", {"strength": weight}) for weight in (0.0, 0.1, 1.0, 6.0)),
        ("rnas-like-v2", {}),
        ("rnas-like-v3", {}),
        *((bound, {"strength": weight}) for bound in _BOUNDS for weight in (0.001, 0.01, 0.1, 1.0)),
        ("dsrna-like-combined", {}),
        ("arnas-s", {}),
        ("arnas-s", {"strength": 1.0}),
        ("arnas-s", {"order": 1}),
    ),
    {},
)
# 12,500 images in either half, 195 steps an epoch and 1,950 in all, a tenth of the protocol's: so the architecture has
# ten times its learning rate, as on digits. Crops as on the other images of 16x16 pixels, ImageNet16-120.
CIFAR10 = Study(
    "cifar10",
    "robust_search_cifar10",
    "cifar10 pgd_acc@8/255",
    "digits pgd_acc",
    (
        ("darts", {}),
        ("darts", {"order": 2}),
        ("gdas", {}),
        *((f"rnas-like-v{variant}", {}) for variant in (1, 2, 3)),
        *((bound, {"strength": weight}) for bound in _BOUNDS for weight in (0.001, 0.01)),
        ("dsrna-like-combined", {}),
        ("arnas-s", {}),
    ),
    {
        "skeleton": {"channels": 8, "cells_per_stage": 1, "image_size": 16},
        "train_images": 25_000,
        "epochs": 10,
        "alpha_lr": 3e-3,
        "crop_padding": 2,
        "one_shot_cells": 40,
    },
)
STUDIES = {study.dataset: study for study in (DIGITS, CIFAR10)}


def find_study(dataset: str) -> Study:
    """Return the study of a data set; raise `UnknownNameError` where there is none."""
    name = canonical_name(dataset)
    if name not in STUDIES:
        raise UnknownNameError("data set of this study", name, tuple(STUDIES))
    return STUDIES[name]


@dataclass(frozen=True)
class Search:
    """One search of the plan."""

    settings: SearchSettings
    seed: int
    folder: Path

    @property
    def record(self) -> Path:
        """Where its record is, or will be."""
        return self.folder / record_name(self.settings, self.seed)

    @property
    def labels(self) -> dict[str, Any]:
        """The first columns of a row."""
        settings = self.settings
        return {"method": settings.method, "strength": settings.strength, "order": settings.order, "seed": self.seed}

    def make(self, images: str | None) -> int:
        """Make the search, on images of a folder where they need one; return an exit code."""
        settings = self.settings
        options = ["--method", settings.method, "--dataset", settings.dataset, "--strength", settings.strength]
        options += ["--order", settings.order, "--seeds", self.seed, "--out", self.folder]
        options += [] if images is None else ["--data-root", images]
        return generate("search_supernet.py", *options, "--settings", self.folder / SHARED)


def planned(study: Study, folder: Path, methods: Collection[str], seeds: int, epochs: int | None) -> list[Search]:
    """Return the searches of the plan, seed by seed: a first of everything comes first."""
    tiny = {} if epochs is None else {"epochs": epochs, "one_shot_cells": 10, "train_images": 128}
    shared = {**study.scale, **tiny}
    write_bytes(json.dumps(shared).encode(), folder / SHARED)
    settings = [
        read_settings(folder / SHARED, search_settings_for(study.dataset, method, **changes))
        for method, changes in study.plan
        if method in methods
    ]
    return [Search(each, seed, folder) for seed in range(seeds) for each in settings]


def make(searches: Sequence[Search], workers: int, images: str | None) -> int:
    """Make the searches whose record is missing, some at a time; return the first exit code that is not 0."""
    missing = [each for each in searches if not each.record.exists()]
    print(f"{len(searches)} searches, {len(missing)} to make", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(workers) as pool:
        return next((code for code in pool.map(lambda each: each.make(images), missing) if code), 0)
