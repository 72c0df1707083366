"""Publishing a release and loading it back, from a server on this machine that stands for the hub."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from made_up_tables import counted
from servers import Hub

from nasbench_robust.cells import connected, representatives
from nasbench_robust.cli import main
from nasbench_robust.errors import (
    InvalidValueError,
    MissingDataError,
    MissingPackageError,
    NasbenchRobustError,
    RefusedError,
    UploadError,
)
from nasbench_robust.files import OFFLINE_VARIABLE
from nasbench_robust.metrics import Metric, fgsm, pgd
from nasbench_robust.releases import load, publish, upload
from nasbench_robust.skeletons import Skeleton
from nasbench_robust.table import (
    CURVES_SCHEMA,
    FORMAT,
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
            counts = {metric.column: 300 - number - seed - 20 * factor for factor, metric in enumerate(METRICS)}
            listed.append(row | counted(counts, {"test": IMAGES}))
    return listed


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release as it is collected."""
    folder = tmp_path_factory.mktemp("collected")
    key = {"release": INFO.name, "dataset": "digits", "index": INDICES[1], "seed": 0}
    epoch = {"epoch": 1, "learning_rate": 0.1, "train_loss": 1.0, "train_acc": 0.5, "split": "test"}
    curve = [{**key, **epoch, "clean_acc": 0.5, "pgd_acc": 0.25}]
    write_table(pa.Table.from_pylist(curve, CURVES_SCHEMA), folder / "curves.parquet")
    outcome = [{**key, "metric": "clean_acc", "images": 8, "correct": b"\x07"}]
    write_table(pa.Table.from_pylist(outcome, OUTCOMES_SCHEMA), folder / "outcomes.parquet")
    write_table(cells_table(INFO), folder / "cells.parquet")
    write_table(runs_table(INFO, rows()), folder / "runs.parquet")
    return folder


@pytest.fixture
def release(collected: Path, tmp_path: Path) -> Path:
    """One to be changed."""
    return shutil.copytree(collected, tmp_path / "release")


def header(folder: Path) -> dict:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# ---------------------------------------------------------------------- the folder


def test_header_of_the_card_is_yaml_and_names_files_that_are_there(release: Path) -> None:
    published = publish(release, release.parent / "out")
    facts = header(published.folder)
    assert facts["license"] == "cc-by-4.0"
    assert facts["pretty_name"] == INFO.title
    assert facts["size_categories"] == ["n<1K"]
    assert "nas-bench-201" in facts["tags"]
    paths = {config["config_name"]: config["data_files"][0]["path"] for config in facts["configs"]}
    assert list(paths) == ["table", "runs", "cells", "curves", "outcomes"]
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
    assert (manifest["name"], manifest["version"], manifest["format"]) == ("made-up", "3", FORMAT)
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
    with pytest.raises(InvalidValueError, match=r"name is 'a/b c', .* did you mean a-b-c"):
        publish(release, name="a/b c")


def test_tables_that_are_not_there_are_not_named_and_cells_are_added(release: Path) -> None:
    for name in ("cells", "curves", "outcomes"):
        (release / f"{name}.parquet").unlink()
    assert publish(release).files == ("README.md", "table.parquet", "runs.parquet", "cells.parquet", "manifest.json")
    assert [config["config_name"] for config in header(release)["configs"]] == ["table", "runs", "cells"]
    (release / "runs.parquet").unlink()  # a name; the file is in the commit
    assert "runs.parquet" in publish(release).files
    assert (release / "runs.parquet").exists()
    shutil.rmtree(release / "commits")
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


