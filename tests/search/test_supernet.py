"""The supernet, the bilevel loop, and the program that runs it."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import SMALL, seeded, shaken, with_weights_of
from processes import PATIENCE, started, wait_for

from nasbench_robust.cells import Cell
from nasbench_robust.cells.cell import OPERATIONS
from nasbench_robust.errors import InvalidValueError, SourceFormatError, TrainingDivergedError, UnknownNameError
from nasbench_robust.metrics import Metric
from nasbench_robust.networks import Subnetwork, Supernet, network_for, supernet_for
from nasbench_robust.search.arnas import read_genotype
from nasbench_robust.search.arnas.space import derive
from nasbench_robust.search.supernet import (
    BilevelSearch,
    SearchSettings,
    one_shot_accuracies,
    read_search,
    run_search,
    search_settings_for,
    write_search,
)
from nasbench_robust.skeletons import Skeleton

PROGRAM = Path(__file__).resolve().parents[2] / "generation" / "search_supernet.py"


def small_settings(method: str, **changes: Any) -> SearchSettings:
    return search_settings_for("digits", method, **{"skeleton": SMALL, "epochs": 2, "batch_size": 128, **changes})


def finished(search: BilevelSearch) -> BilevelSearch:
    while not search.finished:
        search.step()
    return search


# ------------------------------------------------------------------ the supernet


@pytest.mark.parametrize("index", [1462, 9930, 138, 3928, 0, 15624, 7777])
def test_a_subnetwork_is_the_network_of_its_cell(index):
    """With shared weights, at 1 and 0 as scale and shift, the logits are those of the published network."""
    cell = Cell.from_index(index)
    supernet = shaken(supernet_for(SMALL, "digits", seeded()), index)
    images = torch.rand(3, 1, 8, 8, generator=seeded(7), dtype=torch.float64)
    expected = with_weights_of(supernet, network_for(cell, SMALL, "digits", seeded(1)), [cell] * 3)(images)
    torch.testing.assert_close(Subnetwork(supernet, [cell])(images), expected, rtol=1e-12, atol=1e-12)
    one_hot = F.one_hot(torch.tensor([[OPERATIONS.index(name) for name in cell.operations]]), 5).double()
    torch.testing.assert_close(supernet(images, one_hot), expected, rtol=1e-12, atol=1e-12)


def test_the_mixture_is_the_softmax_and_the_logits_depend_on_it():
    supernet = supernet_for(SMALL, "digits", seeded())
    assert supernet.alpha.shape == (1, 6, 5)
    torch.testing.assert_close(supernet.mixture().sum(dim=-1), torch.ones(1, 6))
    images = torch.rand(4, 1, 8, 8, generator=seeded(1))
    (gradient,) = torch.autograd.grad(supernet(images).square().sum(), supernet.alpha)
    assert (gradient != 0).all()  # of every operation on every edge, none too: a softmax couples them
    assert "alpha" not in dict(supernet.weights())
    assert sum(1 for _ in supernet.weights()) == sum(1 for _ in supernet.parameters()) - 1


def test_discretisation_with_and_without_none():
    supernet = supernet_for(SMALL, "digits", seeded())
    with torch.no_grad():
        supernet.alpha.copy_(torch.tensor([[3.0, 2.0, 0.0, 0.0, 0.0]] * 5 + [[0.0, 0.0, 0.0, 1.0, 0.0]]))
    assert supernet.cells()[0].operations == ("none",) * 5 + ("nor_conv_3x3",)
    assert supernet.cells(allow_none=False)[0].operations == ("skip_connect",) * 5 + ("nor_conv_3x3",)


def test_groups_and_widths():
    options = {"mean": [0.3], "std": [0.4], "generator": seeded()}
    supernet = Supernet(SMALL, groups=(0, 0, 1), widths=(2, 4, 4), **options)
    assert supernet.alpha.shape == (2, 6, 5)
    assert len(supernet.cells()) == 2
    assert supernet(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert supernet.classifier.in_features == 4
    with pytest.raises(InvalidValueError, match="groups"):
        Supernet(SMALL, groups=(0, 2, 1, 1), **options)
    with pytest.raises(InvalidValueError, match=r"cells.*1.*2"):
        Subnetwork(supernet, [Cell.from_index(0)])


# ------------------------------------------------------------------ the loop


@pytest.mark.parametrize("method", ["darts", "gdas", "arnas-s"])
def test_a_search_resumes_without_a_trace(method, images):
    settings = small_settings(method)
    straight = finished(BilevelSearch(settings, images, 3))
    first = BilevelSearch(settings, images, 3)
    for _ in range(straight.steps_per_epoch + 1):  # into the second epoch
        first.step()
    second = BilevelSearch(settings, images, 4)  # another seed: nothing of its start may stay
    second.load_state_dict(first.state_dict())
    assert finished(second).history == straight.history
    weights = second.supernet.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in straight.supernet.state_dict().items())


def test_halves_are_disjoint_and_complete(images):
    halves = BilevelSearch(small_settings("darts"), images, 0).halves
    assert sorted(torch.cat(halves).tolist()) == list(range(len(images.train.labels)))
    assert len(halves[0]) == len(halves[1])


def test_a_search_learns(images):
    settings = small_settings("darts", epochs=8, batch_size=32, max_lr=0.2)
    start = BilevelSearch(settings, images, 0).supernet.alpha.detach()
    search = finished(BilevelSearch(settings, images, 0))
    losses = [epoch.train_loss for epoch in search.history]
    assert losses[-1] < 0.7 * losses[0]
    moved = (search.supernet.alpha.detach() - start).abs().max()
    assert 0.05 < float(moved) < 8 * search.steps_per_epoch * search.settings.alpha_lr * 1.01  # Adam's longest way
    rates = [epoch.learning_rate for epoch in search.history]
    assert rates[0] == pytest.approx(0.2)
    assert rates == sorted(rates, reverse=True)


def test_divergence_is_reported(images):
    settings = small_settings("darts", max_lr=1e30, clip=1e30)
    with pytest.raises(TrainingDivergedError, match="not finite in epoch 1"):
        finished(BilevelSearch(settings, images, 0))
    record = run_search(settings, images, 0)
    assert "not finite" in record["failure"]
    assert not {"argmax", "one_shot"} & set(record)


def test_one_shot_scores_favour_the_cell_that_was_trained(images):
    """Where the mixture is all but one cell, that cell's score is high; the supernet is left as it was."""
    settings = small_settings("darts", epochs=10, batch_size=32, max_lr=0.2)
    supernet = supernet_for(SMALL, "digits", seeded())
    trained, without = Cell.from_index(1462), Cell(["none"] * 6)
    with torch.no_grad():
        supernet.alpha[:, :, OPERATIONS.index("nor_conv_3x3")] += 8
    search = finished(BilevelSearch(settings, images, 0, supernet))
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    metrics = [Metric("clean_acc"), Metric.of(settings.attack)]
    seen, held_out = (images.train[half[:256]] for half in search.halves)
    cells = [trained, without]
    scores = one_shot_accuracies(supernet, cells, seen.pixels, held_out.pixels, held_out.labels, metrics, seeded())
    clean, attacked = (scores[metric] for metric in metrics)
    assert clean[0] > 0.5 > 0.25 > clean[1]
    assert attacked[0] < clean[0]
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


