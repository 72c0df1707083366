"""The ways into `load`: by the name of a release, a file, a folder; and what is wrong with others."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import nasbench_robust as nbr
from nasbench_robust.errors import InvalidValueError, MissingDataError, UnknownNameError
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE, home
from nasbench_robust.registry import RELEASES
from nasbench_robust.releases import load
from nasbench_robust.table import write_table

QUESTION = (9930, "cifar10", "pgd_acc")


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


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
        ({"source": "nas-robbench"}, UnknownNameError, "'nas-robbench'; did you mean 'nas-robbench-201'"),
        ({"source": "standard"}, UnknownNameError, "did you mean 'standard-training'?"),
        ({"source": "nas-robbench", "path": "x"}, UnknownNameError, "did you mean 'nas-robbench-201'"),
        (
            {"source": "other", "url": "http://x/"},
            UnknownNameError,
            "known: digits, digits-1, nas-robbench-201, standard-training",
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
        ({"source": ""}, InvalidValueError, "source is '', expected the name of a release or the path of a table"),
        ({"path": ""}, InvalidValueError, "path is '', expected a path"),
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


def test_the_published_releases_load_from_a_local_copy(published_file, standard_file, published):
    assert load("nas-robbench-201", path=published_file).query(*QUESTION) == published.query(*QUESTION)
    standard = load("standard-training", path=standard_file)
    assert standard.lookup(9930, "cifar10", "pgd_acc").metric == "pgd_acc@1/255"
