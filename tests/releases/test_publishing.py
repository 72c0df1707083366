"""Publishing a release and loading it back.

The other side is a small server on this machine that speaks the few requests of the hub's client that are needed here
(make a repository, ask how to send files, commit them inline, resolve files). It is not the real hub: large files,
which the real one takes by another way, are not tested.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from nasbench_robust.cells import connected, representatives
from nasbench_robust.cli import main
from nasbench_robust.errors import InvalidValueError, MissingDataError, MissingPackageError, RefusedError, UploadError
from nasbench_robust.files import OFFLINE_VARIABLE
from nasbench_robust.metrics import Metric, fgsm, pgd
from nasbench_robust.releases import publish, upload
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import (
    CURVES_SCHEMA,
    OUTCOMES_SCHEMA,
    Benchmark,
    DatasetInfo,
    Reader,
    ReleaseInfo,
    cells_table,
    read_table,
    runs_table,
    write_table,
)

WAIT_SECONDS = 120
IMAGES = 360
INDICES = sorted({int(index) for index in representatives()[15_000:15_040] if connected()[index]})
METRICS = (Metric("clean_acc"), Metric.of(fgsm(0.1)), Metric.of(pgd(0.1)))
INFO = ReleaseInfo(
    name="made-up",
    version="3",
    title='Made-up "digits": a | b',
    licence="CC BY 4.0",
    citation="@misc{made-up}",
    source="a test",
    datasets={"digits": DatasetInfo({"test": IMAGES}, 0.1, Skeleton.for_dataset("digits", channels=4))},
    metrics=METRICS,
    settings={"0123456789abcdef": {"epochs": 20}},
)


def rows() -> list[dict]:
    listed = []
    for number, index in enumerate(INDICES):
        for seed in (0, 1):
            row = {"dataset": "digits", "index": index, "seed": seed, "seeds": 1, "test_images": IMAGES}
            row |= {"settings": "0123456789abcdef", "device": "a | processor", "versions": "torch 1", "revision": "ab"}
            if (number, seed) == (0, 1):
                listed.append({**row, "failure": "the loss is nan"})
                continue
            for factor, metric in enumerate(METRICS):
                correct = 300 - number - seed - 20 * factor
                row |= {metric.count_column: correct, metric.column: correct / IMAGES}
            listed.append(row)
    return listed


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release as it is collected."""
    folder = tmp_path / "release"
    key = {"release": INFO.name, "dataset": "digits", "index": INDICES[1], "seed": 0}
    epoch = {"epoch": 1, "learning_rate": 0.1, "train_loss": 1.0, "train_acc": 0.5, "split": "test"}
    curve = [{**key, **epoch, "clean_acc": 0.5, "pgd_acc": 0.25}]
    write_table(pa.Table.from_pylist(curve, CURVES_SCHEMA), folder / "curves.parquet")
    outcome = [{**key, "metric": "clean_acc", "images": 8, "correct": b"\x07"}]
    write_table(pa.Table.from_pylist(outcome, OUTCOMES_SCHEMA), folder / "outcomes.parquet")
    write_table(cells_table(INFO), folder / "cells.parquet")
    write_table(runs_table(INFO, rows()), folder / "runs.parquet")
    return folder


def header(folder: Path) -> dict:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---------------------------------------------------------------------- the folder


def test_header_of_the_card_is_yaml_and_names_files_that_are_there(release: Path) -> None:
    published = publish(release, release.parent / "out")
    facts = header(published.folder)
    assert facts["license"] == "cc-by-4.0"
    assert facts["pretty_name"] == INFO.title
    assert facts["size_categories"] == ["n<1K"]
    assert "nas-bench-201" in facts["tags"]
    paths = {config["config_name"]: config["data_files"][0]["path"] for config in facts["configs"]}
    assert list(paths) == ["runs", "cells", "curves", "outcomes"]
    assert all((published.folder / path).is_file() for path in paths.values())


def test_card_says_what_the_release_says_about_itself(release: Path) -> None:
    text = (publish(release, repository="some/one").folder / "README.md").read_text()
    for part in (
        "test (360 images)",
        "| 0, 1 |",
        "| `pgd_acc@0.1` | `pgd_correct@0.1` | test |",
        "| Linf | 0.1 | 20 | 0.0125 | yes | 1 | - |",
        "the loss is nan",
        "a \\| processor",
        '"epochs": 20',
        'nasbench_robust.load("hub:some/one")',
        INFO.citation,
        f"| `digits` | 0 | {6466 - len(INDICES):,} |",
    ):
        assert part in text, part


