"""What a shell expects of a program: completion, closed streams, options where they are typed, remedies that work."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomllib

import nasbench_robust
from nasbench_robust import errors
from nasbench_robust.cli import commands, main

ROOT = Path(__file__).parents[2]
PROGRAM = f"{sys.executable} -m nasbench_robust"
QUERY = "query 9930 -m pgd_acc"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [(">&-", 2, "standard output is closed"), (">/dev/full", 2, "No space left"), ("2>&-", 0, ""), ("| true", 0, "")],
)
def test_a_closed_or_full_stream_is_no_traceback(ending: str, code: int, said: str) -> None:
    done = shell(f"{PROGRAM} {QUERY} {ending}")
    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") <= 1


def test_ctrl_c_ends_as_shells_expect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nasbench_robust.releases.load", interrupted)
    assert main(QUERY.split()) == 130
    said = capsys.readouterr()
    assert not said.out
    assert not said.err


def test_a_bare_call_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr().out
    assert all(f"    {command.name} " in printed for command in commands())


@pytest.mark.parametrize("command", [command.name for command in commands()])
def test_quiet_is_understood_before_and_behind_every_command(command: str, capsys) -> None:
    from nasbench_robust.cli import parser

    with pytest.raises(SystemExit):
        parser().parse_args([command, "--help"])
    assert "-q, --quiet" in capsys.readouterr().out
    for line in (["-q", *QUERY.split()], [*QUERY.split(), "-q"], [*QUERY.split(), "--quiet"]):
        assert parser().parse_args(line).quiet
    assert not parser().parse_args(QUERY.split()).quiet


@pytest.mark.parametrize("shell_name", ["bash", "zsh"])
def test_completion_knows_every_command(shell_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell_name])
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert all(command.name in printed for command in commands())


def test_completion_without_shtab_says_what_to_install(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 2
    assert "pip install shtab" in capsys.readouterr().err


def test_no_data_set_is_one_sentence_with_the_choices(made_up_table: Path, capsys) -> None:
    assert main([*QUERY.split(), "-r", str(made_up_table)]) == 2
    expected = "no dataset is given, expected one of cifar10, cifar100, ImageNet16-120 (dataset=, or -d in the shell)"
    assert capsys.readouterr().err == f"nasbench-robust: {expected}\n"


@pytest.mark.parametrize("word", ["a\0b", "a\nb", "a\rb", "a\x1b[31m"])
@pytest.mark.parametrize("option", ["--out", "--time", "--data-root", "--settings"])
def test_control_characters_are_refused(option: str, word: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = ["submit", "--dry-run", "--out", "out", option, word]
    assert main(line) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 5000, "~nosuchuser", "~nosuchuser/runs.parquet", "x" * 300 + "/y"])
def test_names_that_the_system_refuses_are_one_sentence(name: str, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in (
        [*QUERY.split(), "-r", name],
        ["validate", name],
        ["publish", name],
        ["import", "page", name, "--out", "out"],
        ["train", "--index", "5", "--out", "out", "--settings", name],
        ["train", "--work", name, "--task", "0", "--out", "out"],
        ["train", "--index", "5", "--dataset", "cifar10", "--data-root", name, "--out", "out"],
        ["genotype", "--genotype", f"{name}.json", "--out", "out"],
    ):
        capsys.readouterr()
        assert main(line) in (1, 2), line
        assert capsys.readouterr().err.count("\n") <= 1, line


# ---------------------------------------------------------------------- the commands


def test_releases_are_listed(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NASBENCH_ROBUST_HOME", str(tmp_path))
    assert main(["releases", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["where"] for row in listed] == ["part of the package"] * 2 + ["to be downloaded"] * 2
    assert main(["releases"]) == 0
    assert "nas-robbench-201" in capsys.readouterr().out


def test_pareto_prints_what_the_library_finds(capsys) -> None:
    assert main(["pareto", "-m", "clean_acc,pgd_acc", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["index"] for row in rows] == nasbench_robust.load().pareto()["index"].tolist()
    assert main(["pareto", "-m", "clean_acc"]) == 2
    assert "at least two metric names" in capsys.readouterr().err


def test_best_takes_a_split(capsys) -> None:
    assert main(["best", "-m", "pgd_acc", "--split", "validation", "-k", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    expected = nasbench_robust.load().best(metric="pgd_acc#validation", k=3)
    assert [row["index"] for row in rows] == expected["index"].tolist()


def test_rank_prints_the_label_free_ranking(capsys) -> None:
    predict = nasbench_robust.predict
    assert main(["rank", "--dataset", "CIFAR-100", "--top", "7", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["index"] for row in rows] == predict.rank(predict.label_free(), 7).tolist()
    cell = nasbench_robust.Cell.from_index(rows[0]["index"])
    assert rows[0]["arch"] == str(cell)
    assert rows[0]["parameters"] == cell.parameters(nasbench_robust.skeletons.Skeleton.for_dataset("cifar100"))
    assert main(["rank"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 21


def test_compare_says_how_two_releases_agree(made_up_table: Path, published_table: Path, capsys) -> None:
    assert main(["compare", str(made_up_table), str(published_table), "--json"]) in (0, 2)
    capsys.readouterr()
    assert main(["compare", "digits", str(made_up_table)]) == 2
    assert "no metric on one data set in common (data sets: digits, cifar10" in capsys.readouterr().err


# ---------------------------------------------------------------------- remedies


def test_every_extra_that_is_named_exists() -> None:
    """In code by its second argument, in pages by what stands in brackets behind a dot."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_error = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingPackageError"
            if is_error and isinstance(node.args[1], ast.Constant):
                named.add(node.args[1].value)
    from nasbench_robust._door import EXTRAS

    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "analysis" / "README.md"]
    pages += list((ROOT / "src").rglob("*.py"))
    for page in pages:
        text = page.read_text()
        assert not re.search(r"pip install '?nasbench-robust", text), f"{page}: no index has the package"
        for listed in re.findall(r"pip install '\.\[([a-z,]+)\]'", text):
            named |= set(listed.split(","))
    assert named | set(EXTRAS.values()) <= extras


def test_a_remedy_names_what_can_be_installed_from_anywhere() -> None:
    assert "pip install h5py " in str(errors.MissingPackageError("h5py", "ntk"))
