"""Unreadable now is not damaged: every read of every command that looks at a table fails once, and nothing is lost.

The reads are counted, then some of them fail, each with one kind of error, in turn. With ``NASBENCH_ROBUST_FAULTS=13``
all of them fail with all 13 kinds, with a lower number with as many of them.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from faults import Reads, watched
from stored_runs import CELLS, LAYOUTS, Tree, bundled, make_new, settled, tree

import nasbench_robust as nbr
from nasbench_robust.cli import main
from nasbench_robust.cli.command import guarded
from nasbench_robust.engines.checkpoints import finished_epochs, load_state, save_state
from nasbench_robust.errors import UnreadableError
from nasbench_robust.files import checksum
from nasbench_robust.releases import loading
from nasbench_robust.runs import collect, remember
from nasbench_robust.scores import Scored, collect_scores, score_settings_for, write_scores
from nasbench_robust.settings import settings_for
from nasbench_robust.table import files, folders, run_path, shard_file, write_run_file, write_table

KINDS = int(os.environ.get("NASBENCH_ROBUST_FAULTS", "0"))
SAMPLE = 12  # reads of each command


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setattr(files, "_ZSTD_LEVEL", 1)  # the highest takes most of the time of all commands


def make_scores(folder: Path) -> None:
    settings = score_settings_for("digits")
    for index in CELLS[:2]:
        write_scores([Scored(None, None, "params", 1.0, None, 0.5)], settings, index, 0, folder, "a processor")


def prepare(place: Path, layout: str) -> None:
    """Make a folder of runs, another one, a release of an older state, and a folder of scores."""
    runs = bundled()
    LAYOUTS[layout](place / "F", runs[:2])
    LAYOUTS[layout](place / "G", runs[1:3])
    make_new(place / "H", runs[:1])
    collect([place / "H"], place / "R")
    remember(place / "F", settings_for("digits"), "3,8,12", [0])
    (place / "F" / "checkpoints").mkdir()
    (place / "F" / "checkpoints" / f"{shard_file('digits', 12, 0)}.ckpt").write_bytes(b"not whole")
    make_scores(place / "S")
    collect_scores(place / "S", place / "scores.parquet")


def look(folder: Path) -> int:
    bench = nbr.load(folder)
    print(bench.frame("digits").to_string(), bench.seeds("digits") if hasattr(bench, "seeds") else "")
    return 0


def gather(place: Path) -> int:
    report = collect_scores(place / "S", place / "scores.parquet")
    print(report.rows, report.quarantined)
    return 0


ASK = ("--cells", "3,8,12", "--seeds", "0")
COMMANDS: dict[str, Callable[[Path], int]] = {
    "collect": lambda place: main(["collect", f"{place}/F", f"{place}/G", "--out", f"{place}/R"]),
    "compact": lambda place: main(["compact", f"{place}/F"]),
    "merge": lambda place: main(["merge", f"{place}/G", "--out", f"{place}/F"]),
    "split": lambda place: main(["split", f"{place}/F", "--out", f"{place}/P", "--cells", "3"]),
    "status": lambda place: main(["status", "--out", f"{place}/F"]),
    "submit": lambda place: main(["submit", "--dry-run", "--out", f"{place}/F", *ASK, "--max-array-size", "9"]),
    "load": lambda place: guarded("load", lambda: look(place / "F")),
    "verify": lambda place: main(["verify", f"{place}/F"]),
    "repair": lambda place: main(["repair", f"{place}/F"]),
}
OF_RELEASES: dict[str, Callable[[Path], int]] = {
    "load release": lambda place: guarded("load", lambda: look(place / "R")),
    "verify release": lambda place: main(["verify", f"{place}/R"]),
    "repair release": lambda place: main(["repair", f"{place}/R"]),
    "publish": lambda place: main(["publish", f"{place}/R"]),
    "publish to": lambda place: main(["publish", f"{place}/R", "--out", f"{place}/P", "--name", "other", "--force"]),
    "scores": lambda place: guarded("scores", lambda: gather(place)),
}
CASES = [(name, layout) for layout in LAYOUTS for name in COMMANDS] + [(name, "new") for name in OF_RELEASES]


@dataclass
class Outcome:
    code: int
    out: str
    err: str
    tree: Tree


class Stage:
    """Copies of one prepared place, and what a command makes of them."""

    def __init__(self, tmp_path: Path, layout: str, command: Callable[[Path], int], capsys) -> None:
        self.original, self.place = tmp_path / "original", tmp_path / "place"
        prepare(self.original, layout)
        self.before, self.command, self.capsys = tree(self.original), command, capsys
        self.capsys.readouterr()

    def renew(self) -> None:
        if self.place.exists():
            shutil.rmtree(self.place)
        shutil.copytree(self.original, self.place, symlinks=True)

    def run(self, reads: Reads | None = None) -> Outcome:
        folders._names_in.cache_clear()  # copies stand in one place, but a commit never changes
        if reads is None:
            code = self.command(self.place)
        else:
            with watched(reads):
                code = self.command(self.place)
        out, err = self.capsys.readouterr()
        return Outcome(code, re.sub(r"\d{8}-\d{6}-\d{6}", "", out), err, tree(self.place))  # the time of a submission


def check(failed: Outcome, whole: Outcome, before: Tree, what: str, place: Path) -> None:
    """A read that failed is said, or had no effect; nothing was moved or lost."""
    assert "Traceback" not in failed.err, what
    if (failed.code, failed.out) == (whole.code, whole.out) and failed.tree == whole.tree:
        return
    assert failed.code == 2, (what, failed.out, failed.err)
    sentences = [line for line in failed.err.splitlines() if line not in whole.err.splitlines()]
    assert len(sentences) == 1, (what, sentences)
    assert str(place) in sentences[0], (what, sentences)
    for name in {**before, **whole.tree, **failed.tree}:
        state = failed.tree.get(name)
        assert state in (before.get(name), whole.tree.get(name)), (what, name)
        if state is None and name in before:  # compacted: then it is in a commit that is whole
            assert any(other.endswith("manifest.json") and other not in before for other in failed.tree), (what, name)


@pytest.mark.parametrize(("name", "layout"), CASES, ids=[" ".join(case) for case in CASES])
def test_a_read_that_fails_moves_and_loses_nothing(name, layout, tmp_path, capsys):
    stage = Stage(tmp_path, layout, {**COMMANDS, **OF_RELEASES}[name], capsys)
    stage.renew()
    reads = Reads(stage.place)
    whole = stage.run(reads)
    assert whole.code in (0, 1), whole.err
    assert reads.number > 3
    count, said = reads.number, 0
    chosen = range(1, count + 1, 1 if KINDS else max(1, count // SAMPLE))
    for number, at in enumerate(chosen):
        for turn in range(number, number + max(KINDS, 1)):
            stage.renew()
            reads = Reads(stage.place, at, lambda kinds, turn=turn: kinds[turn % len(kinds)])
            failed = stage.run(reads)
            check(failed, whole, stage.before, f"read {at} of {count}: {reads.failed}", stage.place)
            said += failed.code == 2
            if failed.code == 2:
                again = stage.run()
                assert (again.code, settled(again.tree)) == (whole.code, settled(whole.tree)), reads.failed
    assert said


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def miscount(path: Path) -> None:
    run = bundled()[0]
    outcomes = [replace(each, correct=each.correct + b"\1") for each in run.outcomes]
    path.unlink()
    write_run_file(replace(run, outcomes=outcomes), path)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "magic": lambda path: path.write_bytes(path.read_bytes()[:-4] + b"RAP1"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "checksum": flip,
    "schema": lambda path: write_table(pa.table({"index": [1]}), path),
    "wrong name": lambda path: shutil.copyfile(path.with_name(shard_file("digits", 8, 0)), path),
    "popcount": miscount,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_goes_to_quarantine_once_all_else_was_read(damage, tmp_path, monkeypatch, capsys):
    make_new(tmp_path / "F", bundled()[:3])
    damaged, other = (run_path(tmp_path / "F", shard_file("digits", index, 0)) for index in (3, 12))
    DAMAGES[damage](damaged)
    content, before = damaged.read_bytes(), tree(tmp_path)
    real = folders.read_run_file

    def read(path):
        if path == other:
            raise UnreadableError(path, OSError(5, "Input/output error"))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(folders, "read_run_file", read)
        assert main(["collect", f"{tmp_path}/F", "--out", f"{tmp_path}/R"]) == 2
    assert str(other) in capsys.readouterr().err
    assert tree(tmp_path) == before
    report = collect([tmp_path / "F"], tmp_path / "R")
    assert report.runs == 2
    [aside] = report.quarantined
    assert aside.read_bytes() == content
    assert not damaged.exists()


def test_a_checkpoint_that_cannot_be_read_now_stays_and_a_second_damaged_one_too(tmp_path):
    path = tmp_path / "a.ckpt"
    save_state({"training": {"curve": []}}, path)
    for ask in (load_state, finished_epochs):
        with watched(Reads(tmp_path, 1)), pytest.raises(UnreadableError):
            ask(path)
    assert load_state(path) == {"training": {"curve": []}}
    for content in (b"first", b"second"):
        path.write_bytes(content)
        assert load_state(path) is None
    assert [(tmp_path / f"a.ckpt.damaged{end}").read_bytes() for end in ("", "-2")] == [b"first", b"second"]


def test_a_converted_release_that_cannot_be_read_now_is_not_made_again(tmp_path):
    make_new(tmp_path / "F", bundled()[:1])
    collect([tmp_path / "F"], tmp_path / "R")
    table = tmp_path / "R" / "runs.parquet"
    table.with_suffix(".sha256").write_text(checksum(table))
    assert loading._problem(table) is None
    reads = Reads(tmp_path)
    with watched(reads):
        loading._problem(table)
    for at in range(1, reads.number + 1):
        with watched(Reads(tmp_path, at)), pytest.raises(UnreadableError):
            loading._problem(table)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", *sys.argv[1:]]))