def test_manifest_gives_hash_and_size_of_every_file(release: Path) -> None:
    published = publish(release)
    manifest = json.loads((release / "manifest.json").read_text())
    assert (manifest["name"], manifest["version"], manifest["format"]) == ("made-up", "3", 1)
    there = contents(release)
    assert set(there) == {*manifest["files"], "manifest.json"} == set(published.files)
    for name, facts in manifest["files"].items():
        assert facts == {"sha256": hashlib.sha256(there[name]).hexdigest(), "size": len(there[name])}


def test_same_release_gives_the_same_bytes(release: Path) -> None:
    first = contents(publish(release, release.parent / "one").folder)
    assert contents(publish(release, release.parent / "two").folder) == first
    assert contents(publish(release).folder) == first
    assert contents(publish(release).folder) == first  # over itself


def test_description_can_be_replaced(release: Path) -> None:
    changes = {"name": "other", "version": "4", "licence": "my own"}
    out = publish(release, release.parent / "out", **changes).folder
    again = publish(release, release.parent / "again", **changes).folder
    assert contents(again) == contents(out)
    info = Reader(out / "runs.parquet").info()
    assert (info.name, info.version, info.licence, info.metrics) == ("other", "4", "my own", METRICS)
    for table in ("runs", "curves", "outcomes"):
        assert set(read_table(out / f"{table}.parquet").column("release").to_pylist()) == {"other"}
    before, after = (read_table(folder / "runs.parquet").drop_columns("release") for folder in (release, out))
    assert before.to_pylist() == after.to_pylist()
    assert (header(out)["license"], header(out)["license_name"]) == ("other", "my-own")
    assert Reader(release / "runs.parquet").info() == INFO  # the source is as it was
    with pytest.raises(InvalidValueError, match="name is ' ', expected some text"):
        publish(release, name=" ")


def test_tables_that_are_not_there_are_not_named_and_cells_are_added(release: Path) -> None:
    for name in ("cells", "curves", "outcomes"):
        (release / f"{name}.parquet").unlink()
    assert publish(release).files == ("README.md", "runs.parquet", "cells.parquet", "manifest.json")
    assert [config["config_name"] for config in header(release)["configs"]] == ["runs", "cells"]
    (release / "runs.parquet").unlink()
    with pytest.raises(MissingDataError, match=r"no runs.parquet in"):
        publish(release)


def break_range(release: Path) -> str:
    wrong = [{**row, "clean_acc": 1.5} if row["index"] == INDICES[2] else row for row in rows()]
    write_table(runs_table(INFO, wrong), release / "runs.parquet")
    return "outside [0, 1]"


def break_curves(release: Path) -> str:
    table = read_table(release / "curves.parquet")
    table = table.set_column(2, CURVES_SCHEMA.field("index"), pa.array([3], pa.int32()))
    write_table(table.cast(CURVES_SCHEMA), release / "curves.parquet")
    return "curves.parquet has runs that runs.parquet has not"


def break_outcomes(release: Path) -> str:
    (release / "outcomes.parquet").write_bytes((release / "outcomes.parquet").read_bytes()[:-9])
    return "outcomes.parquet: not readable as Parquet"


def break_cells(release: Path) -> str:
    write_table(cells_table(INFO).slice(1), release / "cells.parquet")
    return "cells.parquet is not the table of cells"


