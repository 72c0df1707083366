"""From folders of runs to a release: what is merged, refused, set aside, left out, in this layout and in the first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import damages
import numpy as np
import pytest
from conftest import run_program
from run_folders import OLD, QUICK, compact_in_second_format, file_of, in_format, old_file_of, rows_in
from stored_runs import bundled

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.cli import main
from nasbench_robust.errors import ConflictError, MissingDataError, TableError
from nasbench_robust.files import latest
from nasbench_robust.metrics import Metric
from nasbench_robust.releases import publish
from nasbench_robust.runs import Run, Unit, collect, compact, find_missing, release_info, shard_name, write_run
from nasbench_robust.runs.collecting import TABLES
from nasbench_robust.search import TableProblem
from nasbench_robust.table import Reader, write_table


def test_collection_is_a_release_that_can_be_queried(folder, runs, tmp_path):
    report = collect([folder], tmp_path / "release")
    assert (report.runs, report.repeated, report.failed, report.quarantined) == (4, 0, [], [])
    bench = nbr.load(tmp_path / "release")
    for run in runs:
        for metric in QUICK.metrics:
            asked = {"metric": metric.long_name, "seed": run.row["seed"], "split": metric.split}
            assert bench.query(run.row["index"], **asked) == run.row[metric.column]
    assert bench.info == release_info(QUICK)
    assert Reader(tmp_path / "release" / "outcomes.parquet").read().num_rows == len(runs) * len(QUICK.metrics)
    assert Reader(tmp_path / "release" / "cells.parquet").read().num_rows == cells.SIZE


def test_collection_twice_and_of_copies_gives_the_same_bytes(folder, runs, tmp_path):
    collect([folder], tmp_path / "one")
    other = tmp_path / "other"
    write_run(replace(runs[1], row={**runs[1].row, "train_seconds": 1.0, "device": "another"}), QUICK, other)
    report = collect([folder, other], tmp_path / "two")
    assert report.repeated == 1
    collect([folder], tmp_path / "one")
    for name in ("runs", "curves", "outcomes", "cells"):
        first, second = ((tmp_path / release / f"{name}.parquet").read_bytes() for release in ("one", "two"))
        assert first == second


def test_a_card_that_is_gone_is_told(folder, tmp_path, capsys):
    collect([folder], tmp_path / "release")
    publish(tmp_path / "release")
    for told in (True, False):
        assert main(["collect", str(folder), "--out", str(tmp_path / "release")]) in (0, 1)
        assert ("README.md, which told of the table before, is gone" in capsys.readouterr().out) == told


def test_a_published_release_to_which_runs_are_added_keeps_its_name_and_licence(folder, runs, tmp_path):
    collect([folder], tmp_path / "first")
    publish(tmp_path / "first", name="mine", version="3", licence="CC0")
    write_run(replace(runs[0], row=runs[0].row | {"seed": 77}), QUICK, tmp_path / "more")
    collect([tmp_path / "more", tmp_path / "first"], tmp_path / "second")
    info = nbr.load(tmp_path / "second").info
    assert (info.name, info.licence) == ("mine", "CC0")
    assert info.version.startswith("settings-")  # it is another table than the third version
    publish(tmp_path / "second", tmp_path / "other", name="other")
    collect([tmp_path / "second", tmp_path / "other"], tmp_path / "third")
    assert nbr.load(tmp_path / "third").name == "digits"  # two names, and none of them is it


def test_files_that_disagree_are_both_named_and_nothing_is_written(folder, runs, tmp_path):
    other = tmp_path / "other"
    nothing = np.zeros_like(runs[1].outcomes[Metric("clean_acc")])
    path = write_run(replace(runs[1], outcomes={**runs[1].outcomes, Metric("clean_acc"): nothing}), QUICK, other)
    with pytest.raises(ConflictError, match="clean_acc, clean_correct, outcomes") as caught:
        collect([folder, other], tmp_path / "release")
    assert {caught.value.first, caught.value.second} == {str(path), str(file_of(folder, QUICK, 9930, 1))}
    assert not (tmp_path / "release").exists()
    done = run_program("collect.py", str(folder), str(other), "--out", str(tmp_path / "release"))
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_work_goes_on_in_a_folder_of_the_second_format(runs, tmp_path):
    folder, cpu = tmp_path / "shards", "train_cpu_seconds"
    for run in runs[:2]:
        write_run(run, QUICK, folder)
    compact_in_second_format(folder)
    assert cpu not in Reader(latest(folder).folder / "runs.parquet").schema.names
    assert np.isnan(nbr.load(folder).values(metric=cpu)).all()
    for run in runs[2:]:
        write_run(run, QUICK, folder)
    costs = {(run.row["index"], run.row["seed"]): run.row[cpu] for run in runs}

    def check(place: Path) -> None:
        rows = rows_in(place, ["index", "seed", cpu])
        assert {(row["index"], row["seed"]): row[cpu] for row in rows} == {
            key: None if key[0] == 9930 else cost for key, cost in costs.items()
        }
        bench = nbr.load(place)
        assert bench.query(3, metric="clean_acc", seed=0) == runs[2].row["clean_acc"]
        assert TableProblem(bench, "clean_acc").charged == "train_seconds"  # one coin for all cells

    check(folder)
    new = tmp_path / "new"
    for run in runs[2:]:
        write_run(run, QUICK, new)
    collect([folder, new], tmp_path / "release")
    check(tmp_path / "release")
    compact(folder)
    check(folder)
    assert [finding for finding in nbr.validate(folder) if finding.severity == "error"] == []
    assert nbr.load(tmp_path / "release").info == release_info(QUICK)


def test_a_failed_run_has_one_reason(folder, tmp_path):
    other = tmp_path / "other"
    row = {"dataset": "digits", "index": 5, "seed": 0, "seeds": 1, "test_images": 517, "settings": QUICK.hash}
    for place, reason in ((folder, "out of memory"), (other, "the loss is not finite")):
        write_run(Run({**row, "failure": reason}, [], {}), QUICK, place)
    with pytest.raises(ConflictError, match="different results for digits/5/0 in failure"):
        collect([folder, other], tmp_path / "release")
    assert not (tmp_path / "release").exists()


def whole_again(folder: Path, run: Run, damaged: list[Path], tmp_path: Path) -> None:
    """Check that the run of cell 3, seed 1 is set aside with these files, is missing, and can be made again."""
    report = collect([folder], tmp_path / "release")
    assert report.runs == 3
    assert report.quarantined == [folder / "quarantine" / path.relative_to(folder) for path in damaged]
    assert all(path.exists() for path in report.quarantined)
    assert not any(path.exists() for path in damaged)
    assert find_missing(folder, QUICK, [Unit(3, 0), Unit(3, 1)]) == [Unit(3, 1)]
    for each in TABLES:
        assert (3, 1) not in runs_in(tmp_path / "release" / f"{each}.parquet")
        assert (3, 0) in runs_in(tmp_path / "release" / f"{each}.parquet")
    write_run(run, QUICK, folder)
    assert collect([folder], tmp_path / "release").quarantined == []
    for each in TABLES:
        first, second = (Reader(tmp_path / there / f"{each}.parquet").read() for there in ("undisturbed", "release"))
        assert in_format(1, first).equals(in_format(1, second))


DAMAGES = [damages.cut, damages.take_rows, damages.misplace, damages.replace_by_another_table]


@pytest.mark.parametrize("damage", [*DAMAGES, damages.empty, damages.change_a_value, damages.change_the_row])
def test_damaged_run_is_set_aside_and_made_again(folder, runs, tmp_path, damage):
    collect([folder], tmp_path / "undisturbed")
    path = file_of(folder, QUICK, 3, 1)
    damage(path, f"../099/{shard_name(QUICK, 9930, 0)}")
    whole_again(folder, runs[3], [path], tmp_path)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_run_of_the_first_layout_is_set_aside_whole_and_made_again(old_folder, runs, tmp_path, table, damage):
    collect([old_folder], tmp_path / "undisturbed")
    damage(old_file_of(old_folder, QUICK, 3, 1, table), shard_name(QUICK, 9930, 0))
    whole_again(old_folder, runs[3], [old_file_of(old_folder, QUICK, 3, 1, each) for each in OLD], tmp_path)


def test_a_second_quarantine_keeps_the_first(folder, runs, tmp_path):
    path = file_of(folder, QUICK, 3, 1)
    for content in (b"first", b"second"):
        path.write_bytes(content)
        [aside] = collect([folder], tmp_path / "release").quarantined
        assert aside.read_bytes() == content
    assert {each.read_bytes() for each in (folder / "quarantine").rglob(f"{path.name}*")} == {b"first", b"second"}


def runs_in(path: Path) -> set[tuple[int, int]]:
    columns = Reader(path).read(["index", "seed"])
    return set(zip(*(column.to_pylist() for column in columns.columns), strict=True))


def test_damaged_run_is_taken_from_another_folder_that_has_it(folder, runs, tmp_path):
    collect([folder], tmp_path / "one")
    write_run(runs[3], QUICK, tmp_path / "other")
    damages.cut(file_of(folder, QUICK, 3, 1))
    report = collect([folder, tmp_path / "other"], tmp_path / "two")
    assert (report.runs, report.repeated, len(report.quarantined)) == (4, 0, 1)
    for name in TABLES:
        first, second = ((tmp_path / release / f"{name}.parquet").read_bytes() for release in ("one", "two"))
        assert first == second


@pytest.mark.parametrize("table", TABLES)
def test_parts_of_a_run_of_the_first_layout_are_left_out_and_stay(old_folder, tmp_path, table):
    old_file_of(old_folder, QUICK, 3, 1, table).unlink()
    report = collect([old_folder], tmp_path / "release")
    left = [] if table == "runs" else [old_file_of(old_folder, QUICK, 3, 1)]
    assert (report.runs, report.quarantined, report.incomplete) == (3, [], left)
    expected = {(3, 0), (9930, 0), (9930, 1)}
    assert all(runs_in(tmp_path / "release" / f"{name}.parquet") == expected for name in TABLES)
    assert sum(old_file_of(old_folder, QUICK, 3, 1, each).exists() for each in TABLES) == 2
    assert {(row["index"], row["seed"]) for row in rows_in(old_folder)} == expected


def test_a_folder_of_the_first_layout_is_collected_as_the_same_runs(folder, old_folder, tmp_path):
    for name, place in (("new", folder), ("old", old_folder)):
        assert collect([place], tmp_path / f"{name}-release").runs == 4
    for name in TABLES:
        new, old = (Reader(tmp_path / f"{each}-release" / f"{name}.parquet").read() for each in ("new", "old"))
        assert in_format(1, new).equals(in_format(1, old))
    assert collect([folder, old_folder], tmp_path / "both").repeated == 4


def test_collection_leaves_no_table_of_an_earlier_one(folder, runs, tmp_path):
    collect([folder], tmp_path / "release")
    failed = Run({name: runs[0].row[name] for name in ("dataset", "index", "seed", "seeds", "test_images")}, [], {})
    write_run(replace(failed, row={**failed.row, "failure": "diverged"}), QUICK, tmp_path / "failed")
    assert collect([tmp_path / "failed"], tmp_path / "release").failed == [("digits", 9930, 0, "diverged")]
    expected = {"runs.parquet", "cells.parquet", "manifest.json", "commits"}
    assert {path.name for path in (tmp_path / "release").iterdir()} == expected


def test_shards_whose_description_names_its_facts_in_another_order_are_of_one_release(old_folder, tmp_path):
    path = old_file_of(old_folder, QUICK, 3, 1)
    table = Reader(path).read()
    ((key, text),) = table.schema.metadata.items()
    turned = json.dumps(dict(reversed(json.loads(text).items())))
    write_table(table.replace_schema_metadata({key: turned}), path)
    assert collect([old_folder], tmp_path / "release").runs == 4
    assert len(rows_in(old_folder)) == 4


def test_runs_of_other_settings_are_refused_in_a_folder_and_told_apart_in_a_release(folder, runs, tmp_path):
    other = replace(QUICK, batch_size=64)
    run = replace(runs[0], row={**runs[0].row, "seed": 9, "settings": other.hash})
    write_run(run, other, tmp_path / "other")
    assert collect([folder, tmp_path / "other"], tmp_path / "release", names=["large", "small"]).runs == 5
    bench = nbr.load(tmp_path / "release")
    assert set(bench.datasets) == {"digits@large", "digits@small"}
    assert bench.query(9930, "digits@small", "clean_acc", seed=9) == runs[0].row["clean_acc"]
    assert bench.query(9930, "digits@large", "clean_acc", seed=1) == runs[1].row["clean_acc"]
    write_run(run, other, folder)
    with pytest.raises(TableError, match=f"settings {other.hash}"):
        collect([folder], tmp_path / "mixed")
    assert not (tmp_path / "mixed").exists()


def test_a_run_that_is_not_what_its_curve_and_its_outcomes_say_contradicts_itself():
    whole = bundled()[0]
    assert whole.problem() is None
    correct = whole.row["clean_correct"]
    assert "images count for clean_acc" in replace(whole, row={**whole.row, "clean_correct": correct - 1}).problem()
    assert "images count for clean_acc" in replace(whole, row={**whole.row, "clean_acc": 0.5}).problem()
    assert replace(whole, epochs=whole.epochs[:-1]).problem() == "its curve has 19 epochs, its settings 20"
    assert replace(whole, epochs=whole.epochs[::-1]).problem() == "its curve has 20 epochs, its settings 20"


def test_empty_collection_says_so(tmp_path):
    with pytest.raises(MissingDataError, match="no runs in"):
        collect([tmp_path], tmp_path / "release")
