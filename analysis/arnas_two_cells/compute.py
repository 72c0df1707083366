"""The searches of two cells, the trainings of what they found and of its controls, and the rows of all networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nasbench_robust.errors import MissingResultError
from nasbench_robust.files import write_bytes
from nasbench_robust.search.arnas import default_settings, parse_architecture, run_name
from nasbench_robust.search.supernet import read_search, record_name, search_settings_for
from nasbench_robust.settings import read_settings
from program import GENERATION, generate

WITHOUT_AUTOATTACK = GENERATION.parent / "examples" / "without-autoattack.json"
METRICS = ("clean_acc", "pgd_acc@0.1")
Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """Which searches and trainings there are to be."""

    folder: Path
    seeds: int  # of searches, and of trainings of a network
    epochs: int | None  # None: those of the settings

    def write_settings(self, name: str, content: dict[str, Any]) -> Path:
        """Write settings with the epochs of the plan; return the file."""
        epochs = {} if self.epochs is None else {"epochs": self.epochs}
        write_bytes(json.dumps({**content, **epochs}).encode(), self.folder / name)
        return self.folder / name


def networks_of(record: Record) -> dict[str, str]:
    """Return what is trained for a search: role to the text that train_genotype.py takes."""
    accurate, robust = record["argmax"]
    roles = {"found": f"{accurate},{robust}", "reversed": f"{robust},{accurate}"}
    return {**roles, "accurate cell alone": str(accurate), "robust cell alone": str(robust)}


def make(plan: Plan, workers: int) -> pd.DataFrame:
    """Search and train what is missing; return a row per network.

    Raises
    ------
    MissingResultError
        If a search or a training failed; what failed has said why.
    """
    settings = plan.write_settings("settings.json", json.loads(WITHOUT_AUTOATTACK.read_text()))
    with ThreadPoolExecutor(workers) as pool:
        records = list(pool.map(lambda seed: _search(plan, seed), range(plan.seeds)))
        codes = list(pool.map(lambda record: _train(plan, record, settings), records))
    if any(codes):
        raise MissingResultError("the networks of a search could not be trained")
    return pd.DataFrame([row for record in records for row in _rows(plan, record, settings)])


def _search(plan: Plan, seed: int) -> Record:
    """Make a search if it is not there; return its record."""
    folder = plan.folder / "searches"
    file = plan.write_settings(f"searches/settings-{seed}.json", {})
    options = ["--space", "two-cells", "--method", "arnas-s", "--seeds", seed, "--out", folder, "--settings", file]
    code = generate("search_supernet.py", *options)
    settings = read_settings(file, search_settings_for("digits", "arnas-s", "two-cells"))
    path = folder / record_name(settings, seed)
    record = read_search(path) if code == 0 and path.exists() else None
    if record is None or record["failure"] is not None:
        raise MissingResultError(f"the search with seed {seed} failed")
    return record


def _train(plan: Plan, record: Record, settings: Path) -> int:
    """Train the networks of a search if they are not there; return the exit code."""
    networks = dict.fromkeys(networks_of(record).values())
    options = ["--genotype", *networks, "--settings", settings, "--out", plan.folder / "networks"]
    return generate("train_genotype.py", *options, "--seeds", *range(plan.seeds))


def _rows(plan: Plan, record: Record, settings: Path) -> Iterator[dict[str, Any]]:
    """Yield a row per trained network of a search."""
    for role, text in networks_of(record).items():
        architecture = parse_architecture(text)
        trained_by = read_settings(settings, default_settings(architecture, "digits"))
        for seed in range(plan.seeds):
            path = plan.folder / "networks" / f"{run_name(architecture, trained_by, seed)}.json"
            result = json.loads(path.read_text())
            row = {"search": record["seed"], "role": role, "cells": text, "seed": seed}
            shares = {each["metric"]: each["correct"] / each["images"] for each in result.get("accuracies", [])}
            yield {**row, "parameters": result["parameters"], **{name: shares.get(name) for name in METRICS}}