@pytest.mark.parametrize("damage", [break_range, break_curves, break_outcomes, break_cells])
def test_errors_refuse_publication(release: Path, damage: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    message = damage(release)
    with pytest.raises(RefusedError, match=re.escape(message)):
        publish(release)
    assert main(["publish", str(release)]) == 1
    captured = capsys.readouterr()
    assert "error: " in captured.out
    assert message in captured.out
    assert "not published" in captured.err
    assert not (release / "manifest.json").exists()
    assert not (release / "README.md").exists()


def test_force_publishes_and_the_card_lists_the_errors(release: Path) -> None:
    break_range(release)
    assert main(["publish", str(release), "--force"]) == 0
    assert "error: range: digits/clean_acc" in (release / "README.md").read_text()


def test_a_readme_of_another_origin_is_not_replaced(release: Path) -> None:
    (release / "README.md").write_text("by hand")
    with pytest.raises(InvalidValueError, match=r"without a README.md of another origin"):
        publish(release)
    publish(release, force=True)
    publish(release)


def test_nothing_stays_beside_the_files_if_writing_fails(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(release)
    before = set(contents(release))
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert main(["publish", str(release)]) == 2
    assert set(contents(release)) == before - {"manifest.json"}


# ---------------------------------------------------------------------- the hub


class HubHandler(BaseHTTPRequestHandler):
    """The few requests that publishing and loading need; commits are kept in `server.commits`, in order."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server, path = self.server, self.path.partition("?")[0]
        server.requests.append(f"POST {path}")
        if self.headers.get("Authorization") != "Bearer hf_fake":
            return self.answer(401, b'{"error": "Invalid credentials"}', {"X-Error-Message": "Invalid credentials"})
        if path == "/api/repos/create":
            made = {"url": f"{server.address}/datasets/owner/name"}
            return self.answer(409 if server.commits else 200, json.dumps(made).encode())
        if path == "/api/validate-yaml":
            return self.answer(200, b'{"errors": [], "warnings": []}')
        if path == "/api/datasets/owner/name/preupload/main":
            files = [file["path"] for file in json.loads(content)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in files]
            return self.answer(200, json.dumps({"files": modes}).encode())
        if path == "/api/datasets/owner/name/commit/main":
            return self.commit([json.loads(line) for line in content.splitlines()])
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def commit(self, lines: list[dict]) -> None:
        files = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        oid = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.server.commits[oid] = files
        address = f"{self.server.address}/datasets/owner/name/commit/{oid}"
        self.answer(200, json.dumps({"commitUrl": address, "commitOid": oid}).encode())

    def do_GET(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        asked = re.fullmatch(r"/datasets/owner/name/resolve/([^/]+)/(.+)", self.path)
        if asked is None:
            return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        commit = list(self.server.commits)[-1] if asked[1] == "main" else asked[1]
        if commit not in self.server.commits:
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if asked[2] not in self.server.commits[commit]:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        content = self.server.commits[commit][asked[2]]
        return self.answer(200, content, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        always = {"Content-Length": str(len(content)), "Content-Type": "application/json", "Connection": "close"}
        for name, value in {**always, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    server.daemon_threads = True
    server.requests, server.commits = [], {}
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(hub: ThreadingHTTPServer, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python in a new process, since the hub's client reads its settings on import."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        own |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "hf_fake"}
        own |= {"NASBENCH_ROBUST_HOME": str(tmp_path / "home"), **environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        command = [sys.executable, *arguments]
        return subprocess.run(command, env={**inherited, **own}, capture_output=True, text=True, timeout=WAIT_SECONDS)

    return run


PUBLISH = ("-m", "nasbench_robust", "publish")
VALUES = """
import sys
import nasbench_robust
for source in sys.argv[1:]:
    try:
        bench = nasbench_robust.load(source)
        print(bench.frame(cells="all").to_csv(index=False))
    except nasbench_robust.errors.NasbenchRobustError as error:
        print(f"{type(error).__name__}: {error}")
"""


def test_what_is_published_can_be_loaded(release: Path, hub: ThreadingHTTPServer, run: Callable) -> None:
    done = run(*PUBLISH, str(release), "--repo", "owner/name", "--out", str(release.parent / "out"))
    assert done.returncode == 0, done.stderr
    [commit] = hub.commits
    assert done.stdout.splitlines()[-2:] == [f"commit {commit}", f'nasbench_robust.load("hub:owner/name@{commit}")']
    assert hub.commits[commit] == contents(release.parent / "out")
    expected = Benchmark(release / "runs.parquet").frame(cells="all").to_csv(index=False)
    hub.requests.clear()
    for source in (f"hub:owner/name@{commit}", "hub:owner/name"):
        assert run("-c", VALUES, source).stdout.strip() == expected.strip()
    assert [request for request in hub.requests if request.startswith("GET")] == [
        f"GET /datasets/owner/name/resolve/{commit}/{name}" for name in ("manifest.json", "runs.parquet")
    ]
    hub.requests.clear()
    assert run("-c", VALUES, f"hub:owner/name@{commit}").stdout.strip() == expected.strip()
    assert run("-c", VALUES, "hub:owner/name", **{OFFLINE_VARIABLE: "1"}).stdout.strip() == expected.strip()
    assert hub.requests == []


def test_a_second_version_goes_into_the_same_repository(release: Path, hub, run: Callable) -> None:
    for version in ("1", "2"):
        done = run(*PUBLISH, str(release), "--repo", "owner/name", "--release-version", version)
        assert done.returncode == 0, done.stderr
    assert [json.loads(files["manifest.json"])["version"] for files in hub.commits.values()] == ["1", "2"]


@pytest.mark.parametrize("damaged", ["runs.parquet", "manifest.json"])
def test_a_table_that_is_not_the_published_one_is_refused(release: Path, hub, run: Callable, damaged: str) -> None:
    assert run(*PUBLISH, str(release), "--repo", "owner/name").returncode == 0
    [(commit, files)] = hub.commits.items()
    good = files[damaged]
    table = read_table(release / "runs.parquet").slice(1)
    write_table(table, release.parent / "other.parquet")
    files[damaged] = (release.parent / "other.parquet").read_bytes() if damaged == "runs.parquet" else b"{}"
    source = f"hub:owner/name@{commit}"
    answers = run("-c", VALUES, source, source).stdout.splitlines()
    assert len(answers) == 2
    for answer in answers:
        assert answer.startswith(f"DownloadError: {source}: "), answer
        assert "SHA-256" in answer
        assert answer.endswith("; nothing was kept")
    files[damaged] = good
    assert run("-c", VALUES, source).stdout.startswith("dataset,index,")


def test_a_damaged_copy_in_the_cache_is_found_and_asked_for_again(release: Path, hub, run: Callable) -> None:
    assert run(*PUBLISH, str(release), "--repo", "owner/name").returncode == 0
    source = f"hub:owner/name@{next(iter(hub.commits))}"
    good = run("-c", VALUES, source).stdout
    [cached] = (release.parent / "home").rglob("snapshots/*/runs.parquet")
    cached.resolve().write_bytes(b"damaged")
    assert run("-c", VALUES, source).stdout.startswith("DownloadError: ")
    assert run("-c", VALUES, source).stdout == good


def test_a_repository_without_a_manifest_can_still_be_loaded(release: Path, hub, run: Callable) -> None:
    assert run(*PUBLISH, str(release), "--repo", "owner/name").returncode == 0
    [(commit, files)] = hub.commits.items()
    del files["manifest.json"]
    for source in (f"hub:owner/name@{commit}", "hub:owner/name"):
        assert run("-c", VALUES, source).stdout.startswith("dataset,index,")
    hub.requests.clear()
    assert run("-c", VALUES, f"hub:owner/name@{commit}").stdout.startswith("dataset,index,")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--repo", "owner/name"], {"HF_TOKEN": "hf_wrong"}, "owner/name: "),
        (["--repo", "owner/name"], {OFFLINE_VARIABLE: "1"}, f"owner/name: nothing is sent while {OFFLINE_VARIABLE} is"),
        (["--repo", "owner/name"], {"HF_ENDPOINT": "http://127.0.0.1:1"}, "owner/name: "),
        (["--repo", "name"], {}, "repository is 'name', expected owner/name"),
        (["--repo", "owner/name", "--licence", "unpublished"], {}, "licence is 'unpublished', expected the licence"),
    ],
)
def test_what_cannot_be_sent_is_one_sentence(release: Path, hub, run, arguments, environment, message) -> None:
    done = run(*PUBLISH, str(release), *arguments, **environment)
    assert done.returncode == 2
    assert done.stderr.startswith(f"nasbench-robust: {message}")
    assert done.stderr.count("\n") == 1
    assert hub.commits == {}


def test_without_the_hubs_client_the_error_says_what_to_install(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = publish(release)
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"'huggingface_hub' is needed.*nasbench-robust\[hub\]"):
        upload(published, "owner/name")
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    with pytest.raises(UploadError, match="nothing is sent"):
        upload(published, "owner/name")
