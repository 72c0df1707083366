"""From a cell to rows on the disk and back through the query API."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, run_program
from run_folders import rows_in, tables_in

import nasbench_robust as nbr
from nasbench_robust import metrics
from nasbench_robust.cells import Cell
from nasbench_robust.engines.torch import train
from nasbench_robust.errors import InvalidValueError
from nasbench_robust.images import TensorImages
from nasbench_robust.metrics import Metric
from nasbench_robust.runs import Run, is_done, release_info, run_cell, write_run
from nasbench_robust.settings import read_settings, settings_for
from nasbench_robust.table import CURVES_SCHEMA, OUTCOMES_SCHEMA, open_table, read_loose, runs_schema, runs_table

QUICK = replace(
    settings_for("digits"), epochs=1, attack=metrics.pgd(0.1, steps=1), evaluation=settings_for("digits").evaluation[:4]
)
CELL = Cell.from_index(9930)
SETTINGS = ROOT / "examples" / "without-autoattack.json"


@pytest.fixture(scope="module")
def run(images: TensorImages) -> Run:
    return run_cell(CELL, QUICK, images, seed=2)


def test_rows_go_to_the_disk_and_come_back(run, tmp_path):
    write_run(run, QUICK, tmp_path)
    bench = nbr.load(tmp_path)
    result = bench.lookup(CELL, metric="pgd_acc", seed=2)
    assert result.value == run.row["pgd_acc@0.1"] == bench.query(str(CELL), "digits", "pgd_acc@0.1")
    assert result.correct == run.row["pgd_correct@0.1"] == round(result.value * 517)
    assert result.seeds == {2: result.value}
    assert bench.train_seconds(CELL) == run.row["train_seconds"]
    assert bench.info.settings == {QUICK.hash: QUICK.to_dict()}
    assert [finding for finding in nbr.validate(tmp_path) if finding.severity == "error"] == []
    assert open_table(tmp_path).schema.names == runs_schema(release_info(QUICK)).names
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["digits-09930-2.parquet"]


def test_curve_and_outcomes_agree_with_the_row(run, tmp_path):
    write_run(run, QUICK, tmp_path)
    tables = tables_in(tmp_path)
    curve = tables["curves"]
    assert curve.schema.names == CURVES_SCHEMA.names
    assert curve.column("epoch").to_pylist() == [1]
    assert curve.column("split").to_pylist() == ["validation"]
    assert curve.column("clean_acc").to_pylist() == [run.row["clean_acc#validation"]]
    outcomes = tables["outcomes"].to_pylist()
    assert list(outcomes[0]) == OUTCOMES_SCHEMA.names
    for outcome in outcomes:
        bits = np.unpackbits(np.frombuffer(outcome["correct"], np.uint8), bitorder="little", count=outcome["images"])
        assert len(bits) == (256 if outcome["metric"].endswith("#validation") else 517)
        assert bits.sum() == run.row[outcome["metric"].replace("_acc", "_correct")]
        assert bits.mean() == run.row[outcome["metric"]]
    assert [outcome["metric"] for outcome in outcomes] == [metric.column for metric in QUICK.metrics]


def test_row_curve_and_outcomes_carry_the_name_of_one_making(run, tmp_path):
    names = []
    for place, seconds in ((tmp_path / "one", 1.0), (tmp_path / "two", 2.0)):
        write_run(replace(run, row={**run.row, "train_seconds": seconds}), QUICK, place)
        names.append({row["run"] for table in tables_in(place).values() for row in table.to_pylist()})
    assert [len(each) for each in names] == [1, 1]
    assert names[0] != names[1]


def test_both_splits_are_measured_on_their_own_images(run, images, tmp_path):
    network, curve = train(CELL, QUICK, images, seed=2)
    assert curve == run.curve
    for split, count in (("test", 517), ("validation", 256)):
        pixels, labels = images.held_out(split)
        right = (network(pixels).argmax(1) == labels).numpy()
        assert np.array_equal(run.outcomes[Metric("clean_acc", split=split)], right)
        assert all(len(outcome) == count for metric, outcome in run.outcomes.items() if metric.split == split)
    assert run.row["test_images"] == 517


def test_both_splits_are_queried_by_name(run, tmp_path):
    write_run(run, QUICK, tmp_path)
    bench = nbr.load(tmp_path)
    assert bench.info.datasets["digits"].images == {"test": 517, "validation": 256}
    for split, count in bench.info.datasets["digits"].images.items():
        mark = "" if split == "test" else f"#{split}"
        found = bench.lookup(CELL, "digits", "pgd_acc", split=split)
        assert found.value == bench.query(CELL, "digits", "pgd_acc", split=split) == run.row[f"pgd_acc@0.1{mark}"]
        assert found.value == found.correct / found.test_images == run.row[f"pgd_correct@0.1{mark}"] / count
        assert (found.split, found.test_images) == (split, count)
    listed = bench.metrics()
    assert listed["split"].tolist() == ["test"] * 5 + ["validation"] * 5
    assert listed["test_images"].tolist() == [517] * 5 + [256] * 5
    held_out = ["clean_acc#validation", "pgd_acc@0.1#validation"]
    assert bench.best("digits", held_out[1], 1)[held_out[1]].tolist() == [run.row[held_out[1]]]
    front = bench.pareto("digits", held_out)
    assert front[held_out].to_numpy().tolist() == [[run.row[name] for name in held_out]]
    api = nbr.NATSAdapter(bench, "pgd_acc")
    assert api.simulate_train_eval(9930, "digits")[0] == 100 * run.row["pgd_acc@0.1#validation"]
    assert api.get_more_info(9930, "digits")["test-accuracy"] == 100 * run.row["pgd_acc@0.1"]


def test_validation_counts_are_checked_against_the_validation_images(run, tmp_path):
    write_run(run, QUICK, tmp_path)
    [row] = rows_in(tmp_path)
    row["clean_acc#validation"] = row["clean_correct#validation"] / 517
    (finding,) = (each for each in nbr.validate(runs_table(release_info(QUICK), [row])) if each.kind == "grid")
    assert (finding.severity, finding.metric, finding.indices) == ("error", "clean_acc#validation", (9930,))


def test_a_class_is_trained_as_its_representative(images):
    run = run_cell(Cell.from_index(25), QUICK, images, seed=0)
    assert run.row["index"] == Cell.from_index(25).representative == 3


def test_divergence_becomes_a_failed_row_without_numbers(images, tmp_path):
    settings = replace(QUICK, max_lr=1e38)
    write_run(run_cell(CELL, settings, images, seed=0), settings, tmp_path)
    [row] = rows_in(tmp_path)
    assert row["failure"] == "the training loss is not finite in epoch 1"
    assert row["clean_acc"] is None
    assert [len(tables_in(tmp_path)[name]) for name in ("curves", "outcomes")] == [0, 0]
    with pytest.raises(nbr.errors.MissingResultError):
        nbr.load(tmp_path).query(CELL, metric="clean_acc")


def test_folder_belongs_to_one_set_of_settings(run, tmp_path):
    assert not is_done(tmp_path, QUICK, CELL, 2)
    write_run(run, QUICK, tmp_path)
    assert is_done(tmp_path, QUICK, CELL, 2)
    assert not is_done(tmp_path, QUICK, CELL, 3)
    with pytest.raises(InvalidValueError, match="a new folder, or one of runs with settings"):
        is_done(tmp_path, replace(QUICK, epochs=3), CELL, 2)


def test_seeds_of_a_folder_are_averaged(run, images, tmp_path):
    other = run_cell(CELL, QUICK, images, seed=5)
    for each in (run, other):
        write_run(each, QUICK, tmp_path)
    result = nbr.load(tmp_path).lookup(CELL, metric="clean_acc")
    values = [run.row["clean_acc"], other.row["clean_acc"]]
    assert result.value == pytest.approx(np.mean(values))
    assert result.std == pytest.approx(np.std(values, ddof=1))
    assert result.seeds == {2: values[0], 5: values[1]}


def test_settings_of_the_examples_leave_out_autoattack_alone():
    full = settings_for("digits")
    assert read_settings(SETTINGS, full) == replace(full, evaluation=full.evaluation[:-1])


def test_program_trains_writes_and_does_not_train_twice(tmp_path):
    arguments = ("--index", "1234", "--dataset", "digits", "--settings", str(SETTINGS), "--out", str(tmp_path))
    first = run_program("train_cell.py", *arguments)
    assert first.returncode == 0, first.stderr
    assert "cell 1234 is the same graph as cell 172" in first.stderr
    bench = nbr.load(tmp_path)
    assert 0.07 < bench.query(1234, "digits", "clean_acc") < 0.13  # disconnected: chance
    assert len(tables_in(tmp_path)["curves"]) == 20
    again = run_program("train_cell.py", *arguments)
    assert again.returncode == 0
    assert "already in" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "15625"], "a cell index lies in 0..15624; the nearest is 15624"),
        (["--index", "1", "--dataset", "digit"], "did you mean 'digits'?"),
        (["--index", "1", "--device", "cuda"], "device is 'cuda'"),
        (["--index", "1", "--dataset", "cifar10", "--data-root", "nowhere"], "no complete cifar10 in nowhere: "),
        (["--index", "1", "--device", "cuda", "--engine", "native"], "engine is 'native', expected torch for cuda"),
        (["--index", "1", "--seeds", "-1"], "expected an integer in 0..2147483647"),
    ],
)
def test_program_refuses_bad_input_in_one_sentence(arguments, message, tmp_path):
    if message.startswith("device") and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = run_program("train_cell.py", *arguments, "--out", str(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_outcomes_are_stored_a_bit_an_image_from_the_lowest_bit_on(run, tmp_path):
    """As docs/schema.md says, and not as NumPy packs bits unless it is told."""
    path = write_run(run, QUICK, tmp_path)
    for outcome in read_loose(tmp_path, path).outcomes:
        mask = next(mask for metric, mask in run.outcomes.items() if metric.column == outcome.name)
        assert [bool(outcome.correct[image // 8] >> image % 8 & 1) for image in range(len(mask))] == mask.tolist()
