"""One of each kind added from outside the package: what docs/house.md says it takes, used end to end, and removed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from run_folders import rows_in

import nasbench_robust as nbr
from nasbench_robust.cells import Cell
from nasbench_robust.cli import main, parser
from nasbench_robust.datasets import DATASETS, Dataset
from nasbench_robust.engines import ENGINES, EngineRow, engine_named
from nasbench_robust.images import ArrayImages, Images, Split, load_arrays
from nasbench_robust.metrics import ATTACKS, Attack, AttackKind
from nasbench_robust.proxies import PROXIES, Proxy
from nasbench_robust.runs import Unit, run_cell, write_run, write_worklist
from nasbench_robust.scores import read_scores
from nasbench_robust.search import SEARCHERS, Budget, TableProblem, repeat
from nasbench_robust.search.supernet import METHODS, Method, read_search
from nasbench_robust.search.tabular import SearchMethod
from nasbench_robust.settings import settings_for
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import RUN_COLUMNS, Column, Reader

CELL = Cell.from_index(9930)
QUICK = replace(
    settings_for("digits"),
    skeleton=Skeleton.for_dataset("digits", channels=2, cells_per_stage=1),
    epochs=1,
    batch_size=64,
    attack=Attack.pgd(0.1, steps=1),
    evaluation=(Attack.fgsm(0.1),),
)


@pytest.fixture(scope="module")
def images() -> ArrayImages:
    return load_arrays("digits")


# ------------------------------------------------------------------ an attack: a function and a row


def corners(network, images, labels, attack, generator, batch_size):
    """Go to a random corner of the ball."""
    signs = torch.randint(2, images.shape, generator=generator) * 2 - 1
    return (images + attack.eps * signs).clamp(0, 1)


def test_an_attack(images, tmp_path, monkeypatch):
    monkeypatch.setitem(ATTACKS, "corners", AttackKind("a random corner of the ball", {"Linf": corners}, strength=1))
    settings = replace(QUICK, evaluation=(*QUICK.evaluation, Attack("corners", 0.1)))
    run = run_cell(CELL, settings, images, seed=0, engine="auto")
    assert run.row["engine"] == "torch-fast"  # the native engine does not have it
    write_run(run, settings, tmp_path)
    bench = nbr.load(tmp_path)
    assert bench.query(CELL, metric="corners_acc") == run.row["corners_acc@0.1"]
    assert bench.lookup(CELL, metric="corners_acc", split="validation").attack == Attack("corners", 0.1)
    assert [finding for finding in nbr.validate(tmp_path) if finding.severity == "error"] == []
    monkeypatch.undo()
    with pytest.raises(ValueError, match="unknown attack 'corners'"):
        Attack("corners", 0.1)


# ------------------------------------------------------------------ an engine: a class and a row


class Sleepwalker:
    """torch, whose every prediction is taken for right."""

    def __init__(self, row: EngineRow) -> None:
        self.name, self._torch = row.name, engine_named("torch")

    def refuses(self, settings: Any, device: str) -> str | None:
        return None if settings.dataset == "digits" else "torch for other images"

    def affinity(self, settings: Any, device: str, threads: int) -> int:
        return 3

    def load(self, images: Images[Any], device: str) -> Images[Any]:
        return self._torch.load(images, device)

    def trainer(self, cell: Cell, settings: Any, images: Images[Any], seed: int) -> Any:
        return self._torch.trainer(cell, settings, images, seed)

    def measure(self, trainer: Any, metric: Any, done: int) -> Iterator[np.ndarray]:
        yield np.ones((1, len(trainer.images.held_out(metric.split))), bool)

    def provenance(self, trainer: Any) -> dict[str, Any]:
        return {"device": "a bed", "versions": "0"}


SLEEPWALKER = EngineRow("sleepwalker", Sleepwalker, "plain", "fp32", False, "never", "none")


def test_an_engine(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(ENGINES, "sleepwalker", SLEEPWALKER)
    overrides = tmp_path / "settings.json"
    overrides.write_text('{"epochs": 1, "attack": {"steps": 1}, "evaluation": []}')
    train = ["train", "--index", "9930", "--settings", str(overrides), "--out", str(tmp_path / "runs")]
    assert main(train) == 0  # "auto" takes the largest affinity
    bench = nbr.load(tmp_path / "runs")
    assert bench.query(CELL, metric="clean_acc") == 1
    assert rows_in(tmp_path / "runs", ["engine", "device"]) == [{"engine": "sleepwalker", "device": "a bed"}]
    assert main([*train, "--engine", "sleepwalker", "--dataset", "cifar10"]) == 2
    assert "engine is 'sleepwalker', expected torch for other images" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*train, "--engine", "sleepwalker"]) == 2
    assert "unknown engine 'sleepwalker'" in capsys.readouterr().err


# ------------------------------------------------------------------ a data set: a row, and how it is read


def stripes() -> ArrayImages:
    """Return images whose class is the direction of their stripes."""
    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = rng.integers(2, size=count)
        rows = rng.random((count, 1, 4, 1)).repeat(4, axis=3)
        pixels = np.where(labels[:, None, None, None] == 0, rows, rows.swapaxes(2, 3)).astype(np.float32)
        return Split(pixels, labels)

    return Images("stripes", split(128), split(40))


STRIPES = Dataset(
    name="stripes",
    classes=2,
    input_channels=1,
    image_size=4,
    train_images=128,
    test_images=40,
    mean=(0.5,),
    std=(0.3,),
    eps=0.05,
    load=stripes,
    protocol={"channels": 2, "cells_per_stage": 1, "attack": Attack.pgd(0.05, steps=1), "epochs": 2, "batch_size": 32,
              "crop_padding": 0, "evaluation": (Attack.fgsm(0.05),)},
)  # fmt: skip


def test_a_data_set(tmp_path, monkeypatch):
    monkeypatch.setitem(DATASETS, "stripes", STRIPES)
    assert main(["train", "--index", "9930", "--dataset", "Stripes", "--out", str(tmp_path)]) == 0
    bench = nbr.load(tmp_path)
    result = bench.lookup(CELL, "stripes", "fgsm_acc")
    assert (result.metric, result.test_images, result.split) == ("fgsm_acc@0.05", 40, "test")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="unknown data set 'stripes'"):
        load_arrays("stripes")


# ------------------------------------------------------------------ a proxy: a function and a row


def brightness(_: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Ask the images alone."""
    return images.mean()


