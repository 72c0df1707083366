"""Downloads against a web server on this machine that misbehaves on request, and the ways into `load`."""

from __future__ import annotations

import hashlib
import json
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nasbench_robust as nbr
from nasbench_robust.errors import (
    DownloadError,
    InvalidValueError,
    MissingDataError,
    MissingPackageError,
    SourceFormatError,
    UnknownNameError,
)
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE, home
from nasbench_robust.registry import RELEASES, Release
from nasbench_robust.releases import importers, load
from nasbench_robust.releases.loading import fetch
from nasbench_robust.table import Benchmark, write_table

QUESTION = (9930, "cifar10", "pgd_acc")
FETCH = """
import sys
from nasbench_robust.registry import Release
from nasbench_robust.releases.loading import fetch
print(fetch(Release(*sys.argv[1:])))
"""
WAIT_SECONDS = 60


class Handler(BaseHTTPRequestHandler):
    """Asks the site how to answer the next request."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        answers = self.server.answers
        getattr(self, answers.pop(0) if answers else self.server.otherwise)()

    def start(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def good(self) -> None:
        self.start(200, len(self.server.content))
        self.wfile.write(self.server.content)

    def cut(self) -> None:
        self.start(200, len(self.server.content))
        self.wfile.write(self.server.content[: len(self.server.content) // 2])

    def short(self) -> None:  # as `cut`, and the length that is announced is that of the half
        half = self.server.content[: len(self.server.content) // 2]
        self.start(200, len(half))
        self.wfile.write(half)

    def wrong(self) -> None:
        self.start(200, 5)
        self.wfile.write(b"acc={")

    def absent(self) -> None:
        self.start(404, 0)

    def failing(self) -> None:
        self.start(500, 0)

    def moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/elsewhere/page.json")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def stalling(self) -> None:
        half = len(self.server.content) // 2
        self.start(200, len(self.server.content))
        self.wfile.write(self.server.content[:half])
        self.wfile.flush()
        self.server.stalled.release()
        self.server.go_on.wait(WAIT_SECONDS)
        self.wfile.write(self.server.content[half:])

    def log_message(self, *args: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """A web server on 127.0.0.1 that answers the next requests as `answers` says, all others as `otherwise` says."""

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler], content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.content = content
        self.requests: list[str] = []
        self.answers: list[str] = []
        self.otherwise = "good"
        self.stalled, self.go_on = threading.Semaphore(0), threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *args: object) -> None:
        pass  # a client that was killed


def served(site: Site) -> Iterator[Site]:
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    site.go_on.set()
    site.shutdown()
    site.server_close()
    thread.join(WAIT_SECONDS)


@pytest.fixture
def site(made_up_file: Path) -> Iterator[Site]:
    yield from served(Site(Handler, made_up_file.read_bytes()))


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
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ready_table(made_up_table: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    """Spare a test that is not about conversion the parsing of the page file."""
    table = pq.ParquetFile(made_up_table).read()
    monkeypatch.setitem(importers.IMPORTERS, "page", lambda path: table)
    return table


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def unfinished_in(folder: Path) -> list[Path]:
    return [path for path in files_in(folder) if path.name.startswith((".", "tmp")) or path.suffix == ".tmp"]


def the_download(folder: Path) -> Path:
    [path] = (folder / "downloads").iterdir()
    return path


def new_process(release: Release, **environment: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", FETCH, release.name, release.url, release.sha256, release.importer]
    return subprocess.Popen(
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
    output, errors = new_process(release).communicate(timeout=WAIT_SECONDS)
    assert (output, errors) == (f"{table}\n", "")
    assert site.requests == ["/page.json"]


def test_the_home_holds_the_download_the_tables_and_nothing_else(site, release, private_home, ready_table):
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
    processes = [new_process(release) for _ in range(2)]
    for _ in processes:
        assert site.stalled.acquire(timeout=WAIT_SECONDS)  # both are in the middle of the file
    site.go_on.set()
    outputs = {process.communicate(timeout=WAIT_SECONDS) for process in processes}
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
    process = new_process(release)
    assert site.stalled.acquire(timeout=WAIT_SECONDS)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=WAIT_SECONDS)
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
    with pytest.raises((MissingDataError, DownloadError)):
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


# ---------------------------------------------------------------------- load and its ways in


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


def test_load_takes_a_file_a_folder_of_runs_and_a_folder_of_shards(made_up_table, bench, tmp_path):
    release, sharded = tmp_path / "release", tmp_path / "sharded"
    release.mkdir()
    (release / "runs.parquet").symlink_to(made_up_table)
    (release / "cells.parquet").write_text("not looked at")
    table = pq.ParquetFile(made_up_table).read()
    for number in range(3):
        write_table(table.slice(number * 12_932, 12_932), sharded / "runs" / f"part-{number}.parquet")
    for source in (made_up_table, release, sharded, sharded / "runs"):
        for form in (source, str(source)):
            assert load(form).query(*QUESTION) == bench.query(*QUESTION)
        assert load(path=source).query(*QUESTION) == bench.query(*QUESTION)


def test_load_takes_the_name_of_a_folder_here(made_up_table, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "runs.parquet").symlink_to(made_up_table)
    monkeypatch.chdir(tmp_path)
    assert load("mine").name == "nas-robbench-201"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"source": "nas-robbench"},
            UnknownNameError,
            "'nas-robbench'; did you mean 'nas-robbench-201'",
        ),
        ({"source": "standard"}, UnknownNameError, "did you mean 'standard-training'?"),
        ({"source": "nas-robbench", "path": "x"}, UnknownNameError, "did you mean 'nas-robbench-201'"),
        (
            {"source": "other", "url": "http://x/"},
            UnknownNameError,
            "known: digits, nas-robbench-201, standard-training",
        ),
        ({"source": "folder/absent"}, MissingDataError, "no file or folder folder/absent; check the path"),
        ({"source": "absent.parquet"}, MissingDataError, "no file or folder absent.parquet"),
        ({"source": Path("absent")}, MissingDataError, "no file or folder absent"),
        ({"path": "absent"}, MissingDataError, "no file or folder absent"),
        ({"source": "digit"}, UnknownNameError, "did you mean 'digits'?"),
        ({"source": "digits", "path": "x"}, InvalidValueError, "path is 'x', expected None: digits is part of"),
        ({"source": "digits", "url": "http://x/"}, InvalidValueError, "url is 'http://x/', expected None: digits"),
        ({"url": "http://x/"}, InvalidValueError, "url is 'http://x/', expected None: digits is part of the package"),
        ({"source": 201}, InvalidValueError, "source is 201"),
    ],
)
def test_load_says_what_is_wrong_with_a_source(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        load(**arguments)


def test_the_package_offers_load():
    assert nbr.load is load


def test_the_home_is_the_platforms_cache_unless_a_variable_names_another(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(HOME_VARIABLE, "~/tables")
    assert home() == tmp_path / "tables"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(HOME_VARIABLE, "")
    assert home().name == "nasbench-robust"
    monkeypatch.delenv(HOME_VARIABLE)
    assert home().name == "nasbench-robust"
    assert tmp_path in home().parents
    assert list(tmp_path.iterdir()) == []  # asking creates nothing


def test_the_published_files_are_the_ones_that_are_registered(published_file, standard_file):
    for name, path in (("nas-robbench-201", published_file), ("standard-training", standard_file)):
        assert RELEASES[name].filename == path.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == RELEASES[name].sha256


def test_the_published_releases_load_from_a_local_copy(published_file, standard_file, published, monkeypatch):
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    assert load("nas-robbench-201", path=published_file).query(*QUESTION) == published.query(*QUESTION)
    standard = load("standard-training", path=standard_file)
    assert standard.lookup(9930, "cifar10", "pgd_acc").metric == "pgd_acc@1/255"


# ---------------------------------------------------------------------- the hub

COMMITS = ["a" * 40, "b" * 40]
LOAD_ALL = """
import json, sys
import nasbench_robust as nbr
from nasbench_robust.errors import NasbenchRobustError
for source in sys.argv[1:]:
    try:
        answer = nbr.load(source).version
    except NasbenchRobustError as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer))
