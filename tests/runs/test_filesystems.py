"""File systems as clusters have them: each works, or says one sentence and changes nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import Reads, watched_writes
from processes import PATIENCE
from stored_runs import bundled, make_committed, make_new, make_old, settled, tree

import nasbench_robust as nbr
from nasbench_robust.cli import main
from nasbench_robust.errors import MissingDataError, TableError
from nasbench_robust.files import atomic, commits, is_abandoned, latest, sweep, write_with
from nasbench_robust.runs import check_folder, claim, collect, compact, is_claimed
from nasbench_robust.table import files, folders, quarantine, run_path, shard_file, verify, write_run_file

EVERY = bool(os.environ.get("NASBENCH_ROBUST_FAULTS"))  # write of a command, not every fifth
FIRST = shard_file("digits", 3, 0)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setattr(files, "_ZSTD_LEVEL", 1)  # the highest takes most of the time of all commands


def failing(number: int) -> Callable[..., object]:
    """Return a call of the system that fails with this error."""

    def call(*arguments, **options):
        raise OSError(number, os.strerror(number), str(arguments[0]))

    return call


def rows(folder: Path) -> int:
    return nbr.load(folder).frame("digits")["clean_acc"].notna().sum()


def use(folder: Path, out: Path) -> None:
    """Make runs, compact them, make more, collect, load and publish."""
    make_committed(folder, bundled()[:3])
    assert collect([folder], out).runs == 3
    assert main(["publish", str(out)]) == 0
    assert verify(folder) == verify(out) == []
    assert rows(out) == rows(folder)


# ------------------------------------------------------------------ what some file systems do not have


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.EMLINK, errno.EACCES])
@pytest.mark.parametrize("missing", ["link", "symlink"])
def test_without_links_all_works(missing, number, tmp_path, monkeypatch):
    monkeypatch.setattr(os, missing, failing(number))
    use(tmp_path / "F", tmp_path / "R")
    first = run_path(tmp_path / "G", FIRST)
    assert write_run_file(bundled()[0], first)
    content = first.read_bytes()
    assert not write_run_file(bundled()[0], first)  # the first one stays
    assert first.read_bytes() == content


def test_a_link_whose_answer_was_lost_counts(tmp_path, monkeypatch):
    real = os.link

    def link(source, target):
        real(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")  # asked again, over a network

    monkeypatch.setattr(os, "link", link)
    assert write_with(tmp_path / "a", lambda path: path.write_bytes(b"1"), replace=False)
    assert not write_with(tmp_path / "a", lambda path: path.write_bytes(b"2"), replace=False)
    assert (tmp_path / "a").read_bytes() == b"1"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EIO])
def test_without_locks_claims_are_had_and_nobody_holds_one(number, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "lockf", failing(number))
    make_new(tmp_path, bundled()[:2])
    with claim(tmp_path, "a") as had:
        assert had
    (tmp_path / "claims" / f"{shard_file('digits', 12, 0)}.lock").write_text("")
    assert not is_claimed(tmp_path, shard_file("digits", 12, 0))
    assert main(["status", "--out", str(tmp_path), "--cells", "3,8,12", "--seeds", "0"]) == 0
    assert "running   0" in capsys.readouterr().out


@pytest.mark.parametrize("number", [errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM, errno.EISDIR])
def test_of_two_commits_at_once_one_begins_again_whatever_the_system_calls_it(number, tmp_path, monkeypatch):
    make_new(tmp_path, bundled()[:2])
    real, raced = os.rename, []

    def rename(source, target):
        if Path(target).name == "00000001" and not raced:
            raced.append(target)
            compact(tmp_path)
            make_new(tmp_path, bundled()[2:3])
            raise OSError(number, os.strerror(number), source, None, target)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert compact(tmp_path).runs == 3
    assert raced
    assert latest(tmp_path).number == 2
    assert rows(tmp_path) == 3


def test_a_commit_that_may_not_be_made_is_one_sentence_and_nothing_is_lost(tmp_path, monkeypatch, capsys):
    make_new(tmp_path, bundled()[:2])
    before = tree(tmp_path)
    monkeypatch.setattr(os, "rename", failing(errno.EACCES))
    assert main(["compact", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert tree(tmp_path) == before


@pytest.mark.parametrize("taken", [False, True], ids=["mine", "another's"])
def test_a_rename_whose_answer_was_lost_counts_if_it_was_mine(taken, tmp_path, monkeypatch):
    make_new(tmp_path / "F", bundled()[:2])
    make_new(tmp_path / "G", bundled()[1:3])
    compact(tmp_path / "G")
    real, lost = os.rename, []

    def rename(source, target):
        if lost or Path(target).name != "00000001":
            return real(source, target)
        lost.append(target)
        if taken:  # the unfinished one was taken for a dead writer's, and another one was faster
            shutil.rmtree(source)
            shutil.copytree(tmp_path / "G" / "commits" / "00000001", target)
        else:
            real(source, target)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", source)

    monkeypatch.setattr(os, "rename", rename)
    compact(tmp_path / "F")
    assert lost
    assert latest(tmp_path / "F").number == 1 + taken
    assert rows(tmp_path / "F") == 2 + taken


# ------------------------------------------------------------------ clocks, and what others see late


@pytest.mark.parametrize("hours", [-5, -0.1, 0.1, 5, 48])
def test_what_a_machine_with_another_clock_has_under_its_hands_stays(hours, tmp_path):
    make_committed(tmp_path, bundled()[:2])
    alive = [tmp_path / "commits" / ".00000002.0a0b0c0d.7.00aa11bb.tmp", tmp_path / "runs" / ".x.0a0b0c0d.7.0011.tmp"]
    alive[0].mkdir()
    alive[1].write_text("half")
    for path in alive:
        os.utime(path, (time.time() + 3600 * hours,) * 2)
    assert sweep(tmp_path) == []
    assert main(["repair", str(tmp_path)]) == 0
    assert all(path.exists() for path in alive)


def test_what_was_left_days_ago_is_swept(tmp_path):
    path = tmp_path / ".x.0a0b0c0d.7.0011.tmp"
    path.write_text("half")
    os.utime(path, (time.time() - 90000,) * 2)
    assert is_abandoned(path)


def test_what_a_process_of_this_machine_left_is_swept_once_it_is_gone(tmp_path, monkeypatch):
    mine = atomic.unfinished(tmp_path / "x")
    mine.write_text("half")
    os.utime(mine, (0, 0))
    assert not is_abandoned(mine)
    monkeypatch.setattr(os, "kill", failing(errno.EPERM))  # another user's
    assert not is_abandoned(mine)
    monkeypatch.setattr(os, "kill", failing(errno.ESRCH))
    assert is_abandoned(mine)
    monkeypatch.setattr(atomic, "_machine", lambda: "00000000")  # a container, or a node, of the same name
    os.utime(mine)
    assert not is_abandoned(mine)


def test_a_file_that_is_not_to_be_seen_for_a_moment_is_read_the_next_time(tmp_path, monkeypatch):
    make_new(tmp_path, bundled()[:2])
    real, asked = folders.read_run_file, []

    def read(path):
        asked.append(path)
        if len(asked) < 3:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return real(path)

    monkeypatch.setattr(folders, "read_run_file", read)
    assert rows(tmp_path) == 2
    asked.clear()
    assert collect([tmp_path], tmp_path / "R").runs == 2


def test_a_name_whose_file_stays_away_is_one_sentence_and_no_smaller_table(tmp_path, capsys):
    make_new(tmp_path, bundled()[:2])
    ghost = run_path(tmp_path, shard_file("digits", 12, 0))
    ghost.symlink_to("gone")
    with pytest.raises(MissingDataError, match="changes faster"):
        nbr.load(tmp_path)
    assert main(["collect", str(tmp_path), "--out", str(tmp_path / "R")]) == 2
    assert not (tmp_path / "R").exists()


def test_a_commit_that_is_not_listed_yet_stays(tmp_path, monkeypatch):
    make_new(tmp_path, bundled()[:2])
    monkeypatch.setattr(commits, "_numbers", lambda _: [])
    made = commits.commit(tmp_path, lambda folder: {}, None)
    monkeypatch.undo()
    assert latest(tmp_path) == made


# ------------------------------------------------------------------ no room, not mine, not to be written


COMMANDS: dict[str, Callable[[Path], int]] = {
    "collect": lambda place: main(["collect", f"{place}/F", "--out", f"{place}/R"]),
    "compact": lambda place: main(["compact", f"{place}/F"]),
    "merge": lambda place: main(["merge", f"{place}/F", "--out", f"{place}/M"]),
    "publish": lambda place: main(["publish", f"{place}/R"]),
}


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("name", COMMANDS)
def test_without_room_at_any_write_nothing_is_lost_and_no_part_is_left(name, number, tmp_path, capsys):
    original, place = tmp_path / "original", tmp_path / "place"
    make_committed(original / "F", bundled()[:3])
    collect([original / "F"], original / "R")
    make_new(original / "F", bundled()[3:4])
    capsys.readouterr()
    at, count = 0, 1
    while at <= count:  # the first time without a fault
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(original, place, symlinks=True)
        folders._names_in.cache_clear()
        writes = Reads(place, at, lambda _: errno.errorcode[number], unfinished=True)
        with watched_writes(writes):
            code = COMMANDS[name](place)
        said = capsys.readouterr().err
        assert not list(place.rglob("*.tmp")), writes.failed
        if at == 0:
            count, whole = writes.number, tree(place)
            assert code == 0
        elif code:
            assert (code, said.count("\n")) == (2, 1), (writes.failed, said)
            folders._names_in.cache_clear()
            assert rows(place / "F") == 4, writes.failed
            assert verify(place / "R") == [], writes.failed
            assert rows(place / "R") in (3, 4)
            assert COMMANDS[name](place) == 0, writes.failed
            capsys.readouterr()
        folders._names_in.cache_clear()
        assert rows(place / "F") == 4
        assert settled(tree(place)) == settled(whole), writes.failed
        at += 1 if EVERY or at == 0 else 5


def shell(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "nasbench_robust", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


@contextmanager
def mounted(point: Path, options: str) -> Iterator[Path]:
    point.mkdir(exist_ok=True)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.mark.parametrize("make", [make_new, make_old, make_committed])
def test_a_read_only_disk_is_read_and_nothing_is_begun_on_it(make, tmp_path):
    with mounted(tmp_path / "disk", "size=8m") as disk:
        make(disk / "F", bundled()[:3])
        collect([disk / "F"], disk / "R")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        before = tree(disk)
        assert rows(disk / "F") == rows(disk / "R") == 3
        asked = ("--cells", "3,8,12,15", "--seeds", "0")
        for folder in (disk / "F", disk / "R"):
            assert main(["verify", str(folder)]) == 0
            assert main(["split", str(folder), "--out", str(tmp_path / folder.name), "--cells", "3"]) == 0
            assert main(["collect", str(folder), "--out", str(tmp_path / f"{folder.name}2")]) == 0
            assert main(["status", "--out", str(folder), *asked]) == 0
            assert main(["repair", "--dry-run", str(folder)]) == 0
        assert main(["submit", "--dry-run", "--out", str(disk / "F"), *asked, "--max-array-size", "9"]) == 0
        for arguments in (["train", "--index", "9930"], ["run", "--cells", "9930", "--seeds", "0"]):
            done = shell(*arguments, "--out", str(disk / "F"))
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.count("\n") == 1
            assert "Read-only file system" in done.stderr
        for out in (disk / "x.csv", disk / "x.parquet"):
            said = shell("export", "--out", str(out)).stderr
            assert said == f"nasbench-robust: {out}: Read-only file system\n"
        assert tree(disk) == before


def test_a_damaged_run_on_a_read_only_disk_is_one_sentence(tmp_path, capsys):
    with mounted(tmp_path / "disk", "size=8m") as disk:
        make_new(disk / "F", bundled()[:2])
        run_path(disk / "F", FIRST).write_bytes(b"")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert main(["collect", str(disk / "F"), "--out", str(tmp_path / "R")]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert FIRST in said
        assert "damaged, and cannot be moved" in said
        assert not (tmp_path / "R").exists()
        assert main(["split", str(disk / "F"), "--out", str(tmp_path / "P")]) == 0  # it leaves its source as it is


def test_a_full_disk_is_told_before_the_work(tmp_path, capsys):
    with mounted(tmp_path / "disk", "size=64k") as disk:
        (disk / "ballast").write_bytes(bytes(60 << 10))
        with pytest.raises(OSError, match="No space left"):
            check_folder(disk / "F")
        assert not list((disk / "F").iterdir())


def without_privileges() -> tuple[str, ...]:
    """Return what starts a program that may not read everything, as root may."""
    if os.getuid():
        return ()
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv, and root may read everything")
    sets = "-dac_override,-dac_read_search,-fowner"
    return ("setpriv", f"--inh-caps={sets}", f"--bounding-set={sets}")


@pytest.mark.parametrize("make", [make_new, make_old, make_committed])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_files_of_another_user_are_named_and_stay(kind, make, tmp_path):
    before, folder = without_privileges(), tmp_path / "F"
    make(folder, bundled()[:3])
    whole = tree(folder)
    [first, *_] = sorted(folder.rglob(shard_file("digits", 12, 0)))
    closed = first if kind == "file" else first.parent
    mode = stat.S_IMODE(closed.stat().st_mode)
    closed.chmod(0)
    if not os.getuid():
        os.chown(closed, 65534, 65534)
    asked = ["--out", str(folder), "--cells", "3,8,12", "--seeds", "0"]
    commands = [["collect", str(folder), "--out", str(tmp_path / "R")], ["compact", str(folder)]]
    commands += [["info", "--release", str(folder)], ["verify", str(folder)], ["repair", str(folder)]]
    if kind == "folder":  # else names are enough
        commands += [["status", *asked], ["submit", "--dry-run", *asked, "--max-array-size", "9"]]
    for command in commands:
        done = shell("-q", *command, before=before)
        assert done.returncode == 2, (command, done.stdout)
        assert done.stderr.count("\n") == 1, done.stderr
        assert str(closed) in done.stderr, done.stderr
        assert "Permission denied" in done.stderr
    closed.chmod(mode)
    assert tree(folder) == whole


def test_a_folder_of_claims_that_is_another_users_is_told_before_the_work(tmp_path):
    before = without_privileges()
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims").chmod(0o555)
    if not os.getuid():
        os.chown(tmp_path / "claims", 65534, 65534)
    done = shell("train", "--index", "9930", "--out", str(tmp_path), before=before)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "claims" in done.stderr


def test_a_second_quarantine_stays_beside_the_first(tmp_path):
    aside = []
    for content in (b"first", b"second", b"third"):
        make_new(tmp_path, bundled()[:1])
        run_path(tmp_path, FIRST).write_bytes(content)
        aside.append(quarantine(tmp_path, run_path(tmp_path, FIRST)))
    assert [path.read_bytes() for path in aside] == [b"first", b"second", b"third"]
    assert [path.name for path in aside] == [FIRST, f"{FIRST}.1", f"{FIRST}.2"]
    with pytest.raises(FileNotFoundError):  # another collector was faster
        quarantine(tmp_path, run_path(tmp_path, FIRST))


def test_quarantine_that_is_refused_is_one_sentence(tmp_path, monkeypatch):
    make_new(tmp_path, bundled()[:1])
    monkeypatch.setattr(os, "rename", failing(errno.EACCES))
    with pytest.raises(TableError, match="damaged, and cannot be moved"):
        quarantine(tmp_path, run_path(tmp_path, FIRST))