def test_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = tmp_path / "settings.json"
    score = ["score", "--cells", "9930", "--settings", str(overrides), "--out", str(tmp_path / "shards")]
    score += ["--table", str(tmp_path / "scores.parquet")]
    overrides.write_text('{"images": 8, "attacks": [], "proxies": ["params"]}')
    assert main(score) == 0
    old, _ = read_scores(tmp_path / "scores.parquet")
    monkeypatch.setitem(PROXIES, "bright", Proxy("bright", brightness, "here", uses_labels=False))
    overrides.write_text('{"images": 8, "attacks": [], "proxies": ["params", "bright"]}')
    worker = argparse.Namespace(**{**vars(parser().parse_args(score)), "work": tmp_path / "work.jsonl", "task": 0})
    write_worklist([[Unit(CELL.index, 0)]], worker.work)
    assert worker.command.run(worker) == 0  # in this process: others do not know the row
    assert main(score) == 0
    grown, _ = read_scores(tmp_path / "scores.parquet")
    assert set(grown["score"]) - set(old["score"]) == {"bright"}  # and nothing else was made again
    assert len(grown) == len(old) + 1
    monkeypatch.undo()
    assert main(score) == 2
    assert "unknown proxy 'bright'" in capsys.readouterr().err


# ------------------------------------------------------------------ search methods: a class or a function, and a row


class Countdown:
    """Takes cells from the last one on."""

    def __init__(self, rng: np.random.Generator, *, start: int = 15_624) -> None:
        self.left = start + 1

    def ask(self) -> Cell:
        self.left -= 1
        return Cell.from_index(self.left)

    def tell(self, cell: Cell, value: object) -> None:
        pass


def test_a_search_method_on_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEARCHERS, "countdown", SearchMethod("countdown", Countdown, "down", "here", {"start": 9_930}))
    found = repeat(TableProblem(nbr.load(), "pgd_acc"), SEARCHERS["countdown"].make, Budget(queries=3), repeats=2)
    assert [trajectory.index.tolist() for trajectory in found.trajectories] == [[9930, 9929, 9928]] * 2
    monkeypatch.undo()
    assert "countdown" not in SEARCHERS


def test_a_search_method_by_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def smooth(model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
        return (torch.nn.functional.cross_entropy(model(batch.images), batch.labels, label_smoothing=0.1),)

    overrides = tmp_path / "settings.json"
    overrides.write_text('{"epochs": 1, "one_shot_cells": 0, "batch_size": 256}')
    search = ["search", "--method", "smooth", "--settings", str(overrides), "--out", str(tmp_path / "searches")]
    monkeypatch.setitem(METHODS, "smooth", Method("smooth", "clean loss of smoothed labels", smooth))
    assert main(search) == 0
    (path,) = (tmp_path / "searches").glob("*.json")
    record = read_search(path)
    assert record["settings"]["method"] == "smooth"
    monkeypatch.undo()
    assert main(search) == 2
    assert "unknown search method 'smooth'" in capsys.readouterr().err


# ------------------------------------------------------------------ a column of runs: a row, and who fills it


def test_a_column_of_runs(images, tmp_path, monkeypatch):
    run, settings = run_cell(CELL, QUICK, images, seed=0, engine="torch"), QUICK
    write_run(run, settings, tmp_path / "old")
    monkeypatch.setitem(RUN_COLUMNS, "joules", Column("joules", pa.float64(), since=2, circumstance=True))
    for seed, joules in ((0, 3.0), (1, 4.0)):
        write_run(replace(run, row={**run.row, "seed": seed, "joules": joules}), settings, tmp_path / "new")
    assert rows_in(tmp_path / "new", ["seed", "joules"]) == [
        {"seed": 0, "joules": 3.0},
        {"seed": 1, "joules": 4.0},
    ]
    for table in (tmp_path / "old", nbr.releases.locate("digits-1")):  # made before there was the column
        assert {row["joules"] for row in rows_in(table, ["index", "joules"])} == {None}
        assert [finding for finding in nbr.validate(table) if finding.severity == "error"] == []
    folders = [str(tmp_path / name) for name in ("old", "new")]
    assert main(["collect", *folders, "--out", str(tmp_path / "release")]) == 0
    rows = Reader(tmp_path / "release" / "runs.parquet").read(["seed", "joules"]).to_pylist()
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[1]["joules"] == 4.0
    monkeypatch.undo()
    assert nbr.load(tmp_path / "release").query(CELL, metric="clean_acc", seed=1) == run.row["clean_acc"]