def test_one_shot_scores_know_nothing_of_the_statistics_of_the_mixture(images):
    supernet = supernet_for(SMALL, "digits", seeded())
    other = copy.deepcopy(supernet)
    for module in other.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean += 3
            module.num_batches_tracked += 9
    given = [Cell.from_index(1462), Cell.from_index(9930)], images.train.pixels[:64], *images.test[:200]
    one, same = (one_shot_accuracies(each, *given, [Metric("clean_acc")], seeded()) for each in (supernet, other))
    assert one == same


@pytest.mark.parametrize(("space", "shape"), [("two-cells", (2, 6, 5)), ("arnas", (3, 14, 7))])
def test_other_spaces_are_searched_by_the_same_loop(space, shape, images, tmp_path):
    few = replace(images, train=images.train[:32])
    settings = search_settings_for("digits", "arnas-s", space, epochs=1, batch_size=16)
    settings = replace(settings, skeleton=replace(settings.skeleton, channels=2))
    record = run_search(settings, few, 0)
    assert np.array(record["history"][0]["alpha"]).shape == shape
    assert "one_shot" not in record
    if space == "arnas":
        genotype = read_genotype(write_search(record, tmp_path))
        assert genotype == derive(F.softmax(torch.tensor(record["history"][0]["alpha"]).double(), dim=-1).numpy())
    else:
        assert len(record["argmax"]) == len(record["argmax_without_none"]) == 2


