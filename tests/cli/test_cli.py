"""The command line: what it prints, what it writes, how it fails."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_up_tables import SMALL
from made_up_tables import run as made_up_run
from processes import started

import nasbench_robust
from nasbench_robust.cells import Cell
from nasbench_robust.cli import commands, main
from nasbench_robust.cli.tables import _aligned
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE
from nasbench_robust.registry import RELEASES, Release
from nasbench_robust.releases import locate
from nasbench_robust.table import runs_table, write_table

PROGRAM = [sys.executable, "-m", "nasbench_robust"]
ARCH = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"  # 9930
METRICS = ["clean_acc", "fgsm_acc@3/255", "pgd_acc@3/255", "fgsm_acc@8/255", "pgd_acc@8/255", "autoattack_acc@8/255"]


@pytest.fixture(autouse=True)
def nothing_but_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")


@pytest.fixture
def table(made_up_table: Path) -> list[str]:
    return ["--release", str(made_up_table)]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Return a function that runs a command in this process and returns its exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def error_of(result: tuple[int, str, str]) -> str:
    """Return the one line that a wrong input gets."""
    code, output, errors = result
    assert (code, output) == (2, "")
    assert errors.endswith("\n")
    assert errors.count("\n") == 1
    assert errors.startswith("nasbench-robust: ")
    return errors


# ---------------------------------------------------------------------- the program


def test_help_lists_the_commands():
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for command in commands():
        assert f"\n    {command.name} " in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"nasbench-robust {nasbench_robust.__version__}\n"


def test_a_real_process_answers_on_stdout_alone(made_up_table, bench):
    arguments = ["query", "9930", "-r", str(made_up_table), "-d", "cifar10", "-m", "pgd_acc"]
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) == bench.query(9930, "cifar10", "pgd_acc")


@pytest.mark.parametrize("command", ["export", "info"])
def test_a_reader_that_has_seen_enough_is_no_error(made_up_table, command):
    arguments = [*PROGRAM, command, "-r", str(made_up_table)]
    with started(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")


# ---------------------------------------------------------------------- query, best, info


@pytest.mark.parametrize("arch", ["9930", " 9930 ", ARCH])
def test_query_takes_an_index_or_a_string_and_prints_every_digit(run, table, bench, arch):
    code, output, errors = run("query", arch, *table, "--dataset", "CIFAR-10", "--metric", "pgd_acc")
    assert (code, errors) == (0, "")
    assert output == f"{bench.query(9930, 'cifar10', 'pgd_acc')!r}\n"


@pytest.mark.parametrize("asked", [["-m", "pgd_acc", "--eps", "3/255"], ["-m", "pgd_acc@3/255"]])
def test_query_takes_a_budget(run, table, bench, asked):
    _, output, _ = run("query", "9930", *table, "-d", "cifar100", *asked)
    assert float(output) == bench.query(9930, "cifar100", "pgd_acc@3/255")


def test_query_json_holds_all_of_lookup(run, table, bench):
    _, output, _ = run("query", ARCH, *table, "-d", "imagenet", "-m", "pgd_acc", "--json")
    found, expected = json.loads(output), bench.lookup(ARCH, "imagenet", "pgd_acc")
    attack = found.pop("attack")
    assert {name: getattr(expected, name) for name in found} == found
    assert {name: getattr(expected.attack, name) for name in attack} == attack
    assert {"value", "std", "seeds", "index", "representative", "split", "test_images", "release"} <= set(found)


WRONG_CELLS = {
    "negative index": ("-1", "0..15624; the nearest is 0 (given -1)"),
    "decimal index": ("1.5", "given '1.5'"),
    "two signs": ("--5", "'--5'"),
    "five thousand digits": ("9" * 5_000, "99"),
    "malformed string": ("|none~0|", "expected 3 nodes"),
}


@pytest.mark.parametrize(("arch", "text"), WRONG_CELLS.values(), ids=WRONG_CELLS)
def test_what_is_no_cell_gets_one_line(run, table, arch, text):
    assert text in error_of(run("query", *table, "-d", "cifar10", "-m", "pgd_acc", "--", arch))


def test_query_hands_on_split_and_seed(run, table):
    question = ("query", "9930", *table, "-d", "cifar10", "-m", "pgd_acc")
    assert "on the validation split" in error_of(run(*question, "--split", "validation"))
    assert "no seed 1" in error_of(run(*question, "--seed", "1"))


def test_without_a_release_the_bundled_one_answers(run, tmp_path):
    expected = nasbench_robust.load().query(9930, metric="pgd_acc")
    assert run("query", "9930", "--metric", "pgd_acc") == (0, f"{expected!r}\n", "")
    assert run("query", "9930", "-d", "digits", "-m", "pgd_acc") == (0, f"{expected!r}\n", "")
    for command in (["info"], ["best", "-m", "pgd_acc"], ["export", "-m", "pgd_acc"], ["validate", "digits"]):
        code, output, errors = run(*command)
        assert output
        assert (code == 0 or command[0] == "validate", errors) == (True, "")
    assert "nasbench_robust.load('nas-robbench-201') has it" in error_of(
        run("query", "3", "-d", "cifar10", "-m", "pgd_acc")
    )
    assert not (tmp_path / "home").exists()


def test_best_lists_the_best_cells(run, table, bench):
    code, output, _ = run("best", *table, "-d", "cifar10", "-m", "pgd_acc", "-k", "4", "--eps", "3/255")
    expected = bench.best("cifar10", "pgd_acc@3/255", 4)
    lines = output.splitlines()
    assert code == 0
    assert lines[0].split() == ["index", "pgd_acc@3/255", "parameters", "arch"]
    assert [int(line.split()[0]) for line in lines[1:]] == expected["index"].tolist()
    assert [line.split()[-1] for line in lines[1:]] == expected["arch"].tolist()


@pytest.mark.parametrize("values", [[0.5, 0.25], [1.0, 0.0], [0.123456789, 0.1], [0.1]])
def test_cells_are_printed_as_a_data_frame_prints_itself(values):
    columns = {"index": [7, 15_624], "clean_acc": values, "parameters": [1, 1_000_000], "arch": ["|a~0|", "|longer~0|"]}
    columns = {name: column[: len(values)] for name, column in columns.items()}
    assert _aligned(columns) == pd.DataFrame(columns).to_string(index=False)


def test_no_cells_are_printed_as_a_heading():
    assert _aligned({"index": [], "clean_acc": [], "arch": []}) == " index  clean_acc arch"


def test_best_hands_on_the_split(run, table):
    question = ("best", *table, "-d", "cifar10", "-m", "pgd_acc", "--split", "validation")
    assert "on the validation split" in error_of(run(*question))


def test_best_json_holds_every_digit(run, table, bench):
    _, output, _ = run("best", *table, "-d", "cifar10", "-m", "pgd_acc", "-k", "50", "--json")
    assert json.loads(output) == bench.best("cifar10", "pgd_acc", 50).to_dict(orient="records")


def test_info_says_what_a_release_is_and_what_was_measured(run, table, bench):
    code, output, _ = run("info", *table)
    assert code == 0
    assert output.startswith(f"{bench.info.title}\nrelease nas-robbench-201, version 1, CC BY-SA 4.0\n")
    assert bench.info.source in output
    assert bench.cite() in output
    for dataset in bench.datasets:
        for metric in METRICS:
            assert any(line.split()[:2] == [dataset, metric] for line in output.splitlines())


def test_info_json_holds_the_metrics_with_every_digit(run, table, bench):
    _, output, _ = run("info", *table, "--json")
    found, listed = json.loads(output), bench.metrics()
    assert (found["name"], found["version"], found["citation"]) == (bench.name, bench.version, bench.cite())
    assert [(row["dataset"], row["long_name"]) for row in found["metrics"]] == list(
        zip(listed["dataset"], listed["long_name"], strict=True)
    )
    assert [row["eps"] for row in found["metrics"][:6]] == [None, 3 / 255, 3 / 255, 8 / 255, 8 / 255, 8 / 255]
    assert [row["steps"] for row in found["metrics"][:6]] == [None, 1, 20, 1, 20, 10]


# ---------------------------------------------------------------------- export


def test_export_writes_csv_to_stdout_with_every_digit(run, table, bench):
    code, output, _ = run("export", *table, "--dataset", "cifar10", "--metrics", "clean_acc,pgd_acc@3/255")
    assert code == 0
    rows = list(csv.DictReader(output.splitlines()))
    frame = bench.frame("cifar10", ["clean_acc", "pgd_acc@3/255"])
    assert list(rows[0]) == frame.columns.tolist()
    for column in ("clean_acc", "pgd_acc@3/255", "parameters", "index"):
        assert [frame[column].dtype.type(row[column]) for row in rows] == frame[column].tolist()
    assert [row["arch"] for row in rows] == frame["arch"].tolist()


def read_export(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path, converters=dict.fromkeys(METRICS, lambda text: float(text or "nan")))
    if path.suffix == ".json":
        return pd.DataFrame(json.loads(path.read_text()))
    return pq.ParquetFile(path).read().to_pandas()


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_export_to_a_file_comes_back_exactly(run, table, bench, tmp_path, ending):
    out = tmp_path / f"table.{ending}"
    assert run("export", *table, "--out", out, "--cells", "connected") == (0, "", "")
    pd.testing.assert_frame_equal(
        read_export(out), bench.frame(cells="connected").reset_index(drop=True), check_exact=True
    )
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_export_writes_the_format_that_is_named(run, table, bench, tmp_path):
    out = tmp_path / "table.txt"
    assert run("export", *table, "--dataset", "cifar10", "--format", "json", "--out", out)[0] == 0
    assert len(json.loads(out.read_text())) == 6_466
    assert run("export", *table, "--dataset", "cifar10", "--cells", "all", "--out", out)[0] == 2
    out = tmp_path / "table"
    assert run("export", *table, "--dataset", "cifar10", "--cells", "all", "--out", out)[0] == 0  # csv where none is
    assert len(out.read_text().splitlines()) == 15_626


@pytest.mark.parametrize("form", ["csv", "json"])
def test_export_leaves_gaps_empty(run, made_up_table, tmp_path, form):
    sparse, out = tmp_path / "sparse.parquet", tmp_path / f"out.{form}"
    write_table(pq.ParquetFile(made_up_table).read().slice(0, 20), sparse)
    code, _, _ = run("export", "-r", sparse, "-m", "clean_acc", "-d", "cifar10", "--out", out)
    values = read_export(out)["clean_acc"]
    assert (code, len(values), values.notna().sum()) == (0, 6_466, 10)
    assert "NaN" not in out.read_text()


def test_export_makes_the_folder_it_writes_to(run, table, tmp_path):
    for name in ("table.csv", "table.parquet"):
        out = tmp_path / name.removeprefix("table.") / name
        assert run("export", *table, "-d", "cifar10", "-m", "clean_acc", "--out", out) == (0, "", "")
        assert len(read_export(out)) == 6_466


def test_parquet_needs_a_file(run, table):
    nowhere = error_of(run("export", *table, "--format", "parquet"))
    assert "no --out is given, expected a file to write Parquet to" in nowhere


# ---------------------------------------------------------------------- download, import, validate


@pytest.fixture
def registered(made_up_file: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    digest = hashlib.sha256(made_up_file.read_bytes()).hexdigest()
    release = Release("made-up", "http://127.0.0.1:9/page.json", digest, "page")
    monkeypatch.setitem(RELEASES, release.name, release)
    return release


def test_download_converts_a_local_copy_and_the_release_can_be_asked_by_its_name(
    run, registered, made_up_file, bench, tmp_path
):
    code, output, errors = run("--quiet", "download", "made-up", "--path", made_up_file)
    table = Path(output.strip())
    assert (code, errors) == (0, "")
    assert table.is_relative_to(tmp_path / "home")
    assert table.with_name("cells.parquet").exists()
    assert run("query", "9930", "-r", "made-up", "-d", "cifar10", "-m", "pgd_acc") == (
        0,
        f"{bench.query(9930, 'cifar10', 'pgd_acc')!r}\n",
        "",
    )
    assert run("download", "made-up") == (0, f"{table}\n", "")
    assert run("validate", "made-up")[0] == 0


def test_download_of_the_bundled_release_names_its_table(run):
    assert run("download", "digits") == (0, f"{locate('digits')}\n", "")
    assert "path is 'x', expected None: digits is part of the package" in error_of(
        run("download", "digits", "--path", "x")
    )


def test_download_says_what_is_wrong(run, registered, tmp_path, monkeypatch):
    assert f"made-up is not on this machine and {OFFLINE_VARIABLE} is set" in error_of(run("download", "made-up"))
    (tmp_path / "other.json").write_text("acc={}")
    assert registered.sha256 in error_of(run("download", "made-up", "--path", tmp_path / "other.json"))
    monkeypatch.delenv(OFFLINE_VARIABLE)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    error = error_of(run("--quiet", "download", "made-up", "--url", "http://127.0.0.1:9/elsewhere.json"))
    assert "http://127.0.0.1:9/elsewhere.json: the connection failed" in error


def test_import_writes_both_tables_and_overwrites_nothing(run, made_up_file, bench, tmp_path):
    out = tmp_path / "imported"
    assert run("import", "page", made_up_file, "--out", out) == (0, f"{out / 'runs.parquet'}\n", "")
    assert sorted(path.name for path in out.iterdir()) == ["cells.parquet", "runs.parquet"]
    _, output, _ = run("query", "9930", "-r", out, "-d", "cifar10", "-m", "pgd_acc")
    assert float(output) == bench.query(9930, "cifar10", "pgd_acc")
    before = (out / "runs.parquet").read_bytes()
    assert "nothing is overwritten" in error_of(run("import", "page", made_up_file, "--out", out))
    assert (out / "runs.parquet").read_bytes() == before


def test_import_of_single_seeds_can_be_asked_by_seed(run, tmp_path):
    file = tmp_path / "all.json"
    file.write_text(json.dumps({"cifar10": {"9930": {"val_acc": {"1": 0.7936, "2": 0.7958, "threeseed": 0.7947}}}}))
    assert run("import", "seeds", file, "--out", tmp_path)[0] == 0
    assert run("query", "9930", "-r", tmp_path, "-m", "clean_acc", "--seed", "2") == (0, "0.7958\n", "")
    error = error_of(run("query", "9930", "-r", tmp_path, "-m", "clean_acc", "--seed", "3"))
    assert "seeds that were run: 1, 2" in error
    _, output, _ = run("query", "9930", "-r", tmp_path, "-m", "clean_acc", "--json")
    assert json.loads(output)["seeds"] == {"1": 0.7936, "2": 0.7958}


def test_validate_finds_nothing_wrong_with_a_good_table(run, made_up_table, tmp_path):
    code, output, errors = run("validate", made_up_table)
    assert (code, errors) == (0, "")
    assert output.splitlines()[-1].startswith("0 error(s), ")
    (tmp_path / "runs.parquet").symlink_to(made_up_table)
    assert run("validate", tmp_path) == (code, output, errors)
    _, as_json, _ = run("validate", made_up_table, "--json")
    assert len(json.loads(as_json)) == len(output.splitlines()) - 1


def test_warnings_alone_exit_0(run, tmp_path):
    rows = [made_up_run(0, 1, 100), made_up_run(9930, 1, failure="out of memory")]
    write_table(runs_table(SMALL, rows), tmp_path / "runs.parquet")
    code, output, _ = run("validate", tmp_path)
    assert code == 0
    assert "warning: failure: digits: failed runs [1 cell(s): 9930]" in output
    assert output.splitlines()[-1] == "0 error(s), 2 warning(s)"


def test_validate_exits_1_where_there_is_an_error(run, made_up_table, tmp_path):
    table = pq.ParquetFile(made_up_table).read()
    column = table.schema.get_field_index("pgd_acc@8/255")
    values = table.column(column).to_pylist()
    values[0] = 1.25  # of the first representative, cell 0
    broken = tmp_path / "runs.parquet"
    write_table(table.set_column(column, table.schema.field(column), [values]), broken)
    code, output, _ = run("validate", broken)
    assert code == 1
    assert "error: range: cifar10/pgd_acc@8/255: an accuracy outside [0, 1], for example 1.25 [1 cell(s): 0]" in output
    code, output, _ = run("validate", tmp_path, "--json")
    assert code == 1
    found = [finding for finding in json.loads(output) if finding["kind"] == "range"]
    assert [(finding["severity"], finding["indices"]) for finding in found] == [("error", [0])]


def test_validate_of_what_is_no_table_is_an_error(run, tmp_path):
    (tmp_path / "text.parquet").write_text("no table")
    code, output, errors = run("validate", tmp_path / "text.parquet")
    assert (code, errors) == (1, "")
    assert "error: unreadable: " in output


def test_the_published_golden_value_on_the_command_line(run, published_table):
    _, output, _ = run("query", Cell.from_str(ARCH).index, "-r", published_table, "-d", "cifar10", "-m", "pgd_acc")
    assert output == "0.47793333729108173\n"


def test_a_module_run_and_the_console_script_are_the_same_program():
    script = Path(sys.executable).with_name("nasbench-robust" + (".exe" if os.name == "nt" else ""))
    if not script.exists():
        pytest.skip("the package is not installed beside this interpreter")
    outputs = [
        subprocess.run([*program, "--version"], capture_output=True, text=True) for program in (PROGRAM, [script])
    ]
    assert len({(done.returncode, done.stdout, done.stderr) for done in outputs}) == 1
