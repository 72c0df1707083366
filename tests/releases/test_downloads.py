"""Downloads against a web server on this machine that misbehaves on request."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from processes import PATIENCE, started
from servers import Handler, Server, serving

from nasbench_robust.errors import DownloadError, MissingDataError, SourceFormatError
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE, cache
from nasbench_robust.registry import RELEASES, Release
from nasbench_robust.releases import importers, load
from nasbench_robust.releases.loading import fetch
from nasbench_robust.table import Benchmark

QUESTION = (9930, "cifar10", "pgd_acc")
FETCH = """
import sys
from nasbench_robust.registry import RELEASES, Release
from nasbench_robust.releases.loading import fetch
print(fetch(Release(*sys.argv[1:])))
"""
WAIT_SECONDS = 60


class Answers(Handler):
    """Answers the next requests as `answers` of the site says, all others as `otherwise` says."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answers = self.server.answers
        getattr(self, answers.pop(0) if answers else self.server.otherwise)()

    def half(self) -> bytes:
        return self.server.content[: len(self.server.content) // 2]

    def good(self) -> None:
        self.answer(200, self.server.content)

    def cut(self) -> None:
        self.answer(200, self.half(), {"Content-Length": str(len(self.server.content))})

    def short(self) -> None:  # as `cut`, and the length that is announced is that of the half
        self.answer(200, self.half())

    def wrong(self) -> None:
        self.answer(200, b"acc={")

    def absent(self) -> None:
        self.answer(404)

    def failing(self) -> None:
        self.answer(500)

    def moved(self) -> None:
        self.answer(302, headers={"Location": "/elsewhere/page.json"})

    def stalling(self) -> None:
        self.cut()
        self.wfile.flush()
        self.server.stalled.release()
        self.server.go_on.wait(WAIT_SECONDS)
        self.wfile.write(self.server.content[len(self.half()) :])


class Site(Server):
    def __init__(self, content: bytes) -> None:
        super().__init__(Answers)
        self.content, self.answers, self.otherwise = content, [], "good"
        self.stalled, self.go_on = threading.Semaphore(0), threading.Event()


@pytest.fixture
def site(made_up_file: Path) -> Iterator[Site]:
    with serving(Site(made_up_file.read_bytes())) as site:
        yield site
        site.go_on.set()


@pytest.fixture
def release(site: Site) -> Release:
    return Release("made-up", f"{site.address}/page.json", hashlib.sha256(site.content).hexdigest(), "page")


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing there: whoever asks a proxy fails
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
    monkeypatch.setattr(cache, "PAUSE_SECONDS", 0.01)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ready_table(made_up_table: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Spare a test that is not about conversion the parsing of the page file, and the writing of whole tables."""
    table = pq.read_table(made_up_table, filters=[("index", "<=", QUESTION[0]), ("index", ">", QUESTION[0] - 500)])
    monkeypatch.setitem(importers.IMPORTERS, "page", lambda path: table)
    monkeypatch.setattr("nasbench_robust.table.cells_table", lambda info: pa.table({"index": [0]}))
    return table


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def unfinished_in(folder: Path) -> list[Path]:
    return [path for path in files_in(folder) if path.name.startswith((".", "tmp")) or path.suffix == ".tmp"]


def the_download(folder: Path) -> Path:
    [path] = (folder / "downloads").iterdir()
    return path


def new_process(release: Release, **environment: str) -> AbstractContextManager[subprocess.Popen[str]]:
    arguments = [sys.executable, "-c", FETCH, release.name, release.url, release.sha256, release.importer]
    return started(
        arguments, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def closed_port() -> int:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        return other.getsockname()[1]


# ---------------------------------------------------------------------- downloads that succeed


def test_a_release_is_downloaded_once_and_then_works_offline_in_every_process(site, release, bench, monkeypatch):
    table = fetch(release)
    assert Benchmark(table).query(*QUESTION) == bench.query(*QUESTION)
    assert fetch(release) == table
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    assert fetch(release) == table
    with new_process(release) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    assert (output, errors) == (f"{table}\n", "")
    assert site.requests == ["/page.json"]


def test_the_home_holds_the_download_the_tables_and_nothing_else(site, release, private_home):
    table = fetch(release)
    assert the_download(private_home).read_bytes() == site.content
    assert {path.name for path in files_in(private_home) if path.suffix == ".parquet"} == {
        "runs.parquet",
        "cells.parquet",
    }
    assert unfinished_in(private_home) == []
    assert pq.ParquetFile(table.parent / "cells.parquet").metadata.num_rows == 15_625


@pytest.mark.parametrize("trouble", [["cut"], ["failing"], ["cut", "cut"], ["failing", "wrong"], ["short"]])
def test_a_broken_download_is_started_again(site, release, bench, ready_table, trouble):
    site.answers = list(trouble)
    assert Benchmark(fetch(release)).query(*QUESTION) == bench.query(*QUESTION)
    assert len(site.requests) == len(trouble) + 1


def test_a_redirect_is_followed(site, release, private_home, ready_table):
    site.answers = ["moved"]
    fetch(release)
    assert site.requests == ["/page.json", "/elsewhere/page.json"]
    assert the_download(private_home).read_bytes() == site.content


def test_another_address_of_the_same_file_will_do(site, release, ready_table):
    fetch(release, url=f"{site.address}/mirror/other-name.json")
    assert site.requests == ["/mirror/other-name.json"]


def test_two_processes_that_download_at_once_both_succeed(site, release, bench, private_home):
    site.answers = ["stalling", "stalling"]
    with new_process(release) as one, new_process(release) as other:
        for _ in range(2):
            assert site.stalled.acquire(timeout=PATIENCE)  # both are in the middle of the file
        site.go_on.set()
        outputs = {process.communicate(timeout=PATIENCE) for process in (one, other)}
    assert outputs == {(f"{fetch(release)}\n", "")}
    assert Benchmark(fetch(release)).query(*QUESTION) == bench.query(*QUESTION)
    assert the_download(private_home).read_bytes() == site.content
    assert unfinished_in(private_home) == []


# ---------------------------------------------------------------------- downloads that fail


@pytest.mark.parametrize(
    ("trouble", "message", "requests"),
    [
        ("cut", "the connection failed", 3),
        ("short", "its content does not have the SHA-256 {sha256}", 3),
        ("wrong", "its content does not have the SHA-256 {sha256}", 3),
        ("failing", "the server answered 500", 3),
        ("absent", "the server answered 404", 1),  # it will not be there in a second either
    ],
)
def test_a_download_that_never_succeeds_is_an_error_and_leaves_no_file(
    site, release, private_home, ready_table, trouble, message, requests
):
    site.otherwise = trouble
    with pytest.raises(DownloadError, match=re.escape(message.format(sha256=release.sha256))) as caught:
        fetch(release)
    assert caught.value.url == release.url
    assert "nothing was kept" in str(caught.value)
    assert len(site.requests) == requests
    assert files_in(private_home) == []
    site.otherwise = "good"
    assert fetch(release).exists()


def test_another_address_is_held_to_the_same_hash(site, release, private_home):
    other = Release(release.name, release.url, "0" * 64, release.importer)
    with pytest.raises(DownloadError, match=r"other\.json: its content does not have the SHA-256 0000"):
        fetch(other, url=f"{site.address}/other.json")
    assert files_in(private_home) == []


def test_nobody_at_the_address_is_an_error(release, private_home):
    with pytest.raises(DownloadError, match="the connection failed"):
        fetch(release, url=f"http://127.0.0.1:{closed_port()}/page.json")
    assert files_in(private_home) == []


@pytest.mark.parametrize("address", ["no address", "ftp://127.0.0.1/page.json", "http://"])
def test_an_address_that_is_none_is_an_error(release, private_home, address):
    with pytest.raises(DownloadError, match=f"^{address}: "):
        fetch(release, url=address)
    assert files_in(private_home) == []


def test_a_home_that_cannot_be_written_is_an_error(site, release, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file" / "home"))
    with pytest.raises(DownloadError, match="could not be stored in"):
        fetch(release)


def test_a_process_killed_in_the_middle_of_a_download_leaves_nothing_that_is_taken_for_the_file(
    site, release, bench, ready_table, monkeypatch
):
    site.answers = ["stalling"]
    with new_process(release) as process:
        assert site.stalled.acquire(timeout=PATIENCE)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    with pytest.raises(MissingDataError):
        fetch(release)
    monkeypatch.delenv(OFFLINE_VARIABLE)
    assert Benchmark(fetch(release)).query(*QUESTION) == bench.query(*QUESTION)
    assert site.requests == ["/page.json"] * 2


def test_a_published_file_of_another_format_leaves_no_table(site, private_home):
    site.content = b"acc={}"
    release = Release("made-up", f"{site.address}/page.json", hashlib.sha256(site.content).hexdigest(), "page")
    with pytest.raises(SourceFormatError):
        fetch(release)
    assert list(private_home.rglob("*.parquet")) == []


# ---------------------------------------------------------------------- damage in the cache


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def overwrite_values(path: Path) -> None:
    """Damage the values of one metric on every data set and leave the description of the file alone."""
    metadata = pq.ParquetFile(path).metadata
    column = metadata.schema.to_arrow_schema().get_field_index("pgd_acc@8/255")
    for group in range(metadata.num_row_groups):
        chunk = metadata.row_group(group).column(column)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        overwrite(path, start + chunk.total_compressed_size // 2, bytes(64))


DAMAGES = {
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut by a byte": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "another file": lambda path: path.write_text("no table"),
    "the footer": lambda path: overwrite(path, path.stat().st_size - 99, bytes(64)),
    "the data": overwrite_values,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_made_again_from_the_download(site, release, bench, ready_table, damage):
    table = fetch(release)
    DAMAGES[damage](table)
    again = Benchmark(fetch(release))
    for dataset in bench.datasets:
        assert again.query(9930, dataset, "pgd_acc") == bench.query(9930, dataset, "pgd_acc")
    assert site.requests == ["/page.json"]


DISAGREE = "and runs.sha256 beside it do not agree: one of them is damaged"
FAULTS = {
    "the table": (lambda table: table.write_text("no table"), DISAGREE),
    "its hash": (lambda table: table.with_suffix(".sha256").write_text("no hash"), DISAGREE),
    "no hash": (lambda table: table.with_suffix(".sha256").unlink(), "has no runs.sha256 beside it"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_table_is_said_and_nothing_announced_that_is_not_done(
    release, ready_table, private_home, monkeypatch, caplog, fault
):
    table = fetch(release)
    damage, said = FAULTS[fault]
    damage(table)
    downloaded = the_download(private_home).rename(private_home / "elsewhere")
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    caplog.clear()
    with pytest.raises(MissingDataError, match=rf"{table} {said}, and the published file of made-up is not on this"):
        fetch(release)
    assert caplog.text == ""
    (private_home / "downloads").mkdir(exist_ok=True)
    fetch(release, path=downloaded)
    assert f"{said}; converting the published file again" in caplog.text


def test_a_table_without_its_download_stays_usable(release, bench, ready_table, private_home, monkeypatch):
    fetch(release)
    shutil.rmtree(private_home / "downloads")
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    assert Benchmark(fetch(release)).query(*QUESTION) == bench.query(*QUESTION)


def test_a_download_without_its_table_is_converted_offline(site, release, bench, ready_table, monkeypatch, caplog):
    shutil.rmtree(fetch(release).parent)
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    caplog.clear()
    caplog.set_level(logging.INFO, logger="nasbench_robust")
    assert Benchmark(fetch(release)).query(*QUESTION) == bench.query(*QUESTION)
    assert len(site.requests) == 1
    assert "converting" in caplog.text
    assert "downloading" not in caplog.text


def test_a_damaged_download_is_downloaded_again(site, release, private_home, ready_table):
    shutil.rmtree(fetch(release).parent)
    the_download(private_home).write_text("acc={")
    fetch(release)
    assert len(site.requests) == 2
    assert the_download(private_home).read_bytes() == site.content


# ---------------------------------------------------------------------- without the network


@pytest.mark.parametrize("value", ["1", "true", "yes", " 1 "])
def test_offline_nothing_is_asked_for(site, release, monkeypatch, value):
    monkeypatch.setenv(OFFLINE_VARIABLE, value)
    with pytest.raises(MissingDataError, match=rf"made-up is not on this machine.*copy of {re.escape(release.url)}"):
        fetch(release)
    assert site.requests == []


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_what_says_no_is_not_offline(site, release, ready_table, monkeypatch, value):
    monkeypatch.setenv(OFFLINE_VARIABLE, value)
    assert fetch(release).exists()


def test_offline_a_damaged_download_is_an_error_and_nothing_is_asked_for(
    site, release, private_home, ready_table, monkeypatch
):
    shutil.rmtree(fetch(release).parent)
    the_download(private_home).write_text("acc={")
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    with pytest.raises(MissingDataError, match=rf"downloads/.*page.json is damaged and {OFFLINE_VARIABLE} is set"):
        fetch(release)
    assert len(site.requests) == 1


def test_a_local_copy_takes_the_place_of_the_download(site, release, made_up_file, bench, ready_table, monkeypatch):
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    assert Benchmark(fetch(release, path=made_up_file)).query(*QUESTION) == bench.query(*QUESTION)
    assert Benchmark(fetch(release)).query(*QUESTION) == bench.query(*QUESTION)  # the copy is not needed any more
    assert site.requests == []


def test_a_local_copy_is_converted_once(release, made_up_file, ready_table):
    table = fetch(release, path=made_up_file)
    first = table.stat()
    assert fetch(release, path=str(made_up_file)) == table
    assert (table.stat().st_ino, table.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)


def test_a_local_copy_with_other_content_is_an_error_that_names_both_hashes(release, tmp_path, private_home):
    copy = tmp_path / "copy.json"
    copy.write_text("acc={}")
    with pytest.raises(DownloadError) as caught:
        fetch(release, path=copy)
    assert hashlib.sha256(b"acc={}").hexdigest() in str(caught.value)
    assert release.sha256 in str(caught.value)
    assert f"nasbench-robust import page {copy}" in str(caught.value)
    assert files_in(private_home) == []


def test_a_local_copy_that_is_not_there_is_an_error(release, tmp_path):
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(MissingDataError, match=rf"cannot read {path} "):
            fetch(release, path=path)


# ---------------------------------------------------------------------- by the name of a release


def test_load_takes_the_name_of_a_release_with_a_copy_or_an_address(site, release, bench, made_up_file, monkeypatch):
    monkeypatch.setitem(RELEASES, "made-up", release)
    for arguments in ({}, {"path": made_up_file}, {"url": f"{site.address}/other.json"}):
        assert load("made-up", **arguments).query(*QUESTION) == bench.query(*QUESTION)
    assert site.requests == ["/page.json"]


def test_load_says_what_it_downloads_and_a_later_load_says_nothing(site, release, ready_table, monkeypatch, caplog):
    monkeypatch.setitem(RELEASES, "made-up", release)
    caplog.set_level(logging.INFO, logger="nasbench_robust")
    load("made-up")
    assert f"downloading {release.url} (attempt 1 of 3)" in caplog.text
    caplog.clear()
    load("made-up")
    assert caplog.text == ""