# ------------------------------------------------------------------ settings


def test_settings_round_trip_and_name_what_is_wrong():
    settings = search_settings_for("digits", "arnas-s")
    assert (settings.order, settings.strength, settings.batch_size) == (2, 0.1, 32)
    assert SearchSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert settings.hash != search_settings_for("digits", "arnas-s", strength=1.0).hash
    assert "train_images" not in settings.to_dict()
    half_size = Skeleton(image_size=16)
    some = SearchSettings(skeleton=half_size, train_images=25_000)
    assert SearchSettings.from_dict(json.loads(json.dumps(some.to_dict()))) == some
    for error, message, question in (
        (UnknownNameError, "arnas-s", lambda: search_settings_for("digits", "arnas")),
        (InvalidValueError, r"order.*gdas", lambda: search_settings_for("digits", "gdas", order=2)),
        (InvalidValueError, r"space.*arnas.*two-cells", lambda: search_settings_for("digits", "gdas", "arnas")),
        (UnknownNameError, "two-cells", lambda: SearchSettings(space="two-cell")),
        (InvalidValueError, "strength", lambda: SearchSettings(strength=-1)),
        (InvalidValueError, "epochs", lambda: SearchSettings(epochs=0)),
        (InvalidValueError, "train_images.*did you mean 2", lambda: SearchSettings(train_images=1)),
        (InvalidValueError, "shrunk to a size of 4, 8, 16", lambda: SearchSettings(skeleton=Skeleton(image_size=24))),
        (InvalidValueError, "crop_padding.*15", lambda: SearchSettings(skeleton=half_size, crop_padding=16)),
    ):
        with pytest.raises(error, match=message):
            question()


# ------------------------------------------------------------------ the program


def command(folder: Path, settings: Path, *more: str) -> list[str]:
    start = [sys.executable, str(PROGRAM), "--method", "darts", "--out", str(folder), "--settings", str(settings)]
    return [*start, *more]


def test_the_program_stops_on_a_signal_and_goes_on(tmp_path):
    settings = tmp_path / "small.json"
    settings.write_text(json.dumps({"skeleton": {"channels": 2}, "epochs": 12, "one_shot_cells": 2}))
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    subprocess.run(command(straight, settings), check=True, capture_output=True)
    with started(command(stopped, settings), stdout=subprocess.PIPE, text=True) as process:
        wait_for((stopped / "claims").exists)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 75
    assert "stopped on request" in output
    assert not list(stopped.glob("*.json"))
    subprocess.run(command(stopped, settings), check=True, capture_output=True)
    (expected,), (found,) = (list(folder.glob("*.json")) for folder in (straight, stopped))
    records = [read_search(path) for path in (expected, found)]
    for record in records:
        del record["seconds"]
    assert records[0] == records[1]
    assert not list(stopped.glob("checkpoints/*.ckpt"))
    again = subprocess.run(command(stopped, settings), check=True, capture_output=True, text=True)
    assert "already in" in again.stdout


def test_the_program_says_what_is_wrong_in_a_sentence(tmp_path):
    settings = tmp_path / "wrong.json"
    settings.write_text(json.dumps({"epoch": 3}))
    done = subprocess.run(command(tmp_path, settings), capture_output=True, text=True)
    assert done.returncode == 2
    assert "epoch" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_foreign_file_is_no_record(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"settings": {"method": "darts", "epoch": 1}}')
    with pytest.raises((SourceFormatError, UnknownNameError), match="epoch"):
        read_search(path)
    path.write_text("[]")
    with pytest.raises(SourceFormatError, match="not the record of a search"):
        read_search(path)