@pytest.mark.parametrize("fault", ["replace", "rename", "fsync"])
def test_the_old_files_stay_and_nothing_beside_them_if_writing_fails(release: Path, fault: str, monkeypatch) -> None:
    publish(release)
    before = contents(release)
    monkeypatch.setattr(os, fault, lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert main(["publish", str(release)]) == 2
    assert contents(release) == before
    assert not list(release.rglob("*.tmp"))
    monkeypatch.undo()
    assert main(["publish", str(release), "--release-version", "4"]) == 0
    assert json.loads((release / "manifest.json").read_text())["version"] == "4"
    assert load(release).info.version == "4"


# ---------------------------------------------------------------------- the hub

# What a new process says about sources.
LOAD = f"""
import json, sys
import nasbench_robust as nbr
for source in sys.argv[1:]:
    try:
        bench = nbr.load(source)
        values = (bench.query_many({INDICES}, metric=name).tolist() for name in ("clean_acc", "pgd_acc"))
        answer = [bench.version, *values]
    except nbr.errors.NasbenchRobustError as error:
        answer = f"{{type(error).__name__}}: {{error}}"
    print(json.dumps(answer))
"""
PUBLISH = ("-m", "nasbench_robust", "publish")
COMMITS = ["a" * 40, "b" * 40]


def answer_of(folder: Path) -> list:
    """Return what `LOAD` is to say about a release."""
    bench = Benchmark(folder / "runs.parquet")
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    assert bench.version == f"{bench.info.version}+{digest[:12]}"
    return [bench.version, *(bench.query_many(INDICES, metric=name).tolist() for name in ("clean_acc", "pgd_acc"))]


def test_what_is_published_can_be_loaded_and_published_again(release: Path, hub: Hub) -> None:
    done = hub.run(*PUBLISH, str(release), "--repo", "owner/name", "--out", str(release.parent / "out"))
    assert done.returncode == 0, done.stderr
    [first] = hub.commits
    assert done.stdout.splitlines()[-2:] == [f"commit {first}", f'nasbench_robust.load("hub:owner/name@{first}")']
    assert hub.commits[first] == contents(release.parent / "out")
    hub.requests.clear()
    expected, source = answer_of(release.parent / "out"), f"hub:owner/name@{first}"
    assert hub.answers(LOAD, source, "hub:owner/name") == [expected, expected]
    asked_for = [f"GET /datasets/owner/name/resolve/{first}/{name}" for name in ("manifest.json", "runs.parquet")]
    assert hub.downloads == asked_for  # the branch is at that commit
    hub.requests.clear()
    *known, absent = hub.answers(LOAD, source, "hub:owner/name", "hub:owner/other", **{OFFLINE_VARIABLE: "1"})
    assert known == [expected, expected]
    assert absent.startswith(f"MissingDataError: hub:owner/other is not on this machine and {OFFLINE_VARIABLE}")
    assert hub.answers(LOAD, source) == [expected]
    assert hub.requests == []  # a commit never changes

    done = hub.run(*PUBLISH, str(release), "--repo", "owner/name", "--release-version", "4")
    assert done.returncode == 0, done.stderr
    assert [json.loads(files["manifest.json"])["version"] for files in hub.commits.values()] == ["3", "4"]
    hub.requests.clear()
    assert hub.answers(LOAD, "hub:owner/name", source) == [answer_of(release), expected]
    assert len(hub.downloads) == 2


def test_what_the_hub_does_not_have_is_a_download_error_and_what_is_no_table_a_table_error(hub: Hub) -> None:
    hub.commits = {COMMITS[0]: {"runs.parquet": b"no table"}}
    sources = ["hub:owner/other", "hub:owner/name@no-such-branch", f"hub:owner/name@{COMMITS[1]}", "hub:owner/name"]
    *missing, broken = hub.answers(LOAD, *sources)
    for source, answer in zip(sources, missing, strict=False):
        assert answer.startswith(f"DownloadError: {source}: ")
        assert "404" in answer
        assert "\n" not in answer
    assert broken.startswith("TableError: ")


def test_a_table_that_is_not_the_published_one_is_refused(release: Path, hub: Hub) -> None:
    good = contents(publish(release).folder)
    write_table(read_table(release / "runs.parquet").slice(1), release.parent / "other.parquet")
    other = {"runs.parquet": (release.parent / "other.parquet").read_bytes(), "manifest.json": b"{}"}
    hub.commits = {commit: {**good, name: other[name]} for commit, name in zip(COMMITS, other, strict=True)}
    sources = [f"hub:owner/name@{commit}" for commit in COMMITS for _ in range(2)]
    for source, answer in zip(sources, hub.answers(LOAD, *sources), strict=True):
        assert answer.startswith(f"DownloadError: {source}: ")
        assert "SHA-256" in answer
        assert answer.endswith("; nothing was kept")
    hub.commits = dict.fromkeys(COMMITS, good)
    assert hub.answers(LOAD, *sources[1:3]) == [answer_of(release)] * 2


def test_a_damaged_copy_in_the_cache_is_found_and_asked_for_again(release: Path, hub: Hub) -> None:
    hub.commits = {COMMITS[0]: contents(publish(release).folder)}
    source = f"hub:owner/name@{COMMITS[0]}"
    assert hub.answers(LOAD, source) == [answer_of(release)]
    [cached] = (hub.folder / "home").rglob("snapshots/*/runs.parquet")
    cached.resolve().write_bytes(b"damaged")
    refused, again = hub.answers(LOAD, source, source)
    assert refused.startswith("DownloadError: ")
    assert again == answer_of(release)


def test_a_repository_without_a_manifest_can_still_be_loaded(release: Path, hub: Hub) -> None:
    files = contents(publish(release).folder)
    del files["manifest.json"]
    hub.commits = {COMMITS[0]: files}
    source, expected = f"hub:owner/name@{COMMITS[0]}", ["3", *answer_of(release)[1:]]
    assert hub.answers(LOAD, source, "hub:owner/name") == [expected] * 2
    hub.requests.clear()
    assert hub.answers(LOAD, source) == [expected]
    assert hub.requests == []


@pytest.mark.parametrize("environment", [{"HF_TOKEN": "hf_wrong"}, {"HF_ENDPOINT": "http://127.0.0.1:1"}])
def test_what_the_hub_does_not_take_is_one_sentence(release: Path, hub: Hub, environment: dict) -> None:
    done = hub.run(*PUBLISH, str(release), "--repo", "owner/name", **environment)
    assert done.returncode == 2
    assert done.stderr.startswith("nasbench-robust: owner/name: ")
    assert done.stderr.count("\n") == 1
    assert hub.commits == {}


def test_what_is_not_to_be_sent_is_known_before(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OFFLINE_VARIABLE, raising=False)
    with pytest.raises(InvalidValueError, match="repository is 'name', expected owner/name"):
        publish(release, repository="name")
    published = publish(release, licence="unpublished")
    with pytest.raises(InvalidValueError, match="licence is 'unpublished', expected the licence"):
        upload(published, "owner/name")
    published = publish(release, licence="CC0")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        MissingPackageError, match=r"'huggingface_hub' is needed.*pip install huggingface_hub .*'\.\[hub\]'"
    ):
        upload(published, "owner/name")
    with pytest.raises(
        MissingPackageError, match=r"'huggingface_hub' is needed.*pip install huggingface_hub .*'\.\[hub\]'"
    ):
        load("hub:owner/name")
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    with pytest.raises(UploadError, match=f"nothing is sent while {OFFLINE_VARIABLE} is set"):
        upload(published, "owner/name")


@pytest.mark.parametrize(
    "source", ["hub:", "hub:name", "hub:owner/name/more", "hub:owner/name@", "hub:own er/name", "hub:owner/name@a b"]
)
def test_a_malformed_hub_name_is_refused(source: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(f"source is {source!r}, expected hub:owner/name or hub:")):
        load(source)


@pytest.mark.parametrize("ending", ["", f"@{COMMITS[0]}"])
def test_a_name_that_only_the_hub_refuses_is_our_error_too(ending: str, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("NASBENCH_ROBUST_HOME", str(tmp_path))
    with pytest.raises(NasbenchRobustError, match="na--me"):
        load(f"hub:owner/na--me{ending}")
