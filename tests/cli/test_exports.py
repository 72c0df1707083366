"""What a table is written as follows from the name of the file, or is refused; a cell that is typed is one cell."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma

import pandas as pd
import pytest

import nasbench_robust as nbr
from nasbench_robust.cli import main
from nasbench_robust.cli.tables import _csv

READERS = {
    "csv": lambda data: pd.read_csv(pd.io.common.BytesIO(data)),
    "json": lambda data: pd.DataFrame(json.loads(data)),
    "parquet": lambda data: pd.read_parquet(pd.io.common.BytesIO(data)),
}
OPENERS = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


@pytest.mark.parametrize("compression", OPENERS)
@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_known_endings_are_honoured(tmp_path, capsys, form, compression, case):
    out = tmp_path / case(f"v1.2.{form}{compression}")
    code = main(["export", "--metrics", "pgd_acc", "--out", str(out)])
    if form == "parquet" and compression:
        assert code == 2
        assert "--out is" in capsys.readouterr().err
        return
    assert code == 0
    frame = READERS[form](OPENERS[compression](out.read_bytes()))
    assert frame["pgd_acc"].tolist() == nbr.load().frame(metrics=["pgd_acc"])["pgd_acc"].tolist()
    assert frame["index"].tolist() == nbr.load().frame()["index"].tolist()


@pytest.mark.parametrize(
    "ending", [".xlsx", ".feather", ".txt", ".h5", ".csv.zip", ".gz", ".csv.tmp", ".arrow", ".tsv"]
)
def test_unknown_endings_are_refused(tmp_path, capsys, ending):
    out = tmp_path / f"table{ending}"
    assert main(["export", "--out", str(out)]) == (0 if ending == ".gz" else 2)
    assert out.exists() == (ending == ".gz")  # of csv, as wherever nothing else is said
    if ending != ".gz":
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "expected a name that ends in .csv or .parquet or .json or .csv.gz or" in error


@pytest.mark.parametrize(("form", "ending"), [("csv", ".json"), ("json", ".parquet"), ("parquet", ".csv.gz")])
def test_a_format_and_an_ending_that_contradict_each_other_are_refused(tmp_path, capsys, form, ending):
    out = tmp_path / f"table{ending}"
    assert main(["export", "--format", form, "--out", str(out)]) == 2
    assert not out.exists()
    endings = {"csv": ".csv or .csv.gz or .csv.bz2 or .csv.xz", "parquet": ".parquet"}.get(form, ".json or .json.gz or")
    error = capsys.readouterr().err
    assert f"expected a name that ends in {endings}" in error
    assert error.endswith("as --format says\n")


def test_compressed_exports_are_equal_bytes(tmp_path):
    for name in ("one.csv.gz", "other.csv.gz"):
        assert main(["export", "--metrics", "clean_acc", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "other.csv.gz").read_bytes()
    assert (tmp_path / "one.csv.gz").read_bytes()[4:8] == bytes(4)  # where gzip puts the time


COMMANDS = {
    "query": ["query", "014444", "-m", "pgd_acc"],
    "train": ["train", "--index", "014444", "--out", "{out}"],
    "run": ["run", "--cells", "014444", "--out", "{out}"],
    "run, in a range": ["run", "--cells", "0-014444", "--out", "{out}"],
    "submit": ["submit", "--cells", "3,014444", "--out", "{out}"],
    "score": ["score", "--cells", "014444", "--out", "{out}"],
    "genotype": ["genotype", "--genotype", "014444", "--out", "{out}"],
    "genotype, two": ["genotype", "--genotype", "9930,014444", "--out", "{out}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_opcodes_are_no_index_in_any_command(tmp_path, capsys, command):
    arguments = [word.format(out=tmp_path / "out") for word in COMMANDS[command]]
    try:
        code = main(arguments)
    except SystemExit as ended:  # argparse ends the process itself
        code = ended.code
    assert code == 2
    error = capsys.readouterr().err
    assert "does not begin with 0; did you mean 14444?" in error
    assert "As opcodes it is |none~0|+|skip_connect~0|avg_pool_3x3~1|" in error


def test_best_can_name_the_smallest_members(capsys):
    assert main(["best", "-m", "pgd_acc", "-k", "3", "--cells", "smallest", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = nbr.load().best(metric="pgd_acc", k=3, cells="smallest")
    assert [row["index"] for row in rows] == expected.index.tolist()


def test_a_split_that_the_metric_contradicts_is_refused(capsys):
    assert main(["query", "9930", "-m", "pgd_acc#test", "--split", "validation"]) == 2
    assert "split is 'validation', expected the one in 'pgd_acc#test'" in capsys.readouterr().err
    assert main(["query", "9930", "-m", "pgd_acc#validation"]) == 0
    assert float(capsys.readouterr().out) == nbr.load().query(9930, metric="pgd_acc", split="validation")


def test_csv_is_what_the_standard_library_reads():
    columns = {
        "a,b": ["x", "y,z", None],
        'quoted "name"': ["plain", '"', "line\nbreak\r"],
        "number": [0.1, 1e-07, 1.0],
        "flag": [True, False, True],
    }
    text = _csv(columns)
    assert text.splitlines()[1] == "x,plain,0.1,True"
    expected = [list(columns), ["x", "plain", "0.1", "True"], ["y,z", '"', "1e-07", "False"]]
    assert list(csv.reader(io.StringIO(text, newline=""))) == [*expected, ["", "line\nbreak\r", "1.0", "True"]]
