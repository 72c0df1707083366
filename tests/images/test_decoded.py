"""Decoded images on the disk: made once, checked whenever they are read, made again where they are of no use."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from pictures import made_up, write_parquet
from processes import PATIENCE, started

from nasbench_robust.files import HOME_VARIABLE, latest
from nasbench_robust.images import ArrayImages, Split, decoded, formats, load_arrays

NAME = "cifar10"
pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_parquet(tmp_path / "files", NAME, made_up(NAME))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of every batch that is decoded."""
    seen, decode = [], formats._decode

    def counted(column, *rest):
        seen.append(len(column))
        return decode(column, *rest)

    monkeypatch.setattr(formats, "_decode", counted)
    return seen


def assert_right(images: ArrayImages, expected: tuple[Split, Split] | None = None) -> None:
    for found, split in zip((images.train, images.test), expected or made_up(NAME), strict=True):
        assert type(found.pixels) is np.ndarray
        assert found == split


def states(home: Path) -> list[Path]:
    return [state.folder for folder in sorted((home / "images").iterdir()) if (state := latest(folder))]


def test_images_are_decoded_once_and_then_mapped(root, home, batches):
    assert_right(load_arrays(NAME, root))
    assert sum(batches) == 256 + 130
    again = load_arrays(NAME, root)
    assert sum(batches) == 256 + 130
    assert_right(again)
    assert isinstance(again.train.pixels.base, np.memmap)
    assert len(states(home)) == 2


def test_what_a_process_changes_stays_with_it(root, home):
    load_arrays(NAME, root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of arrays that it may not write to
        load_arrays(NAME, root).to("cpu").train.pixels[:] = 0
    assert_right(load_arrays(NAME, root))


def test_other_files_of_the_same_size_and_time_are_decoded_anew(root, home):
    load_arrays(NAME, root)
    train, test = made_up(NAME)
    path = root / "train-00000-of-00001.parquet"
    before = path.stat()
    for shift in range(1, 100):  # the size of what is compressed varies by a few bytes
        other = Split(train.pixels, np.roll(train.labels, shift))
        write_parquet(root, NAME, (other, test))
        if path.stat().st_size == before.st_size:
            break
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert_right(load_arrays(NAME, root), (other, test))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def turned(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, turned, Path.unlink])
@pytest.mark.parametrize("name", ["pixels.npy", "labels.npy", "manifest.json"])
def test_what_is_damaged_is_made_again_and_never_used(damage: Callable, name, root, home, batches, caplog):
    load_arrays(NAME, root)
    for folder in states(home):
        damage(folder / name)
    batches.clear()
    assert_right(load_arrays(NAME, root))
    assert sum(batches) == 256 + 130
    assert caplog.text.count("are made again") == 2
    assert_right(load_arrays(NAME, root))
    assert sum(batches) == 256 + 130


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_on_a_full_disk_images_are_decoded_each_time_and_nothing_is_left(root, home, batches, monkeypatch):
    monkeypatch.setattr(decoded.np, "save", fail)
    for _ in range(2):
        assert_right(load_arrays(NAME, root))
    assert sum(batches) == 2 * (256 + 130)
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("place", ["a file", "read only"])
def test_where_nothing_can_be_kept_images_are_decoded_each_time(place, root, home, batches):
    if place == "a file":
        home.write_text("")
    elif os.geteuid():
        home.mkdir(mode=0o500)
    else:
        pytest.skip("nothing is read only for root")
    for _ in range(2):
        assert_right(load_arrays(NAME, root))
    assert sum(batches) == 2 * (256 + 130)


LOAD = """
import sys
from dataclasses import replace
from nasbench_robust.datasets import DATASETS
from nasbench_robust.images import load_arrays
DATASETS["cifar10"] = replace(DATASETS["cifar10"], train_images=256, test_images=130)
sys.stdin.read()
print(int(load_arrays("cifar10", sys.argv[1]).train.pixels.sum(dtype=int)))
"""


def test_many_processes_at_once_make_one_state(root, home):
    options = {"stdin": -1, "stdout": -1, "text": True, "env": {**os.environ, HOME_VARIABLE: str(home)}}
    with ExitStack() as stack:
        command = [sys.executable, "-c", LOAD, str(root)]
        processes = [stack.enter_context(started(command, **options)) for _ in range(4)]
        for process in processes:
            process.stdin.close()
        sums = [int(process.stdout.read()) for process in processes]
        assert [process.wait(PATIENCE) for process in processes] == [0] * 4
    assert set(sums) == {int(made_up(NAME)[0].pixels.sum(dtype=int))}
    assert sorted(path.parent.name for path in states(home)) == ["commits"] * 2
    assert len(list(home.rglob("pixels.npy"))) == 2
    assert not list(home.rglob(".*.tmp"))
