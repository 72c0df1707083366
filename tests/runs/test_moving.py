"""Tables put together, cut apart and repaired: nothing is lost, and what is left to do is said."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from run_folders import QUICK, file_of, rows_in

import nasbench_robust as nbr
from nasbench_robust.cli import main
from nasbench_robust.errors import InvalidValueError, MissingDataError, MissingResultError, TableError
from nasbench_robust.files import latest
from nasbench_robust.releases import publish
from nasbench_robust.runs import collect, compact, find_missing, merge, repair, split, write_run
from nasbench_robust.runs.worklists import Unit
from nasbench_robust.table import loose_runs, read_table, verify

ALL = [Unit(index, seed) for index in (3, 9930) for seed in (0, 1)]


def keys(folder: Path) -> list[tuple[int, int]]:
    return sorted((row["index"], row["seed"]) for row in rows_in(folder, ["index", "seed"]))


def test_folders_are_merged_to_one_that_can_be_worked_on(runs, tmp_path):
    for name, some in (("one", runs[:2]), ("two", runs[1:3])):
        for run in some:
            write_run(run, QUICK, tmp_path / name)
    report = merge([tmp_path / "one", tmp_path / "two"], tmp_path / "all")
    assert (report.runs, report.repeated) == (3, 1)
    assert find_missing(tmp_path / "all", QUICK, ALL) == [Unit(3, 1)]
    write_run(runs[3], QUICK, tmp_path / "all")
    assert find_missing(tmp_path / "all", QUICK, ALL) == []
    assert merge([tmp_path / "one"], tmp_path / "all").runs == 4  # what is there stays
    assert keys(tmp_path / "all") == [(3, 0), (3, 1), (9930, 0), (9930, 1)]
    assert verify(tmp_path / "all") == []
    assert keys(tmp_path / "one") == [(9930, 0), (9930, 1)]
    with pytest.raises(MissingDataError):
        merge([tmp_path / "nothing"], tmp_path / "other")


def test_other_settings_are_not_merged(runs, folder, tmp_path):
    other = replace(QUICK, max_lr=0.05)
    write_run(replace(runs[0], row={**runs[0].row, "settings": other.hash}), other, tmp_path / "other")
    with pytest.raises(TableError, match="several settings"):
        merge([folder, tmp_path / "other"], tmp_path / "all")
    assert latest(tmp_path / "all") is None


def test_a_part_of_a_table_is_a_release(folder, tmp_path):
    assert split(folder, tmp_path / "seed", seeds=[1]) == 2
    assert keys(tmp_path / "seed") == [(3, 1), (9930, 1)]
    assert split(tmp_path / "seed", tmp_path / "cell", cells=[9930], datasets=["digits"]) == 1
    bench, whole = nbr.load(tmp_path / "cell"), nbr.load(folder)
    assert bench.query(9930, metric="fgsm_acc") == whole.query(9930, metric="fgsm_acc", seed=1)
    assert verify(tmp_path / "cell") == []
    assert len(loose_runs(folder)) == 4
    with pytest.raises(MissingResultError):
        split(folder, tmp_path / "none", seeds=[7])
    with pytest.raises(InvalidValueError, match="digits"):
        split(folder, tmp_path / "none", datasets=["cifar10"])


def test_repair_sets_aside_what_is_damaged_and_removes_what_the_dead_left(folder):
    damaged = file_of(folder, QUICK, 3, 1)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (folder / "claims").mkdir(exist_ok=True)
    left = [folder / "claims" / "digits-00003-0.parquet.lock", folder / "checkpoints" / "digits-00003-0.parquet.ckpt"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    before = sorted(folder.rglob("*"))
    report = repair(folder, dry_run=True)
    assert (report.runs, report.quarantined, sorted(report.removed)) == (3, [damaged], sorted(left))
    assert sorted(folder.rglob("*")) == before
    report = repair(folder)
    assert [path.name for path in report.quarantined] == [damaged.name]
    assert not any(path.exists() for path in (damaged, *left))
    assert find_missing(folder, QUICK, ALL) == [Unit(3, 1)]
    again = repair(folder)
    assert (again.runs, again.quarantined, again.removed, again.problems) == (3, [], [], [])


def test_repair_goes_back_to_the_state_before(runs, folder):
    compact(folder)
    write_run(replace(runs[0], row={**runs[0].row, "seed": 5}), QUICK, folder)
    compact(folder)
    path = latest(folder).folder / "outcomes.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert any("outcomes.parquet" in problem for problem in repair(folder, dry_run=True).problems)
    report = repair(folder)
    assert report.runs == 4
    assert any("went back to the state before" in problem for problem in report.problems)
    assert keys(folder) == [(3, 0), (3, 1), (9930, 0), (9930, 1)]
    assert verify(folder) == []


def test_a_damaged_release_without_another_state_is_left_to_a_person(folder, tmp_path):
    collect([folder], tmp_path / "release")
    path = latest(tmp_path / "release").folder / "curves.parquet"
    path.write_bytes(b"")
    report = repair(tmp_path / "release")
    assert any("put a sound copy" in problem for problem in report.problems)
    assert path.exists()


# ------------------------------------------------------------------ what would lose runs is refused


def test_a_folder_of_runs_is_no_place_for_a_release(folder, old_folder, tmp_path):
    collect([folder], tmp_path / "release")
    compact(old_folder)
    for write in (collect, lambda sources, out: split(sources[0], out), lambda sources, out: publish(sources[0], out)):
        with pytest.raises(InvalidValueError, match="another folder than one of runs"):
            write([tmp_path / "release"], old_folder)
    assert len(keys(old_folder)) == 4


def test_a_folder_that_is_not_there_is_not_left_out(folder, tmp_path):
    for put_together in (collect, merge):
        with pytest.raises(MissingDataError, match=r"no runs in .*typo"):
            put_together([folder, tmp_path / "typo"], tmp_path / "out")
    (tmp_path / "begun" / "runs").mkdir(parents=True)  # where no run is made yet
    assert collect([folder, tmp_path / "begun"], tmp_path / "out").runs == 4


def test_runs_of_other_settings_are_not_taken_for_those_asked_for(folder, tmp_path):
    (tmp_path / "other.json").write_text('{"epochs": 3}')
    asked = ["--out", str(folder), "--cells", "3", "--seeds", "0", "--settings", str(tmp_path / "other.json")]
    before = sorted(folder.rglob("*"))
    for command in (["run"], ["submit", "--dry-run"]):
        assert main([*command, *asked]) == 2
    assert sorted(folder.rglob("*")) == before


def test_a_run_has_one_name_of_its_settings(runs, folder, tmp_path):
    other = replace(QUICK, max_lr=0.05)
    write_run(replace(runs[0], row={**runs[0].row, "settings": other.hash}), other, tmp_path / "other")
    collect([folder, tmp_path / "other"], tmp_path / "two", names=["one", "two"])
    report = collect([tmp_path / "two", folder], tmp_path / "again")
    assert (report.runs, report.repeated) == (5, 4)
    collect([tmp_path / "other", folder], tmp_path / "hashes")
    report = collect([tmp_path / "two", tmp_path / "hashes"], tmp_path / "all")
    assert (report.runs, report.repeated) == (5, 5)
    assert nbr.load(tmp_path / "all").datasets == ("digits@one", "digits@two")
    for names in (["a", "a"], ["", "b"], ["a/b", "c"]):
        with pytest.raises(InvalidValueError, match="names"):
            collect([folder, tmp_path / "other"], tmp_path / "no", names=names)


@pytest.mark.parametrize("lost", ["runs.parquet", "manifest.json", "outcomes.parquet"])
def test_a_state_that_did_not_arrive_whole_is_said_and_left_behind(lost, runs, folder):
    compact(folder)
    write_run(replace(runs[0], row={**runs[0].row, "seed": 5}), QUICK, folder)
    compact(folder)
    (latest(folder).folder / lost).unlink()
    with pytest.raises(TableError, match=f"{lost} is missing; nasbench-robust repair"):
        nbr.load(folder)
    with pytest.raises(TableError, match=f"{lost} is missing"):
        collect([folder], folder.parent / "release")
    (problem,) = verify(folder)
    assert f"{lost} is missing" in problem
    assert any("would go back" in problem for problem in repair(folder, dry_run=True).problems)
    repair(folder)
    assert len(keys(folder)) == 4
    assert verify(folder) == []


def test_runs_without_their_outcomes_are_no_sound_table(folder, tmp_path):
    collect([folder], tmp_path / "release")
    state = latest(tmp_path / "release").folder
    shutil.copytree(state, tmp_path / "plain")
    for name in ("manifest.json", "outcomes.parquet"):
        (tmp_path / "plain" / name).unlink()
    (problem,) = verify(tmp_path / "plain")
    assert "no outcomes.parquet" in problem


def test_plain_names_follow_a_release_that_is_worked_on(runs, folder, tmp_path):
    collect([folder], tmp_path / "release")
    write_run(replace(runs[0], row={**runs[0].row, "seed": 5}), QUICK, tmp_path / "more")
    merge([tmp_path / "more"], tmp_path / "release")
    assert read_table(tmp_path / "release" / "runs.parquet").num_rows == 5
    for seed in (6, 7, 8):
        write_run(replace(runs[0], row={**runs[0].row, "seed": seed}), QUICK, tmp_path / "release")
        compact(tmp_path / "release")
    assert read_table(tmp_path / "release" / "runs.parquet").num_rows == 8


def test_links_to_nothing_are_a_sentence(folder, tmp_path):
    collect([folder], tmp_path / "release")
    shutil.rmtree(tmp_path / "release" / "commits")
    with pytest.raises(MissingDataError):
        nbr.load(tmp_path / "release")
