"""What README and the manual say is true: code runs, stated values are right, commands exist, links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from nasbench_robust import cli
from nasbench_robust.files import HOME_VARIABLE, OFFLINE_VARIABLE
from nasbench_robust.registry import RELEASES
from nasbench_robust.releases.loading import fetch

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "data" / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
# What only a network or the reader's own files can answer.
SKIPPED = ("hub:owner/name", 'path="NAS-RobBench-201_html.json"', 'nbr.load("results")', "pq.read_table", "seed=1)")
# Commands that make results, which takes hours, or read those of the reader: their own tests run them for real.
MAKING = ("train", "run", "submit", "status", "collect", "score", "search", "genotype", "publish", "validate release")
MAKING += ("compact", "verify release", "compare mine.parquet", "query 9930 --release release", "explore")


@pytest.fixture(scope="module")
def offline_home(
    published_file: Path, standard_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> pytest.MonkeyPatch:
    """Both published releases in a cache of their own, and no network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("home")))
        fetch(RELEASES["nas-robbench-201"], path=published_file)
        fetch(RELEASES["standard-training"], path=standard_file)
        patch.setenv(OFFLINE_VARIABLE, "1")
        yield patch


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def stated_value(comment: str) -> object:
    """Return the literal that a comment starts with, or None."""
    for end in (len(comment), *(match.start() for match in re.finditer(r" at |: ", comment))):
        try:
            return ast.literal_eval(comment[:end].strip())
        except (ValueError, SyntaxError):
            continue
    return None


def run_block(code: str, names: dict) -> int:
    """Execute a block statement by statement; compare expressions with the values in their comments."""
    checked = 0
    lines = code.splitlines()
    for node in ast.parse(code).body:
        text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if any(part in text for part in SKIPPED):
            continue
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module([node], []), "<docs>", "exec"), names)
            continue
        value = eval(compile(ast.Expression(node.value), "<docs>", "eval"), names)
        comment = lines[node.end_lineno - 1][node.end_col_offset :].partition("#")[2].strip()
        stated = stated_value(comment)
        if stated is not None:
            assert value == stated, text
            checked += 1
    return checked


def test_code_of_the_manual_runs_and_gives_what_it_says(offline_home, tmp_path):
    offline_home.chdir(tmp_path)
    checked = 0
    for page in PAGES:
        names: dict = {}
        if page.name in ("schema.md", "training.md"):
            continue  # they read files that the reader makes; test_runs.py does the same for real
        for code in blocks(page, "python"):
            checked += run_block(code, names)
    assert checked >= 6


def test_commands_of_the_manual_run(offline_home, tmp_path, capsys):
    offline_home.chdir(tmp_path)
    commands = [line for page in PAGES for code in blocks(page, "sh") for line in code.splitlines()]
    ours = [line.removeprefix("nasbench-robust ") for line in commands if line.startswith("nasbench-robust")]
    assert len(ours) >= 25
    for line in ours:
        arguments = shlex.split(line, comments=True)
        cli.parser().parse_args(arguments)  # exits where it does not fit
        assert line.startswith(MAKING) or cli.main(arguments) == 0, line
    assert "0.6924333373705546" in capsys.readouterr().out


def test_error_messages_of_the_manual_are_those_of_the_package(offline_home):
    import nasbench_robust as nbr

    bench = nbr.load("nas-robbench-201")
    said = []
    for question in (
        lambda: nbr.Cell(["none", "none", "none", "conv_3x3", "none", "none"]),
        lambda: bench.query(0, "cifar10", "pgd"),
        lambda: bench.query(0, "cifar10", "pgd_acc", eps=8),
    ):
        with pytest.raises(nbr.errors.NasbenchRobustError) as caught:
            question()
        said.append(str(caught.value))
    page = (ROOT / "docs" / "query.md").read_text()
    shown = page.rpartition("```\n")[0].rpartition("```\n")[2].splitlines()
    assert all(message.startswith(line) for line, message in zip(shown, said, strict=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_first_screen_of_the_readme_has_what_it_must():
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:30])
    assert all(text in screen for text in ("make demo", "make test", "bench.query(", "nbr.load("))


def test_columns_of_the_schema_page_are_those_of_the_tables():
    from nasbench_robust.runs import release_info
    from nasbench_robust.settings import settings_for
    from nasbench_robust.table import CURVES_SCHEMA, OUTCOMES_SCHEMA, cells_table, runs_schema

    page = (ROOT / "docs" / "schema.md").read_text()
    info = release_info(settings_for("digits"))
    measured = {name for metric in info.metrics for name in (metric.column, metric.count_column)}
    fixed = [name for name in runs_schema(info).names if name not in measured]
    for name in (*fixed, *CURVES_SCHEMA.names, *OUTCOMES_SCHEMA.names, *cells_table(info).column_names[:4]):
        assert f"`{name}`" in page, name
