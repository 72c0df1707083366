"""The release that is part of the package: it is there, it is whole, and opening it touches nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nasbench_robust as nbr
from nasbench_robust import cells
from nasbench_robust.cli import main
from nasbench_robust.errors import InvalidValueError, MissingDataError, MissingResultError, TableError, UnknownNameError
from nasbench_robust.files import HOME_VARIABLE, MANIFEST, OFFLINE_VARIABLE, checksum, mismatch
from nasbench_robust.registry import BUNDLED, release_with
from nasbench_robust.releases import loading as releases
from nasbench_robust.releases import locate
from nasbench_robust.table import CURVES_SCHEMA, OUTCOMES_SCHEMA, Reader, may_lack, runs_schema

FOLDER = Path(nbr.__file__).parent / "data" / BUNDLED
TABLES = ("runs", "curves", "outcomes")
SEEDS = (0, 1, 2)
ARCH = 9930
KEY = ["dataset", "index", "seed"]
LARGEST = 15_000_000  # bytes of all tables: every installation carries them


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def digits() -> nbr.Benchmark:
    return nbr.load()


def keys(table: str, columns: list[str] = KEY) -> set[tuple]:
    rows = Reader(FOLDER / f"{table}.parquet").read(columns)
    return set(zip(*(column.to_pylist() for column in rows.columns), strict=True))


# ---------------------------------------------------------------------- the door


def test_load_without_a_name_opens_the_table_in_the_package(digits):
    assert locate() == locate(BUNDLED) == FOLDER / "runs.parquet"
    assert (digits.name, digits.datasets) == ("digits", ("digits",))
    assert nbr.load("digits").info == digits.info


def test_nothing_is_written_twice_and_only_the_file_that_is_opened_is_read(private_home, monkeypatch):
    nbr.load()  # unpacks it
    hashed = []
    monkeypatch.setattr("nasbench_robust.files.manifests.checksum", lambda path: hashed.append(path) or checksum(path))
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    assert 0 <= nbr.load().query(ARCH, metric="pgd_acc") <= 1
    assert {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()} == before
    assert hashed == [FOLDER / "runs.parquet"]
    assert not private_home.exists()


def test_the_version_names_the_state_and_a_changed_table_is_refused(digits, tmp_path):
    manifest = (FOLDER / MANIFEST).read_bytes()
    assert digits.version == f"{digits.info.version}+{hashlib.sha256(manifest).hexdigest()[:12]}"
    assert nbr.load("digits").lookup(ARCH, metric="pgd_acc").version == digits.version
    assert digits.version not in digits.cite()
    copied = tmp_path / "runs.parquet"
    copied.write_bytes((FOLDER / "runs.parquet").read_bytes())
    assert nbr.load(copied).version == digits.info.version
    (tmp_path / MANIFEST).write_bytes(manifest.replace(b'"sha256": "', b'"sha256": "0'))
    with pytest.raises(TableError, match="SHA-256"):
        nbr.load(copied)


def test_the_data_set_may_be_left_out(digits):
    value = digits.query(ARCH, metric="pgd_acc")
    assert (
        value
        == digits.query(ARCH, "digits", "pgd_acc@0.1")
        == digits.query(str(nbr.Cell.from_index(ARCH)), metric="pgd_acc")
    )
    assert digits.query_many([ARCH], metric="pgd_acc").tolist() == [value]
    assert digits.best(metric="clean_acc", k=1)["dataset"].tolist() == ["digits"]


def test_what_cannot_be_answered_says_what_would_be(digits):
    with pytest.raises(InvalidValueError, match=r"metric is '', expected one of clean_acc, fgsm_acc@0\.05, "):
        digits.query(ARCH)
    with pytest.raises(InvalidValueError, match="expected one of digits; did you mean metric='pgd_acc'"):
        digits.query(ARCH, "pgd_acc")
    with pytest.raises(MissingResultError, match=r"digits has no data set 'cifar10' \(available: digits\); ") as caught:
        digits.query(ARCH, "CIFAR-10", "pgd_acc")
    assert caught.value.hint == "nasbench_robust.load('nas-robbench-201') has it"


def test_a_release_of_natural_images_says_who_has_digits(bench):
    with pytest.raises(MissingResultError, match=r"no data set 'digits'.*; nasbench_robust\.load\('digits'\) has it"):
        bench.query(ARCH, "digits", "pgd_acc")


def test_the_first_release_with_a_data_set_is_named():
    assert release_with("cifar10") == release_with("ImageNet16-120") == "nas-robbench-201"
    assert release_with("digits") == "digits"
    assert release_with("cifar11") is None


def test_every_data_set_has_a_release():
    assert {name: release_with(name) for name in ("digits", "ImageNet16-120", "mnist")} == {
        "digits": "digits",
        "ImageNet16-120": "nas-robbench-201",
        "mnist": None,
    }


def test_a_package_without_the_table_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(releases, "_DATA", tmp_path)
    for source in (None, "digits"):
        with pytest.raises(MissingDataError, match=r"no table .*runs\.parquet; .*python generation/make_digits\.py"):
            nbr.load(source)


def test_the_first_version_is_opened_by_its_name_and_has_the_same_results(digits, capsys):
    first = nbr.load("digits-1")
    assert locate("digits-1") == FOLDER.with_name("digits-1") / "runs.parquet"
    assert (first.version, digits.version.partition("+")[0]) == ("1+b9d936a2+afd1bbb90ea6", "2")
    pd.testing.assert_frame_equal(first.frame(), digits.frame())
    for seed in SEEDS:
        for column in ("train_seconds", *(metric.column for metric in first.measured())):
            assert np.array_equal(first.values(metric=column, seed=seed), digits.values(metric=column, seed=seed))
    assert np.isnan(first.values(metric="train_cpu_seconds")).all()
    assert (digits.values(metric="train_cpu_seconds") > 0).all()
    assert main(["releases"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["digits-1", "part", "of", "the", "package", "digits"]
    with pytest.raises(InvalidValueError, match="digits-1 is part of the package"):
        nbr.load("digits-1", path=FOLDER)
    with pytest.raises(UnknownNameError, match="'digits-3'; did you mean 'digits-1'"):
        nbr.load("digits-3")


# ---------------------------------------------------------------------- the tables


def test_the_tables_are_those_of_the_format_and_small(digits):
    schemas = {"runs": runs_schema(digits.info), "curves": CURVES_SCHEMA, "outcomes": OUTCOMES_SCHEMA}
    for name in TABLES:
        found = pq.read_schema(FOLDER / f"{name}.parquet")
        encoded = found.get_field_index("dataset")  # strings, for any reader
        found = found.set(encoded, found.field(encoded).with_type(schemas[name].field("dataset").type))
        format_ = digits.info.format if name == "runs" else 1  # the others are as they were made first
        columns = [each for each in schemas[name] if not may_lack(each.name, format_)]
        expected = pa.schema(columns, schemas[name].metadata)
        assert found.equals(expected, check_metadata=name == "runs"), name
    assert sum((FOLDER / f"{name}.parquet").stat().st_size for name in TABLES) <= LARGEST


def test_the_files_are_those_of_the_manifest():
    assert {path.name for path in FOLDER.iterdir() if not path.name.endswith(".unpacked")} == {
        MANIFEST,
        "images.npz",
        "weights.npz",
        *(f"{name}.parquet" for name in TABLES),
    }
    assert [mismatch(FOLDER / MANIFEST, FOLDER / f"{name}.parquet") for name in TABLES] == [None] * 3


def test_every_representative_has_every_seed():
    runs = keys("runs")
    assert runs == {("digits", int(index), seed) for index in set(cells.representatives()) for seed in SEEDS}
    assert Reader(FOLDER / "runs.parquet").read(["index"]).num_rows == len(runs)


def test_every_run_has_its_curve_and_its_outcomes():
    failed = {key[:3] for key in keys("runs", [*KEY, "failure"]) if key[3] is not None}
    expected = keys("runs") - failed
    assert keys("curves") == keys("outcomes") == expected


def test_accuracies_are_the_counts_and_counts_the_outcomes(digits):
    runs = {tuple(row[name] for name in KEY): row for row in Reader(FOLDER / "runs.parquet").read().to_pylist()}
    named = {metric.column: metric for metric in digits.info.metrics}
    seen = 0
    for row in Reader(FOLDER / "outcomes.parquet").read().to_pylist():
        if row["metric"] not in named:
            continue  # after a part of an AutoAttack
        metric, run = named[row["metric"]], runs[tuple(row[name] for name in KEY)]
        assert row["images"] == digits.info.datasets["digits"].images[metric.split]
        correct = int.from_bytes(row["correct"], "little").bit_count()
        assert (correct, correct / row["images"]) == (run[metric.count_column], run[metric.column])
        seen += 1
    # Every accuracy that a run has, and there are some, has its outcomes.
    assert seen == sum(run[column] is not None for run in runs.values() for column in named) > 0


def test_validation_finds_no_error_but_in_the_order_of_attacks():
    """On 517 images an attack may win by a few images over a stronger one; everything else must be in order."""
    errors = [finding for finding in nbr.validate(locate()) if finding.severity == "error"]
    assert [str(error) for error in errors if error.kind != "order"] == []
