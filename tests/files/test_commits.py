"""States of a folder: numbered, whole, the last two kept; of two writers that build on one state, one begins again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from nasbench_robust.files import COMMITS, MANIFEST, Commit, commit, expose, latest, sweep
from nasbench_robust.files.atomic import unfinished


def write(text: str, *names: str) -> object:
    def into(folder: Path) -> dict:
        for name in names or ("a.txt", "b.txt"):
            (folder / name).write_text(text)
        return {"name": text}

    return into


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix == ".txt"}


def test_a_state_follows_another_and_the_last_two_are_kept(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    state = None
    for number in range(1, 5):
        state = commit(tmp_path, write(f"{number}"), state)
        assert state == latest(tmp_path) == Commit(number, tmp_path / COMMITS / f"{number:08d}")
        assert texts(state.folder) == {"a.txt": f"{number}", "b.txt": f"{number}"}
        assert json.loads((state.folder / MANIFEST).read_text())["name"] == f"{number}"
    assert sorted(path.name for path in (tmp_path / COMMITS).iterdir()) == ["00000003", "00000004"]


def test_of_two_writers_on_one_state_the_second_begins_again(tmp_path: Path) -> None:
    first = commit(tmp_path, write("one"), None)
    assert commit(tmp_path, write("two"), None) is None
    assert texts(latest(tmp_path).folder)["a.txt"] == "one"
    second = commit(tmp_path, write("two"), first)
    assert commit(tmp_path, write("three"), first) is None
    assert latest(tmp_path) == second


def test_a_writer_that_is_far_behind_changes_nothing(tmp_path: Path) -> None:
    """Its number is free again, since old states are removed."""
    state = first = commit(tmp_path, write("1"), None)
    for number in range(2, 6):
        state = commit(tmp_path, write(f"{number}"), state)
    assert commit(tmp_path, write("late"), first) is None
    assert latest(tmp_path) == state
    assert not (tmp_path / COMMITS / "00000002").exists()


def test_plain_names_are_those_of_the_last_state(tmp_path: Path) -> None:
    state = commit(tmp_path, write("one", "a.txt", "b.txt"), None)
    (tmp_path / "notes.txt").write_text("mine")
    expose(tmp_path)
    assert texts(tmp_path) == {"a.txt": "one", "b.txt": "one", "notes.txt": "mine"}
    commit(tmp_path, write("two", "b.txt", "c.txt"), state)
    expose(tmp_path)
    assert texts(tmp_path) == {"b.txt": "two", "c.txt": "two", "notes.txt": "mine"}


def test_what_the_dead_left_is_swept_and_what_the_living_write_is_not(tmp_path: Path) -> None:
    state = commit(tmp_path, write("one"), None)
    mine = unfinished(tmp_path / COMMITS / "00000002")
    dead = mine.with_name(mine.name.replace(f".{os.getpid()}.", ".99999999."))
    for path in (mine, dead):
        path.mkdir()
    sweep(tmp_path)
    assert mine.exists()
    assert not dead.exists()
    assert latest(tmp_path) == state
