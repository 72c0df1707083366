"""Commands that may die, what there is before each of them, and a published file that some of them fetch."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc
from conftest import DATA_VARIABLE, made_up_page, write_page
from servers import Handler, Server

from nasbench_robust.cli import main
from nasbench_robust.files import COMMITS, HOME_VARIABLE
from nasbench_robust.files.atomic import unfinished
from nasbench_robust.registry import RELEASES
from nasbench_robust.releases import importers
from nasbench_robust.table import (
    loose_runs,
    present_runs,
    read_loose,
    release_info_of,
    tables_of,
    write_run_file,
    write_table,
)
from nasbench_robust.table.run_files import read_run_file

PAGE, RELEASE, HOME = "page.json", "nas-robbench-201", "home"
TINY = {
    "skeleton": {"channels": 2, "cells_per_stage": 1},
    "epochs": 1,
    "batch_size": 512,
    "attack": {"steps": 1},
    "evaluation": [{"name": "fgsm", "eps": 0.1, "steps": 1, "step_size": 0.1}],
}
TRAIN = ("--settings", "tiny.json", "--engine", "native")


@dataclass(frozen=True)
class Command:
    """A command, and what it does it to.

    Attributes
    ----------
    name : str
    arguments : tuple of str
    prepare : callable
        Makes what is there before, in the folder that is worked in.
    places : tuple of str
        The tables that it reads or writes.
    grows : bool
        Whether it may have done a part of its work: every run by itself is there or not.
    in_worker : bool
        Whether not the command dies, but the first process that it starts.
    others : callable
        Does, in a folder, what others have done by so many operations of the command.
    """

    name: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path], None]
    places: tuple[str, ...]
    grows: bool = False
    in_worker: bool = False
    others: Callable[[Path, int], None] = field(default=lambda folder, count: None)


def _do(*arguments: object) -> None:
    assert main([*map(str, arguments), "-q"]) == 0, arguments


def _train(folder: Path, *cells: int, seeds: Sequence[int] = (0,)) -> None:
    for cell in cells:
        settings = folder.parent / "tiny.json"
        _do("train", "--index", cell, "--out", folder, *TRAIN[2:], "--settings", settings, "--seeds", *seeds)


def _one_run(folder: Path) -> None:
    _train(folder / "a", 7)


def _two_folders(folder: Path) -> None:
    _train(folder / "a", 7, 8)
    _train(folder / "b", 8, 9, seeds=(1,))


def _older_release(folder: Path) -> None:
    _one_run(folder)
    _do("collect", folder / "a", "--out", folder / "release")
    _two_folders(folder)


def _plain_release(folder: Path) -> None:
    """Make a release as older versions did, without commits."""
    _older_release(folder)
    for path in (folder / "release").glob("*.*"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    shutil.rmtree(folder / "release" / COMMITS)


def _published(folder: Path) -> None:
    _older_release(folder)
    _do("publish", folder / "release", "--name", "before")


def _compacted(folder: Path) -> None:
    _two_folders(folder)
    _do("compact", folder / "a")
    _train(folder / "a", 11)
    _train(folder / "others", 12, 13, 14)


def _old_layout(folder: Path) -> None:
    """Make a folder of runs as older versions did: three files a run."""
    _train(folder / "new", 7, 8)
    for path in loose_runs(folder / "new").values():
        stored = read_loose(folder / "new", path)
        assert stored is not None
        for name, rows in tables_of([stored], release_info_of([stored])).items():
            write_table(rows, folder / "a" / name / path.name)


def _three_folders(folder: Path) -> None:
    _two_folders(folder)
    _train(folder / "target", 7, 10)
    _do("compact", folder / "target")
    _train(folder / "target", 11)


def _older_part(folder: Path) -> None:
    _train(folder / "a", 7, 8, seeds=(0, 1))
    _do("split", folder / "a", "--cells", 7, "--out", folder / "part")


def _damaged(folder: Path) -> None:
    _two_folders(folder)
    _do("compact", folder / "a")
    _train(folder / "a", 10)
    _do("compact", folder / "a")
    _train(folder / "a", 11, 12)
    for path in (
        folder / "a" / COMMITS / "00000002" / "curves.parquet",
        loose_runs(folder / "a")["digits-00011-0.parquet"],
    ):
        path.write_bytes(path.read_bytes()[:-40])
    if not (dead := os.fork()):
        unfinished(folder / "a" / COMMITS / "00000003").mkdir()
        unfinished(folder / "a" / "runs" / "000" / "digits-00013-0.parquet").touch()
        os._exit(0)
    os.waitpid(dead, 0)
    (folder / "a" / "claims" / "digits-00013-0.parquet.lock").touch()
    (folder / "a" / "checkpoints" / "digits-00012-0.parquet.ckpt").touch()


def _others_add(folder: Path, count: int) -> None:
    """Let others add a run to the folder now and then."""
    for number, path in enumerate(sorted((folder / "others/runs").rglob("*.parquet"))):
        target = folder / "a" / path.relative_to(folder / "others")
        if count >= 8 + 24 * number and target.name not in present_runs(folder / "a"):
            write_run_file(read_run_file(path), target)


def _page(folder: Path) -> None:
    shutil.copyfile(folder.parents[1] / PAGE, folder / PAGE)


AB = ("a", "b")
FETCHED = f"{HOME}/releases/{RELEASE}/*"  # called by the hash of the file
RUN = ("run", "--cells", "7-9", "--seeds", "0", "--out", "a", "--workers", "2", *TRAIN)
COLLECT = ("collect", *AB, "--out", "release")
COMMANDS = (
    Command("train", ("train", "--index", "9", "--seeds", "0", "--out", "a", *TRAIN), _one_run, ("a",), grows=True),
    Command("run", RUN, _one_run, ("a",), grows=True),
    Command("run, a worker", RUN, _one_run, ("a",), grows=True, in_worker=True),
    Command("collect", COLLECT, _older_release, (*AB, "release")),
    Command("collect over plain files", COLLECT, _plain_release, (*AB, "release")),
    Command("compact", ("compact", "a"), _compacted, ("a",), grows=True, others=_others_add),
    Command("compact an old folder", ("compact", "a"), _old_layout, ("a",)),
    Command("publish", ("publish", "release", "--name", "after"), _published, ("release",)),
    Command("publish plain files", ("publish", "release", "--name", "after"), _plain_release, ("release",)),
    Command("import", ("import", "page", PAGE, "--out", "imported"), _page, ("imported",)),
    Command("fetch", ("download", RELEASE, "--path", PAGE), _page, (FETCHED,)),
    Command("download", ("download", RELEASE), _page, (FETCHED,)),
    Command("merge", ("merge", *AB, "--out", "target"), _three_folders, (*AB, "target")),
    Command("split", ("split", "a", "--seeds", "0", "--out", "part"), _older_part, ("a", "part")),
    Command("repair", ("repair", "a"), _damaged, ("a",)),
)


class _Pages(Handler):
    def do_GET(self) -> None:
        self.answer(200, self.server.page)


def provide_page(folder: Path) -> Server:
    """Write a published file, the real one where it is at hand, and let its release be that of this file."""
    data = Path(os.environ.get(DATA_VARIABLE, "")) / "nas-robbench-201/NAS-RobBench-201_html.json"
    if DATA_VARIABLE in os.environ and data.exists():
        shutil.copyfile(data, folder / PAGE)
    else:
        write_page(made_up_page(), folder / PAGE)
    few = importers.IMPORTERS["page"](folder / PAGE)
    few = few.filter(pc.less(few["index"], 40))  # to read all is the work of seconds
    importers.IMPORTERS["page"] = lambda path: few
    server = Server(_Pages)
    server.page = (folder / PAGE).read_bytes()
    sha256, size = hashlib.sha256(server.page).hexdigest(), len(server.page)
    release = RELEASES[RELEASE]._replace(url=f"{server.address}/{PAGE}", sha256=sha256, size=size)
    RELEASES[RELEASE] = release
    os.environ[HOME_VARIABLE] = HOME
    return server
