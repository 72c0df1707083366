"""Downloads from servers that would never end, and homes that cannot hold them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Handler, Server, serving

from nasbench_robust.errors import DownloadError, InvalidValueError, MissingDataError
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE, cache, download, fetching, home
from nasbench_robust.registry import RELEASES
from nasbench_robust.releases.loading import fetch

CONTENT = b"content of a file" * 10
HASH = hashlib.sha256(CONTENT).hexdigest()


class Bad(Handler):
    """Answers as the first word of the path says."""

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.times.append(time.monotonic())
        getattr(self, self.path.split("/")[1])()

    def good(self) -> None:
        self.answer(200, CONTENT)

    def failing(self) -> None:
        self.answer(503)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.over.is_set():
            self.wfile.write(bytes(2**16))

    def slow(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.drip()

    def slow_headers(self) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
        self.drip()

    def drip(self) -> None:
        while not self.server.over.wait(0.02):
            self.wfile.write(b"x")

    def around(self) -> None:
        self.answer(302, headers={"Location": f"/around/{len(self.server.requests)}"})


@pytest.fixture
def site() -> Iterator[Server]:
    with serving(Server(Bad)) as server:
        server.over, server.times = threading.Event(), []
        yield server
        server.over.set()


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setattr(cache, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(fetching, "WINDOW_SECONDS", 0.3)
    return tmp_path / "home"


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("how", "size", "message", "requests"),
    [
        ("endless", len(CONTENT), f"longer than the {len(CONTENT)} bytes", 1),
        ("endless", None, "longer than the 2097152 bytes", 1),
        ("good", len(CONTENT) - 1, f"longer than the {len(CONTENT) - 1} bytes", 1),
        ("slow", None, "sends too slowly", 1),
        ("slow_headers", None, "sends too slowly", 1),
        ("around", None, "redirects more than 5 times", 6),
        ("failing", None, "the server answered 503", 3),
    ],
)
def test_a_download_without_end_or_of_a_byte_too_much_is_given_up(
    site, private_home, monkeypatch, how, size, message, requests
) -> None:
    monkeypatch.setattr(cache, "MOST_BYTES", 2**21)
    start = time.monotonic()
    with pytest.raises(DownloadError, match=message) as caught:
        download(f"{site.address}/{how}/file", HASH, "file", "a file", size)
    assert "nothing was kept" in str(caught.value)
    assert time.monotonic() - start < 20
    assert len(site.requests) == requests
    assert leftovers(private_home) == []


def test_the_pause_between_attempts_grows(site, monkeypatch) -> None:
    monkeypatch.setattr(cache, "PAUSE_SECONDS", 0.2)
    with pytest.raises(DownloadError):
        download(f"{site.address}/failing/file", HASH, "file", "a file")
    first, second = (later - earlier for earlier, later in zip(site.times, site.times[1:], strict=False))
    assert first >= 0.2
    assert second >= 0.4


def test_leftovers_of_killed_downloads_go_and_those_under_way_stay(site, private_home) -> None:
    import fcntl

    folder = private_home / "downloads"
    folder.mkdir(parents=True)
    for name in (".old.1-2.tmp", "tmpabc", ".other.3-4.tmp"):
        (folder / name).write_bytes(b"x")
    with open(folder / ".other.3-4.tmp", "rb") as under_way:
        fcntl.flock(under_way, fcntl.LOCK_EX)
        download(f"{site.address}/good/file", HASH, "file", "a file", len(CONTENT))
        assert {path.name for path in folder.iterdir()} == {"file", ".other.3-4.tmp"}


def test_every_release_knows_its_size() -> None:
    assert all(release.size for release in RELEASES.values())


# ---------------------------------------------------------------------- homes


def test_a_home_that_cannot_be_written_is_one_sentence(made_up_file, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file" / "home"))
    release = RELEASES["nas-robbench-201"]
    hash_ = hashlib.sha256(made_up_file.read_bytes()).hexdigest()
    copy = type(release)("made-up", "http://127.0.0.1:9/x", hash_, "page")
    with pytest.raises(MissingDataError, match=rf"could not be stored.*{HOME_VARIABLE}"):
        fetch(copy, path=made_up_file)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(MissingDataError, match=rf"{HOME_VARIABLE} names .*/file, a file; let it name a folder"):
        fetch(copy, path=made_up_file)


@pytest.mark.parametrize("name", ["~nosuchuser", "a\0b"])
def test_a_home_that_is_none_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {**os.environ, HOME_VARIABLE: name})
    with pytest.raises(InvalidValueError, match=HOME_VARIABLE):
        home()


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    program = (
        "import pwd\ndef nobody(_): raise KeyError\npwd.getpwuid = nobody\n"
        "from nasbench_robust.cli import main\nraise SystemExit(main(['download']))"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", HOME_VARIABLE)}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"set {HOME_VARIABLE} to a folder" in done.stderr
