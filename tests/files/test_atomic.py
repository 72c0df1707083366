"""Files are whole or not there, stay where they are not to be replaced, and are called by what they hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nasbench_robust.files import commit, json_hash, manifest_text, write_output, write_with
from nasbench_robust.files.manifests import mismatch


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_output_goes_through_links_and_into_pipes(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_output(b"new", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # without one the writer would wait
    try:
        write_output(b"through", pipe)
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    write_output(b"gone", Path(os.devnull))
    assert Path(os.devnull).is_char_device()
    write_output(b"made", tmp_path / "folder" / "file")
    assert (tmp_path / "folder" / "file").read_bytes() == b"made"


def test_a_file_is_replaced_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert write_with(path, lambda beside: beside.write_text("one"), replace=False)
    assert not write_with(path, lambda beside: beside.write_text("two"), replace=False)
    assert path.read_text() == "one"
    assert write_with(path, lambda beside: beside.write_text("three"))
    assert path.read_text() == "three"
    assert names(path.parent) == ["file"]


def test_a_file_stays_where_there_are_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "file"
    assert write_with(path, lambda beside: beside.write_text("one"), replace=False)
    assert not write_with(path, lambda beside: beside.write_text("two"), replace=False)
    assert path.read_text() == "one"
    assert names(tmp_path) == ["file"]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(beside: Path) -> None:
        beside.write_text("half")
        raise ValueError("that is all")

    with pytest.raises(ValueError, match="that is all"):
        write_with(tmp_path / "file", write)
    assert names(tmp_path) == []


@pytest.mark.parametrize("names", [lambda _: [], lambda beside: [beside], lambda beside: ["source", None, beside]])
def test_a_fault_names_the_file_that_was_asked_for_in_the_words_of_the_system(tmp_path: Path, names) -> None:
    def write(beside: Path) -> None:
        raise OSError(28, "Error writing bytes to file. Detail: [errno 28]", *names(str(beside)))

    for path, make in (("file", write_with), ("folder", lambda path, write: commit(path, write, None))):
        with pytest.raises(OSError, match=rf"^\[Errno 28\] No space left on device: '{tmp_path}/{path}'$"):
            make(tmp_path / path, write)


def test_a_fault_of_another_file_names_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file or directory: 'source' -> 'target'"):
        write_with(tmp_path / "file", lambda _: Path("source").rename("target"))


def test_hashes_go_by_what_is_there_and_not_by_its_order() -> None:
    assert json_hash({"a": 1, "b": [2.5, None]}) == json_hash({"b": [2.5, None], "a": 1})
    assert json_hash({"a": 1, "b": [None, 2.5]}) != json_hash({"a": 1, "b": [2.5, None]})
    with pytest.raises(ValueError, match="JSON"):
        json_hash({"a": float("nan")})


def test_a_file_is_the_one_of_its_manifest_or_not(tmp_path: Path) -> None:
    path, manifest = tmp_path / "runs.parquet", tmp_path / "manifest.json"
    path.write_bytes(b"what was published")
    manifest.write_text(manifest_text({"name": "made up"}, tmp_path, ["runs.parquet"]))
    assert mismatch(manifest, path) is None
    path.write_bytes(b"what was put there")  # of the same length
    assert "the SHA-256 of runs.parquet is" in str(mismatch(manifest, path))
    manifest.write_text("{}")
    assert mismatch(manifest, path) == "its manifest.json gives no SHA-256 of runs.parquet"