"""


class HubHandler(BaseHTTPRequestHandler):
    """The part of the hub's interface that a download of one file needs; branch main is the last of `server.tables`."""

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        asked = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if asked is None or asked[1] != "owner/name":
            return self.refuse("RepoNotFound")
        commit = list(self.server.tables)[-1] if asked[2] == "main" else asked[2]
        if commit not in self.server.tables:
            return self.refuse("RevisionNotFound")
        if asked[3] != "runs.parquet":
            return self.refuse("EntryNotFound")
        content = self.server.tables[commit]
        self.answer(200, len(content), {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
        if self.command == "GET":
            self.wfile.write(content)
        return None

    do_HEAD = do_GET  # noqa: N815

    def refuse(self, code: str) -> None:
        self.answer(404, 0, {"X-Error-Code": code, "X-Error-Message": f"{code} here"})

    def answer(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length), "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def versions(made_up_table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two commits of a repository: a small part of the table, called versions 1 and 2."""
    table = pq.ParquetFile(made_up_table).read().slice(0, 100)
    contents = {}
    for number, commit in enumerate(COMMITS, 1):
        metadata = table.schema.metadata[b"nasbench_robust"].replace(b'"version": "1"', b'"version": "%d"' % number)
        path = tmp_path_factory.mktemp("hub") / "runs.parquet"
        write_table(table.replace_schema_metadata({b"nasbench_robust": metadata}), path)
        contents[commit] = path.read_bytes()
    return contents


@pytest.fixture
def hub(versions: dict[str, bytes]) -> Iterator[Site]:
    site = Site(HubHandler, b"")
    site.tables = dict(versions)
    yield from served(site)


@pytest.fixture
def load_in_a_new_process(hub, tmp_path):
    """Return a function that loads sources in a new process, since the hub's client reads its settings on import."""

    def run(*sources: str, **environment: str) -> list[str]:
        own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        command = [sys.executable, "-c", LOAD_ALL, *sources]
        done = subprocess.run(command, env={**inherited, **own}, capture_output=True, text=True, timeout=WAIT_SECONDS)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def downloads(hub: Site) -> list[str]:
    return [request for request in hub.requests if request.startswith("GET /datasets")]


def test_a_branch_on_the_hub_is_downloaded_once_and_again_when_it_has_moved(hub, load_in_a_new_process):
    newer = hub.tables.pop(COMMITS[1])
    assert load_in_a_new_process("hub:owner/name", "hub:owner/name@main") == ["1", "1"]
    assert len(downloads(hub)) == 1
    hub.tables[COMMITS[1]] = newer
    assert load_in_a_new_process("hub:owner/name") == ["2"]
    assert len(downloads(hub)) == 2


def test_a_commit_on_the_hub_is_asked_for_once(hub, load_in_a_new_process):
    source = f"hub:owner/name@{COMMITS[0]}"
    assert load_in_a_new_process(source) == ["1"]
    assert len(downloads(hub)) == 1
    hub.requests.clear()
    assert load_in_a_new_process(source, source) == ["1", "1"]
    assert hub.requests == []


def test_what_came_from_the_hub_works_offline_and_nothing_else_does(hub, load_in_a_new_process):
    load_in_a_new_process("hub:owner/name")
    hub.requests.clear()
    answers = load_in_a_new_process("hub:owner/name", "hub:owner/other", NASBENCH_ROBUST_OFFLINE="1")
    assert answers[0] == "2"
    assert answers[1].startswith("MissingDataError: hub:owner/other is not on this machine and NASBENCH_ROBUST_OFFLINE")
    assert hub.requests == []


def test_what_the_hub_does_not_have_is_a_download_error(load_in_a_new_process):
    sources = ["hub:owner/other", "hub:owner/name@no-such-branch", f"hub:owner/name@{'c' * 40}"]
    for source, answer in zip(sources, load_in_a_new_process(*sources), strict=True):
        assert answer.startswith(f"DownloadError: {source}: ")
        assert "404" in answer
        assert "\n" not in answer


def test_a_file_from_the_hub_that_is_no_table_is_a_table_error(hub, load_in_a_new_process):
    hub.tables = {COMMITS[0]: b"no table"}
    [answer] = load_in_a_new_process("hub:owner/name")
    assert answer.startswith("TableError: ")


@pytest.mark.parametrize(
    "source", ["hub:", "hub:name", "hub:owner/name/more", "hub:owner/name@", "hub:own er/name", "hub:owner/name@a b"]
)
def test_a_malformed_hub_name_is_refused(source):
    with pytest.raises(InvalidValueError, match=re.escape(f"source is {source!r}, expected hub:owner/name or hub:")):
        load(source)


@pytest.mark.parametrize("ending", ["", f"@{COMMITS[0]}"])
def test_a_name_that_only_the_hub_refuses_is_our_error_too(ending, monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with pytest.raises(nbr.errors.NasbenchRobustError, match="na--me"):
        load(f"hub:owner/na--me{ending}")


def test_without_the_hubs_client_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"'huggingface_hub' is needed.*pip install 'nasbench-robust\[hub\]'"):
        load("hub:owner/name")
