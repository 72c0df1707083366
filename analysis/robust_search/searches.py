"""The searches: every method, with several weights and seeds, each a call of generation/search_supernet.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasbench_robust.files import write_bytes
from nasbench_robust.search.supernet import SearchSettings, record_name, search_settings_for
from nasbench_robust.settings import read_settings
from program import generate

DATASET = "digits"
SHARED = "settings.json"  # in the folder of the records: what all searches are given
# Method, and its settings where they are not the method's defaults.
PLAN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("darts", {}),
    ("darts", {"order": 2}),
    ("gdas", {}),
    *(("rnas-like-v1", {"strength": weight}) for weight in (0.0, 0.1, 1.0, 6.0)),
    ("rnas-like-v2", {}),
    ("rnas-like-v3", {}),
    *(("dsrna-like-jacobian", {"strength": weight}) for weight in (0.001, 0.01, 0.1, 1.0)),
    *(("dsrna-like-certified", {"strength": weight}) for weight in (0.001, 0.01, 0.1, 1.0)),
    ("dsrna-like-combined", {}),
    ("arnas-s", {}),
    ("arnas-s", {"strength": 1.0}),
    ("arnas-s", {"order": 1}),
)
METHODS = tuple(dict.fromkeys(method for method, _ in PLAN))


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

    def make(self) -> int:
        """Make the search; return an exit code."""
        settings = self.settings
        options = ["--method", settings.method, "--dataset", settings.dataset, "--strength", settings.strength]
        options += ["--order", settings.order, "--seeds", self.seed, "--out", self.folder]
        return generate("search_supernet.py", *options, "--settings", self.folder / SHARED)


def planned(folder: Path, methods: Sequence[str], seeds: int, epochs: int | None) -> list[Search]:
    """Return the searches of the plan, seed by seed: a first of everything comes first."""
    shared = {} if epochs is None else {"epochs": epochs, "one_shot_cells": 10}
    write_bytes(json.dumps(shared).encode(), folder / SHARED)
    settings = [
        read_settings(folder / SHARED, search_settings_for(DATASET, method, **changes))
        for method, changes in PLAN
        if method in methods
    ]
    return [Search(each, seed, folder) for seed in range(seeds) for each in settings]


def make(searches: Sequence[Search], workers: int) -> int:
    """Make the searches whose record is missing, some at a time; return the first exit code that is not 0."""
    missing = [each for each in searches if not each.record.exists()]
    print(f"{len(searches)} searches, {len(missing)} to make", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(workers) as pool:
        return next((code for code in pool.map(Search.make, missing) if code), 0)
