"""Scores on disk: shards, what becomes of damaged ones, and the table that they are merged into."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from damages import cut, double, empty, misplace, replace_by_another_table, take_a_column, take_rows

from nasbench_robust.errors import InvalidValueError, MissingDataError, TableError
from nasbench_robust.runs import Unit, shard_name
from nasbench_robust.scores import (
    FOLDER,
    SCORES_SCHEMA,
    Scored,
    ScoreKey,
    ScoreSettings,
    check_folder,
    collect_scores,
    missing_scores,
    read_scores,
    score_keys,
    score_settings_for,
    scored_units,
    write_scores,
)
from nasbench_robust.table import Reader

SETTINGS = score_settings_for("digits")
OTHER = replace(SETTINGS, images=64)
UNITS = [Unit(index, seed) for index in (9930, 3) for seed in (10, 2)]
NAME = shard_name(SETTINGS, 3, 10)


def made_up(unit: Unit) -> list[Scored]:
    number = unit.index + unit.seed / 7
    return [
        Scored("clean", None, "trace", number, None, 0.25),
        Scored("robust", "pgd@0.1", "condition_number", None, "the kernel is singular", 0.5),
        Scored(None, None, "params", 2.0**40 + 1, None, 0.0),
    ]


KEYS = frozenset(ScoreKey(row.kernel, row.attack, row.score) for row in made_up(UNITS[0]))


def write(unit: Unit, folder: Path, settings: ScoreSettings = SETTINGS) -> Path:
    return write_scores(made_up(unit), settings, unit.index, unit.seed, folder, "a processor")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for unit in UNITS:
        write(unit, tmp_path / "out")
    return tmp_path / "out"


def test_table_has_every_row_in_order_and_the_settings(folder, tmp_path):
    report = collect_scores(folder, tmp_path / "scores.parquet")
    assert (report.rows, report.quarantined) == (12, [])
    frame, settings = read_scores(tmp_path / "scores.parquet")
    assert ScoreSettings.from_dict(settings) == SETTINGS
    assert list(frame.columns) == SCORES_SCHEMA.names
    order = [(unit.index, unit.seed) for unit in ((UNITS[3], UNITS[2], UNITS[1], UNITS[0])) for _ in range(3)]
    assert list(zip(frame["index"], frame["seed"], strict=True)) == order
    for unit in UNITS:
        rows = frame[(frame["index"] == unit.index) & (frame["seed"] == unit.seed)]
        for (_, row), scored in zip(rows.iterrows(), made_up(unit), strict=True):
            for name in ("kernel", "attack", "failure"):
                assert (row[name] if isinstance(row[name], str) else None) == getattr(scored, name)
            assert (row["score"], row["seconds"]) == (scored.score, scored.seconds)
            assert (row["dataset"], row["device"]) == ("digits", "a processor")
    values = Reader(tmp_path / "scores.parquet").read().column("value").to_pylist()
    assert values.count(None) == len(UNITS)  # null, and not nan
    assert not any(math.isnan(value) for value in values if value is not None)


def test_what_was_made_at_once_counts_once_in_the_hours(tmp_path):
    for seed in (2, 10):
        scored = [
            Scored("clean", None, "trace", 1.0, None, 900.0),
            Scored("clean", None, "condition_number", 2.0, None, 900.0),
            Scored("robust", "pgd@0.1", "trace", 1.0, None, 1800.0),
            Scored(None, None, "params", 3.0, None, 900.0),
            Scored(None, None, "flops", 4.0, None, 0.0),
        ]
        write_scores(scored, SETTINGS, 3, seed, tmp_path / "out", "a processor")
    assert collect_scores(tmp_path / "out", tmp_path / "scores.parquet").hours == 2 * (900 + 1800 + 900) / 3600


@pytest.mark.parametrize("value", [1 / 3, -123.456, 1e-3, 0.0, 16777217.0, 2.0**40 + 1, 1e39 / 3, -1e-60 / 3, 1e300])
def test_values_are_kept_to_24_bits_and_counts_exactly(value, tmp_path):
    scored = Scored(None, None, "synflow", value, None, 0.0)
    path = write_scores([scored], SETTINGS, 3, 0, tmp_path, "a processor")
    stored = Reader(path).read().column("value").to_pylist()[0]
    assert stored == pytest.approx(value, rel=2**-24, abs=0)
    if value.is_integer():
        assert stored == value
    elif 1e-30 < abs(value) < 1e30:
        assert stored == float(np.float32(value))


def test_shard_that_is_there_is_never_replaced(tmp_path):
    path = write(Unit(3, 10), tmp_path)
    before = path.read_bytes()
    again = write_scores([Scored(None, None, "params", 1.0, None, 0.0)], SETTINGS, 3, 10, tmp_path, "another")
    assert again == path
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [NAME]


def test_collection_twice_gives_the_same_bytes(folder, tmp_path):
    for name in ("one", "two", "one"):
        collect_scores(folder, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_keeps_its_cells_and_gets_those_of_the_folder(folder, tmp_path):
    path, later = tmp_path / "scores.parquet", tmp_path / "later"
    assert scored_units(path, SETTINGS) == {}
    rows = collect_scores(folder, path).rows
    there = scored_units(path, SETTINGS)
    assert there == {(unit.index, unit.seed): KEYS for unit in UNITS}
    first, _ = read_scores(path)
    write(Unit(*min(there)), later)  # again: the file's own rows stay
    write(Unit(9, 3), later)
    assert collect_scores(later, path).rows == rows + len(made_up(Unit(9, 3)))
    assert scored_units(path, SETTINGS) == {**there, (9, 3): KEYS}
    both, settings = read_scores(path)
    assert settings == SETTINGS.to_dict()
    kept = both[[(index, seed) in there for index, seed in zip(both["index"], both["seed"], strict=True)]]
    assert kept.reset_index(drop=True).equals(first)
    with pytest.raises(InvalidValueError, match="a new file, or one of scores with settings"):
        scored_units(path, replace(SETTINGS, draw=1))


def test_part_of_a_shard_that_a_crash_left_is_not_looked_at(folder, tmp_path):
    (folder / FOLDER / f".{NAME}.123-abcd.tmp").write_bytes(b"PAR1")
    (folder / FOLDER / ".hidden.parquet").write_bytes(b"PAR1")
    report = collect_scores(folder, tmp_path / "scores.parquet")
    assert (report.rows, report.quarantined) == (12, [])
    check_folder(folder, SETTINGS)


# --- damage


DAMAGES = (cut, empty, take_rows, misplace, double, replace_by_another_table, take_a_column)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_shard_is_named_set_aside_and_made_again(damage, folder, tmp_path, caplog):
    collect_scores(folder, tmp_path / "undisturbed")
    damage(folder / FOLDER / NAME, shard_name(SETTINGS, 9930, 2))
    check_folder(folder, SETTINGS)
    report = collect_scores(folder, tmp_path / "scores")
    assert (report.rows, report.quarantined) == (9, [folder / "quarantine" / FOLDER / NAME])
    assert report.quarantined[0].exists()
    assert str(folder / FOLDER / NAME) in caplog.text
    assert "is set aside and counts as missing" in caplog.text
    assert not (folder / FOLDER / NAME).exists()
    write(Unit(3, 10), folder)
    assert collect_scores(folder, tmp_path / "scores").quarantined == []
    first, second = (Reader(tmp_path / name).read().drop_columns(["date"]) for name in ("undisturbed", "scores"))
    assert first.equals(second)


def test_damaged_shards_alone_are_no_table(tmp_path):
    cut(write(Unit(3, 10), tmp_path))
    check_folder(tmp_path, SETTINGS)
    with pytest.raises(MissingDataError, match="no scores in"):
        collect_scores(tmp_path, tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()
    assert not (tmp_path / FOLDER / NAME).exists()
    with pytest.raises(MissingDataError, match="no scores in"):
        collect_scores(tmp_path / "nothing", tmp_path / "scores.parquet")


def test_table_that_is_damaged_or_another_is_named(folder, tmp_path):
    path = tmp_path / "scores.parquet"
    collect_scores(folder, path)
    cut(path)
    with pytest.raises(TableError, match=r"scores\.parquet: not readable as Parquet"):
        read_scores(path)
    replace_by_another_table(path)
    with pytest.raises(TableError, match=r"scores\.parquet: not a table of scores"):
        read_scores(path)
    with pytest.raises(MissingDataError, match="no file or folder"):
        read_scores(tmp_path / "nothing.parquet")


# --- other settings


PGD = SETTINGS.attacks[-1]
ONE_ATTACK = replace(SETTINGS, attacks=(PGD,), proxies=("params",))
SLOWER = replace(SETTINGS, attacks=(replace(PGD, steps=20),))  # another pgd@0.1
NEW = [Scored(None, None, "zen", 1 / 7, None, 0.5), Scored(None, "pgd@0.1", "snip", None, "too dark", 0.5)]


def test_settings_that_differ_in_their_lists_belong_together(folder, tmp_path):
    path = tmp_path / "scores.parquet"
    for settings in (ONE_ATTACK, replace(SETTINGS, attacks=(), proxies=())):
        check_folder(folder, settings)
    collect_scores(folder, path)
    assert scored_units(path, ONE_ATTACK).keys() == {(unit.index, unit.seed) for unit in UNITS}
    write(Unit(1, 0), folder, ONE_ATTACK)  # a shard with other lists, before the others by name
    rows = collect_scores(folder, tmp_path / "anew").rows
    assert rows == collect_scores(folder, path).rows == 15
    for name, first in (("anew", ONE_ATTACK), ("scores.parquet", SETTINGS)):
        _, stored = read_scores(tmp_path / name)
        merged = ScoreSettings.from_dict(stored)
        assert merged.identity == SETTINGS.identity
        assert merged.attacks[: len(first.attacks)] == first.attacks
        assert (set(merged.attacks), set(merged.proxies)) == (set(SETTINGS.attacks), set(SETTINGS.proxies))


def test_a_table_of_proxies_alone_joins_one_with_kernels(tmp_path):
    alone, path = replace(SETTINGS, kernels=False), tmp_path / "scores.parquet"
    for folder in ("first", "second"):
        write_scores(NEW, alone, 3, 10, tmp_path / folder, "a processor")
        collect_scores(tmp_path / folder, path)
    assert read_scores(path)[1] == alone.to_dict()
    write(Unit(1, 0), tmp_path / "third")
    assert collect_scores(tmp_path / "third", path).rows == 5
    assert read_scores(path)[1] == SETTINGS.to_dict()


def test_one_label_for_two_attacks_is_refused(folder, tmp_path):
    assert SLOWER.identity == SETTINGS.identity
    with pytest.raises(InvalidValueError, match="a new folder"):
        check_folder(folder, SLOWER)
    collect_scores(folder, tmp_path / "scores.parquet")
    with pytest.raises(InvalidValueError, match="a new file"):
        scored_units(tmp_path / "scores.parquet", SLOWER)
    with pytest.raises(TableError, match="its settings differ"):
        write_scores(NEW, SLOWER, 3, 10, folder, "a processor")


def test_a_table_grows_by_what_it_lacks_and_keeps_its_rows(folder, tmp_path):
    """Whether the old scores are in a table alone, with the new ones in another folder, or in the shards themselves."""
    path = tmp_path / "scores.parquet"
    collect_scores(folder, path)
    before = Reader(path).read()
    kept, shard = path.read_bytes(), Reader(folder / FOLDER / NAME).read()
    for target in (tmp_path / "elsewhere", folder):
        path.write_bytes(kept)
        write_scores([*made_up(Unit(3, 2)), *NEW], SETTINGS, 3, 10, target, "another")
        assert collect_scores(target, path).rows == before.num_rows + 2
        after = Reader(path).read()
        new = np.isin(after["score"].to_pylist(), ["zen", "snip"])
        assert after.filter(pa.array(~new)).equals(before, check_metadata=True)
        added = after.filter(pa.array(new)).select(["index", "seed", "score", "device"]).to_pylist()
        assert [tuple(row.values()) for row in added] == [(3, 10, name, "another") for name in ("zen", "snip")]
    assert Reader(folder / FOLDER / NAME).read().slice(0, 3).equals(shard)


def test_what_is_missing_is_neither_in_the_shard_nor_in_the_table(folder, tmp_path):
    lacking = [key for key in score_keys(SETTINGS) if key not in KEYS]
    assert missing_scores(folder, SETTINGS, 3, 10) == lacking
    assert missing_scores(folder, SETTINGS, 4, 10) == score_keys(SETTINGS)
    assert missing_scores(tmp_path, SETTINGS, 3, 10, {(3, 10): KEYS}) == lacking
    assert missing_scores(folder, SETTINGS, 3, 10, {(3, 10): lacking}) == []
    cut(folder / FOLDER / NAME)
    assert missing_scores(folder, SETTINGS, 3, 10) == []  # until it is set aside
    with pytest.raises(TableError, match="not readable as Parquet"):
        write_scores(NEW, SETTINGS, 3, 10, folder, "a processor")


def test_shards_of_other_settings_are_refused_and_stay(folder, tmp_path):
    path = write(Unit(4, 0), folder, OTHER)
    with pytest.raises(TableError, match="its settings differ from those of other shards") as caught:
        collect_scores(folder, tmp_path / "scores.parquet")
    assert caught.value.path in (str(path), str(folder / FOLDER / shard_name(SETTINGS, 9930, 10)))
    assert path.exists()
    assert not (tmp_path / "scores.parquet").exists()


def test_folder_of_other_settings_is_refused(folder, tmp_path):
    check_folder(folder, SETTINGS)
    check_folder(tmp_path / "new", OTHER)
    with pytest.raises(InvalidValueError, match=f"a new folder, or one of scores with settings {OTHER.identity}"):
        check_folder(folder, OTHER)
    with pytest.raises(InvalidValueError, match="folder is"):
        check_folder(folder, score_settings_for("cifar10"))


def test_settings_in_the_file_are_plain_json(folder):
    schema = Reader(folder / FOLDER / NAME).schema
    assert json.loads(schema.metadata[b"nasbench_robust_scores"]) == SETTINGS.to_dict()
